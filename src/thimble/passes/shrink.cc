#include "thimble/passes/shrink.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/graph/blocks.h"
#include "thimble/graph/panels.h"
#include "thimble/passes/copy_graph.h"
#include "thimble/passes/structures.h"

namespace thimble {
namespace {

bool IsFloat(const Tensor& t) {
  return t.dtype() == DType::kF32 || t.dtype() == DType::kF16 || t.dtype() == DType::kBF16;
}

// The elements of these rows and columns (of a vector: rows), bit for bit, in the layout of `t`.
Tensor Pick(const Tensor& t, const std::vector<int64_t>* rows,
            const std::vector<int64_t>* columns) {
  const Tensor flat = t.InLayout(Layout::kRowMajor);
  const size_t element = DTypeBytes(t.dtype());
  const auto width = static_cast<size_t>(t.rank() == 2 ? t.dim(1) : 1);
  Shape shape = t.shape();
  if (rows != nullptr) shape[0] = static_cast<int64_t>(rows->size());
  if (columns != nullptr) shape[1] = static_cast<int64_t>(columns->size());
  std::vector<std::byte> out;
  out.reserve(*ElementCount(shape) * element);
  for (int64_t r = 0; r < shape[0]; ++r) {
    const auto row = static_cast<size_t>(rows != nullptr ? (*rows)[static_cast<size_t>(r)] : r);
    const std::byte* from = flat.data().data() + row * width * element;
    if (columns == nullptr) {
      out.insert(out.end(), from, from + width * element);
      continue;
    }
    for (const int64_t c : *columns) {
      const std::byte* e = from + static_cast<size_t>(c) * element;
      out.insert(out.end(), e, e + element);
    }
  }
  const Tensor picked = Tensor::Copy(t.dtype(), std::move(shape), out);
  return picked.InLayout(t.layout());
}

// The elements that belong to these units, which are `width` wide.
std::vector<int64_t> Expand(const std::vector<int64_t>& units, int64_t width) {
  std::vector<int64_t> elements;
  for (const int64_t unit : units) {
    for (int64_t i = 0; i < width; ++i) elements.push_back(unit * width + i);
  }
  return elements;
}

class Shrinker {
 public:
  explicit Shrinker(const Graph& graph) : graph_(graph), structures_(FindStructures(graph)) {}

  Result<Graph> Run(std::span<const Kept> kept) && {
    work_ = graph_;
    for (const Kept& k : kept) {
      if (Status s = Add(k); !s) return std::move(s).error().In(k.structure);
    }
    if (rest_.empty() && ones_.empty()) return graph_;
    TRY_VOID(Cut());
    return OnlyNeeded(work_);
  }

 private:
  // What stays of a node's rows (outputs) and columns (inputs); unset: all.
  struct Rest {
    std::optional<std::vector<int64_t>> rows, columns;
    std::optional<Tensor> weight;  // with the columns cut already
  };

  Status Add(const Kept& k) {
    const auto s = std::find_if(structures_.begin(), structures_.end(),
                                [&](const Structure& x) { return x.name == k.structure; });
    if (s == structures_.end()) return NoSuch(k.structure);
    if (!seen_.insert(k.structure).second) return InvalidArgument("it is named twice");
    for (size_t i = 0; i < k.units.size(); ++i) {
      if (k.units[i] < 0 || k.units[i] >= s->units || (i > 0 && k.units[i] <= k.units[i - 1])) {
        return InvalidArgument("units to keep must rise and be below " + std::to_string(s->units) +
                               ", but there is " + std::to_string(k.units[i]));
      }
    }
    if (k.units.empty() && k.consumer_weight) {
      return InvalidArgument("a sub-layer that goes as a whole takes no weight");
    }
    const bool all = static_cast<int64_t>(k.units.size()) == s->units;
    if (all && !k.consumer_weight) return {};
    if (k.units.empty() && !s->removable) {
      return Unsupported(
          "what it gives is not added to a residual, so it cannot go as a whole; keep a unit");
    }
    std::vector<Structure::Place> places{{s->producers, s->consumer}};
    places.insert(places.end(), s->tied.begin(), s->tied.end());
    for (const Structure::Place& place : places) {
      if (k.units.empty()) {
        RemoveWhole(*s, place);
      } else {
        Keep(*s, place, k);
      }
    }
    return {};
  }

  Error NoSuch(const std::string& name) const {
    for (const FixedStructure& fixed : FindFixedStructures(graph_)) {
      if (fixed.name == name) return Unsupported("it cannot be cut: " + fixed.reason);
    }
    return InvalidArgument("there is no such structure" +
                           (structures_.empty() ? std::string(" (the graph has none)")
                                                : "; there is " + Quoted(structures_[0].name)));
  }

  void Keep(const Structure& s, const Structure::Place& place, const Kept& k) {
    const auto units = static_cast<int64_t>(k.units.size());
    for (const size_t producer : place.producers) {
      rest_[producer].rows = Expand(k.units, OutputWidth(producer) / s.units);
    }
    for (const size_t node : NodesBetween(graph_, place.consumer)) {
      rest_[node].rows = Expand(k.units, s.unit_width);
    }
    Rest& consumer = rest_[place.consumer];
    consumer.columns = Expand(k.units, s.unit_width);
    consumer.weight = k.consumer_weight;
    if (s.kind == StructureKind::kHeads) {
      std::get<AttentionAttrs>(work_.nodes[Attention(place)].attrs).heads = units;
    }
  }

  int64_t OutputWidth(size_t node) const {
    return graph_.value(graph_.nodes[node].output).type.width;
  }

  // The attention of heads: what reads the first producer.
  size_t Attention(const Structure::Place& place) const {
    const ValueId q = graph_.nodes[place.producers[0]].output;
    size_t i = place.producers[0] + 1;
    while (graph_.nodes[i].op != OpKind::kAttention || graph_.nodes[i].inputs[0] != q) ++i;
    return i;
  }

  // x + W y + b becomes x + b: the addition an affine that reads x alone.
  void RemoveWhole(const Structure& s, const Structure::Place& place) {
    const Node& consumer = graph_.nodes[place.consumer];
    const auto width = static_cast<size_t>(OutputWidth(place.consumer));
    const auto add = std::find_if(work_.nodes.begin(), work_.nodes.end(), [&](const Node& node) {
      return node.op == OpKind::kAdd && std::find(node.inputs.begin(), node.inputs.end(),
                                                  consumer.output) != node.inputs.end();
    });
    const ValueId residual = add->inputs[add->inputs[0] == consumer.output ? 1 : 0];
    if (s.kind == StructureKind::kHeads) {
      add->name = graph_.nodes[Attention(place)].name + std::string(kRemovedAttention);
    }
    Weight bias{consumer.name + ".bias", {}};
    if (consumer.weights.size() == 2) {
      bias = consumer.weights[1];
    } else {
      bias.tensor =
          Tensor::FromFloats({OutputWidth(place.consumer)}, std::vector<float>(width, 0.0f));
    }
    Tensor& ones = ones_[s.name];
    if (ones.rank() != 1 || ones.dim(0) == 0) {
      ones = Tensor::FromFloats({OutputWidth(place.consumer)}, std::vector<float>(width, 1.0f));
    }
    add->op = OpKind::kAffine;
    add->inputs = {residual};
    add->weights = {{add->name + ".weight", ones}, std::move(bias)};
    add->attrs = NoAttrs{};
  }

  Status Cut() {
    // What was tied stays tied: the structure is the same, so each weight is cut once.
    std::map<const std::byte*, Tensor> done;
    for (auto& [index, rest] : rest_) {
      Node& node = work_.nodes[index];
      const std::vector<int64_t>* rows = rest.rows ? &*rest.rows : nullptr;
      for (size_t w = 0; w < node.weights.size(); ++w) {
        Tensor& t = node.weights[w].tensor;
        const std::vector<int64_t>* columns = w == 0 && rest.columns ? &*rest.columns : nullptr;
        if (rows == nullptr && columns == nullptr) continue;
        if (!IsFloat(t)) {
          return Unsupported(node.name + ": its weight is " + std::string(DTypeName(t.dtype())) +
                             ", only float weights are cut; prune before quantizing");
        }
        const auto [known, fresh] = done.try_emplace(t.data().data());
        if (fresh) {
          if (columns != nullptr && rest.weight) {
            TRY(known->second, Replaced(node, t, *rest.weight, rest));
          } else {
            known->second = Pick(t, rows, columns);
          }
        }
        t = known->second;
      }
    }
    return {};
  }

  // `weight` in place of the cut columns of `t`, with the rows cut too.
  static Result<Tensor> Replaced(const Node& node, const Tensor& t, const Tensor& weight,
                                 const Rest& rest) {
    const Shape shape{t.dim(0), static_cast<int64_t>(rest.columns->size())};
    if (weight.shape() != shape || !IsFloat(weight)) {
      return InvalidArgument("the new weight of " + node.name + " is " + ShapeText(weight.shape()) +
                             " " + std::string(DTypeName(weight.dtype())) + ", must be floats " +
                             ShapeText(shape));
    }
    const Tensor flat = weight.InLayout(Layout::kRowMajor);
    const Tensor cut = rest.rows ? Pick(flat, &*rest.rows, nullptr) : flat;
    return cut.InLayout(t.layout());
  }

  const Graph& graph_;
  const std::vector<Structure> structures_;
  Graph work_;
  std::set<std::string> seen_;
  std::map<size_t, Rest> rest_;
  std::map<std::string, Tensor> ones_;  // per structure, so that tied places share it
};

}  // namespace

Result<Graph> Shrink(const Graph& graph, std::span<const Kept> kept) {
  return Shrinker(graph).Run(kept);
}

}  // namespace thimble
