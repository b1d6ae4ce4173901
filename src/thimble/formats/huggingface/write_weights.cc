#include "thimble/formats/huggingface/write_weights.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/formats/huggingface/same_graph.h"
#include "thimble/models/architecture.h"
#include "thimble/passes/copy_graph.h"
#include "thimble/passes/shrink.h"
#include "thimble/passes/structures.h"

namespace thimble {
namespace {

using Json = nlohmann::json;

// Zeros, in pages that nobody writes: only the shapes count. A pooler is there if `graph` has one.
class Shapes final : public WeightSource {
 public:
  explicit Shapes(const Graph& graph) : graph_(graph) {}

  Result<Tensor> Get(std::string_view name, const Shape& shape) override {
    const auto made = tensors_.find(name);
    if (made != tensors_.end() && made->second.shape() == shape) return made->second;
    const auto count = ElementCount(shape);
    if (!count) return InvalidData("tensor " + Quoted(name) + " has the shape " + ShapeText(shape));
    const size_t bytes = *count * sizeof(float);
    const std::shared_ptr<const std::byte> memory(
        static_cast<std::byte*>(std::calloc(std::max<size_t>(bytes, 1), 1)),
        [](std::byte* p) { std::free(p); });
    if (memory == nullptr) return ResourceExhausted("out of memory");
    const Tensor tensor = Tensor::View(DType::kF32, shape, {memory.get(), bytes}, memory);
    tensors_.insert_or_assign(std::string(name), tensor);
    return tensor;
  }
  bool Has(std::string_view name) const override {
    return name.ends_with("predictions.bias") ||
           graph_.FindNode(name.substr(0, name.rfind('.'))) != nullptr;
  }

 private:
  const Graph& graph_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

// Without outputs that a model with a head has besides, and what only they need.
Result<Graph> OnlyWhatTheTaskReads(const Model& model) {
  Graph graph = model.graph;
  if (model.task != Task::kFeatures) {
    std::erase_if(graph.outputs, [](const GraphOutput& output) {
      return output.name != "logits" && output.name != "seq_relationship_logits";
    });
  }
  return OnlyNeeded(graph);
}

// Units of a structure that are left in `graph`; 0: it is gone.
int64_t UnitsLeft(const Structure& structure, const Graph& graph) {
  const Node* node = graph.FindNode(structure.name);
  if (node == nullptr) return 0;
  if (const auto* attention = std::get_if<AttentionAttrs>(&node->attrs)) return attention->heads;
  return node->weights.empty() ? 0 : node->weights[0].tensor.dim(0);
}

Kept First(const Structure& structure, int64_t units) {
  Kept kept{.structure = structure.name,
            .units = std::vector<int64_t>(static_cast<size_t>(units)),
            .consumer_weight = {}};
  std::iota(kept.units.begin(), kept.units.end(), int64_t{0});
  return kept;
}

// How a graph was cut from the whole one of its configuration.
struct Cuts {
  std::vector<Kept> graph;   // what it takes to get the graph itself
  std::vector<Kept> stored;  // what "pruned_heads" does
  Json pruned_heads = Json::object();
  std::vector<std::string> notes;
};

Cuts FindCuts(const Graph& whole, const Graph& graph, PrunedHeads pruned) {
  Cuts cuts;
  int64_t attention = -1;
  for (const Structure& s : FindStructures(whole)) {
    const bool heads = s.kind == StructureKind::kHeads;
    if (heads)
      ++attention;  // of ALBERT the layers of one group after the other, as "pruned_heads" counts them
    const int64_t left = UnitsLeft(s, graph);
    if (left >= s.units) continue;
    cuts.graph.push_back(First(s, left));
    if (!heads) {
      cuts.notes.push_back(s.name + ": " + std::to_string(left) + " of " + std::to_string(s.units) +
                           " columns, the others are zeros");
      continue;
    }
    if (pruned == PrunedHeads::kZeros) {
      cuts.notes.push_back(s.name + ": " + std::to_string(left) + " of " + std::to_string(s.units) +
                           " heads, the others are zeros");
      continue;
    }
    const int64_t stored = std::max<int64_t>(left, 1);
    if (left == 0)
      cuts.notes.push_back(s.name + ": removed, one head that gives zeros stands for it");
    if (stored == s.units) continue;
    cuts.stored.push_back(First(s, stored));
    Json& gone = cuts.pruned_heads[std::to_string(attention)] = Json::array();
    for (int64_t head = stored; head < s.units; ++head) gone.push_back(head);
  }
  return cuts;
}

// Row-major, in a type that other programs know.
Tensor Plain(const Tensor& tensor) {
  const DType type = tensor.dtype();
  if (type == DType::kF32 || type == DType::kF16 || type == DType::kBF16)
    return tensor.InLayout(Layout::kRowMajor);
  return Tensor::FromFloats(tensor.shape(), tensor.ToFloats());
}

// With zeros behind its rows and columns, up to `shape`, which is nowhere smaller.
Tensor Padded(const Tensor& tensor, const Shape& shape) {
  if (tensor.shape() == shape) return tensor;
  const size_t element = DTypeBytes(tensor.dtype());
  const auto width = [&](const Shape& s) {
    return element * static_cast<size_t>(s.size() == 2 ? s[1] : 1);
  };
  const size_t from = width(tensor.shape()), to = width(shape);
  std::vector<std::byte> bytes(static_cast<size_t>(shape[0]) * to);
  for (size_t r = 0; r < static_cast<size_t>(tensor.dim(0)); ++r) {
    std::memcpy(bytes.data() + r * to, tensor.data().data() + r * from, from);
  }
  return Tensor::Copy(tensor.dtype(), shape, bytes);
}

bool SameValues(const Tensor& a, const Tensor& b) {
  return a.SameAs(b) || (a.shape() == b.shape() && a.ToFloats() == b.ToFloats());
}

bool AllOnes(const Tensor& tensor) {
  const std::vector<float> values = tensor.ToFloats();
  return std::ranges::all_of(values, [](float v) { return v == 1.0f; });
}

using TensorsByName = std::map<std::string, Tensor, std::less<>>;

// The weights of `graph` by the names that `built`, the same graph, has from the architecture.
Result<TensorsByName> NamedAsBuilt(const Graph& built, const Graph& whole, const Graph& graph) {
  TensorsByName tensors;
  for (const Node& node : built.nodes) {
    const Node& same = *graph.FindNode(node.name);
    const Node* before = whole.FindNode(node.name);
    const bool replaces = before == nullptr || before->op != node.op;  // a sub-layer that is gone
    if (replaces && !AllOnes(same.weights[0].tensor)) {
      return Unsupported(
          node.name +
          ": this part was pruned as a whole and what stands in its place was trained to scale the "
          "residual, which Hugging Face's classes cannot");
    }
    for (size_t i = replaces ? 1 : 0; i < node.weights.size(); ++i) {
      const auto [known, is_new] =
          tensors.try_emplace(node.weights[i].name, same.weights[i].tensor);
      if (!is_new && !SameValues(known->second, same.weights[i].tensor)) {
        return Unsupported(node.name + ": has other values of " + Quoted(node.weights[i].name) +
                           " than a node with which it shares them in Hugging Face's class");
      }
    }
  }
  return tensors;
}

// MobileBERT's decoder is the word embedding with columns of its own behind, which stand transposed in a checkpoint.
void SplitDecoder(const Json& config, TensorsByName& tensors) {
  const auto decoder = tensors.find("cls.predictions.decoder.weight");
  const int64_t words = config.value("embedding_size", int64_t{0});
  if (config["model_type"] != "mobilebert" || decoder == tensors.end() ||
      decoder->second.dim(1) <= words)
    return;
  const Tensor whole = decoder->second;
  const std::vector<float> values = whole.ToFloats();
  const auto rows = static_cast<size_t>(whole.dim(0)), width = static_cast<size_t>(whole.dim(1));
  const auto left = static_cast<size_t>(words), right = width - left;
  std::vector<float> first(rows * left), rest(rows * right);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < left; ++c) first[r * left + c] = values[r * width + c];
    for (size_t c = 0; c < right; ++c) rest[c * rows + r] = values[r * width + left + c];
  }
  tensors["cls.predictions.dense.weight"] =
      Tensor::FromFloats({static_cast<int64_t>(right), whole.dim(0)}, rest);
  if (config["tie_word_embeddings"] == true) {
    tensors.erase(decoder);
  } else {
    decoder->second = Tensor::FromFloats({whole.dim(0), words}, first);
  }
}

// MobileBERT's class has this matrix even where it does not use it.
void AddUnused(const Json& config, TensorsByName& tensors) {
  const std::string name = "mobilebert.embeddings.embedding_transformation";
  if (config["model_type"] != "mobilebert" || tensors.contains(name + ".weight")) return;
  const auto zeros = [](Shape shape) {
    const std::vector<float> values(*ElementCount(shape));
    return Tensor::FromFloats(std::move(shape), values);
  };
  const auto hidden = config["hidden_size"].get<int64_t>();
  tensors[name + ".weight"] = zeros({hidden, config["embedding_size"].get<int64_t>()});
  tensors[name + ".bias"] = zeros({hidden});
}

}  // namespace

Result<WrittenWeights> WriteWeights(const Model& model, PrunedHeads heads) {
  WrittenWeights written;
  TRY(written.config, DescribeGraph(model.graph));
  TRY(const Graph graph, OnlyWhatTheTaskReads(model));
  const GraphOutput* logits = graph.FindOutput("logits");
  BuildOptions options{.task = model.task, .labels = {}};
  if (logits != nullptr) options.labels = graph.value(logits->value).type.width;
  Shapes shapes(graph);
  TRY(const Graph whole, BuildGraph(written.config, options, shapes));
  Cuts cuts = FindCuts(whole, graph, heads);
  TRY(const Graph built, Shrink(whole, cuts.graph));
  TRY_VOID(CheckSameGraph(built, graph));
  TRY(const TensorsByName have, NamedAsBuilt(built, whole, graph));

  TRY(const Graph stored, Shrink(whole, cuts.stored));
  TensorsByName tensors;
  for (const Node& node : stored.nodes) {
    for (const Weight& weight : node.weights) {
      const auto found = have.find(weight.name);
      tensors[weight.name] =
          found == have.end() ? weight.tensor : Padded(Plain(found->second), weight.tensor.shape());
    }
  }
  SplitDecoder(written.config, tensors);
  AddUnused(written.config, tensors);
  // A class without a head names its parts without itself in front.
  const std::string prefix = written.config["model_type"].get<std::string>() + ".";
  for (auto& [name, tensor] : tensors) {
    const bool bare = model.task == Task::kFeatures && name.starts_with(prefix);
    written.tensors.push_back({bare ? name.substr(prefix.size()) : name, std::move(tensor)});
  }
  if (!cuts.pruned_heads.empty()) written.config["pruned_heads"] = std::move(cuts.pruned_heads);
  written.notes = std::move(cuts.notes);
  return written;
}

}  // namespace thimble
