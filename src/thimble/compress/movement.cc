#include "thimble/compress/movement.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "thimble/base/check.h"
#include "thimble/passes/shrink.h"
#include "thimble/passes/structures.h"

namespace thimble::compress {
namespace {

using train::Parameter;
using train::ParameterSet;

constexpr double kLeastKept = 0.005;  // of the blocks of a mask

size_t IndexOf(const ParameterSet& set, std::string_view name) {
  const Parameter* p = set.Find(name);
  THIMBLE_CHECK(p != nullptr && p->trainable);
  return static_cast<size_t>(p - set.parameters().data());
}

// A weight of `buffer` with its blocks apart: [block rows, rows of a block, block columns, columns of a block].
at::Tensor Blocks(const ParameterSet& set, const at::Tensor& buffer, const MaskedWeight& w) {
  return set.ViewOf(buffer, IndexOf(set, w.weight))
      .view({w.rows / w.block_rows, w.block_rows, w.columns / w.block_columns, w.block_columns});
}

// Per block, to multiply Blocks with.
at::Tensor PerBlock(const at::Tensor& blocks, const MaskedWeight& w) {
  return blocks.view({w.rows / w.block_rows, 1, w.columns / w.block_columns, 1});
}

// 1 for each row with a block that stays, [rows].
at::Tensor RowsKept(const at::Tensor& kept, const MaskedWeight& w) {
  return kept.view({w.rows / w.block_rows, w.columns / w.block_columns})
      .amax(1)
      .repeat_interleave(w.block_rows);
}

// 1 for the `count` largest, the first of equal ones.
at::Tensor Largest(const at::Tensor& scores, int64_t count) {
  const at::Tensor host = scores.cpu().contiguous();
  const float* s = host.data_ptr<float>();
  std::vector<int64_t> order(static_cast<size_t>(host.numel()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return s[a] > s[b]; });
  at::Tensor kept = at::zeros({host.numel()}, at::kFloat);
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) kept.data_ptr<float>()[order[i]] = 1;
  return kept.to(scores.device());
}

class MaskPlanner {
 public:
  MaskPlanner(const Graph& graph, const MovementOptions& options)
      : graph_(graph), options_(options) {}

  Result<std::vector<Mask>> Run() {
    for (const Structure& s : FindStructures(graph_)) {
      const Node& consumer = graph_.nodes[s.consumer];
      if (IsQuantized(consumer.weights[0].tensor.dtype())) {
        return Unsupported(consumer.name + ": its weight is quantized; prune before quantizing");
      }
      const bool heads = s.kind == StructureKind::kHeads;
      if (options_.blocks_everywhere || (heads && options_.attention == AttentionMasks::kBlocks)) {
        for (const size_t producer : s.producers) TRY_VOID(AddBlocks(producer, true));
        TRY_VOID(AddBlocks(s.consumer, false));
      } else {
        AddUnits(s);
      }
    }
    if (masks_.empty()) {
      return Unsupported("the graph has neither heads nor feed-forward columns that can be pruned");
    }
    return std::move(masks_);
  }

 private:
  MaskedWeight PartOf(size_t index, bool with_bias) const {
    const Node& node = graph_.nodes[index];
    MaskedWeight part;
    part.weight = node.weights[0].name;
    if (with_bias && node.weights.size() > 1) part.bias = node.weights[1].name;
    part.rows = node.weights[0].tensor.dim(0);
    part.columns = node.weights[0].tensor.dim(1);
    return part;
  }

  Status AddBlocks(size_t index, bool with_bias) {
    MaskedWeight part = PartOf(index, with_bias);
    if (!seen_.insert(part.weight).second) return {};
    part.block_rows = options_.block_rows;
    part.block_columns = options_.block_columns;
    if (part.rows % part.block_rows != 0 || part.columns % part.block_columns != 0) {
      return InvalidArgument(part.weight + " is [" + std::to_string(part.rows) + ", " +
                             std::to_string(part.columns) + "], which blocks of " +
                             std::to_string(part.block_rows) + " x " +
                             std::to_string(part.block_columns) +
                             " do not divide; choose a --block that divides both");
    }
    const int64_t blocks = part.rows / part.block_rows * (part.columns / part.block_columns);
    masks_.push_back({graph_.nodes[index].name, blocks, {std::move(part)}});
    return {};
  }

  // One score per unit: rows of the producers, columns of the consumer.
  void AddUnits(const Structure& s) {
    Mask mask{s.name, s.units, {}};
    std::set<std::string> own;  // a linear that is query and key at once is one part
    for (const size_t producer : s.producers) {
      MaskedWeight part = PartOf(producer, true);
      if (!own.insert(part.weight).second) continue;
      part.block_rows = part.rows / s.units;
      part.block_columns = part.columns;
      mask.parts.push_back(std::move(part));
    }
    MaskedWeight consumer = PartOf(s.consumer, false);
    consumer.block_rows = consumer.rows;
    consumer.block_columns = s.unit_width;
    mask.parts.push_back(std::move(consumer));
    masks_.push_back(std::move(mask));
  }

  const Graph& graph_;
  const MovementOptions& options_;
  std::vector<Mask> masks_;
  std::set<std::string> seen_;
};

Status Check(const MovementOptions& o) {
  const auto share = [](double v) { return v >= 0 && v <= 1; };
  if (!(o.keep > 0 && o.keep <= 1))
    return InvalidArgument("--sparsity must be at least 0 and below 1");
  if (!(o.final_threshold > 0 && o.final_threshold < 1)) {
    return InvalidArgument("--threshold must lie between 0 and 1");
  }
  if (!(o.penalty >= 0)) return InvalidArgument("--penalty must not be negative");
  if (!share(o.warmup) || !share(o.cooldown) || o.warmup + o.cooldown > 1) {
    return InvalidArgument(
        "--prune-warmup and --prune-cooldown are shares of the run, 1 together at most");
  }
  if (o.block_rows < 1 || o.block_columns < 1) {
    return InvalidArgument("--block: rows and columns must be at least 1");
  }
  return {};
}

double ZeroShare(const Graph& graph, const Structure& s) {
  std::vector<size_t> nodes = s.producers;
  nodes.push_back(s.consumer);
  double zeros = 0, all = 0;
  for (const size_t node : nodes) {
    const std::vector<float> w = graph.nodes[node].weights[0].tensor.ToFloats();
    zeros += static_cast<double>(std::count(w.begin(), w.end(), 0.0f));
    all += static_cast<double>(w.size());
  }
  return all > 0 ? zeros / all : 0;
}

bool AllZero(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return v == 0; });
}

// Units that reach the output: some column of the consumer reads them, and of heads the values are not all zero.
std::vector<int64_t> LiveUnits(const Graph& graph, const Structure& s) {
  const Node& consumer = graph.nodes[s.consumer];
  const std::vector<float> w = consumer.weights[0].tensor.ToFloats();
  const auto columns = static_cast<size_t>(consumer.weights[0].tensor.dim(1));
  const auto width = static_cast<size_t>(s.unit_width);
  // Query, key and value, and what attention gives goes straight into the consumer.
  const bool values_decide = s.kind == StructureKind::kHeads && s.producers.size() == 3 &&
                             NodesBetween(graph, s.consumer).empty();
  std::vector<std::vector<float>> value;
  if (values_decide) {
    for (const Weight& weight : graph.nodes[s.producers[2]].weights) {
      value.push_back(weight.tensor.ToFloats());
    }
  }
  std::vector<int64_t> live;
  for (int64_t u = 0; u < s.units; ++u) {
    const auto unit = static_cast<size_t>(u);
    bool reads = false;
    for (size_t row = 0; row < w.size() && !reads; row += columns) {
      reads = !AllZero(std::span(w).subspan(row + unit * width, width));
    }
    bool gives = !values_decide;
    for (const std::vector<float>& v : value) {
      const size_t slice = v.size() / static_cast<size_t>(s.units);
      gives = gives || !AllZero(std::span(v).subspan(unit * slice, slice));
    }
    if (reads && gives) live.push_back(u);
  }
  if (live.empty() && !s.removable) live.push_back(0);
  return live;
}

}  // namespace

std::string_view MaskChoiceName(MaskChoice choice) {
  switch (choice) {
    case MaskChoice::kTopK:
      return "topk";
    case MaskChoice::kThreshold:
      return "threshold";
    case MaskChoice::kMagnitude:
      return "magnitude";
  }
  return "";
}

std::optional<MaskChoice> MaskChoiceFromName(std::string_view name) {
  for (const MaskChoice choice :
       {MaskChoice::kTopK, MaskChoice::kThreshold, MaskChoice::kMagnitude}) {
    if (name == MaskChoiceName(choice)) return choice;
  }
  return std::nullopt;
}

double CubicSchedule(double progress, double warmup, double cooldown, double initial,
                     double final) {
  const double length = 1 - warmup - cooldown;
  double u = progress < warmup ? 1.0 : 0.0;
  if (length > 0) u = std::clamp(1 - (progress - warmup) / length, 0.0, 1.0);
  return final + (initial - final) * u * u * u;
}

Result<std::unique_ptr<MovementMasks>> MovementMasks::Create(const Graph& graph,
                                                             const MovementOptions& options) {
  TRY_VOID(Check(options));
  std::unique_ptr<MovementMasks> masks(new MovementMasks(options));
  TRY(masks->masks_, MaskPlanner(graph, options).Run());
  for (const auto& [name, units] : options.units) {
    const auto mask = std::find_if(masks->masks_.begin(), masks->masks_.end(),
                                   [&](const Mask& m) { return m.name == name; });
    if (mask == masks->masks_.end() || units < 1 || units > mask->blocks) {
      return InvalidArgument("no mask has " + std::to_string(units) + " units of " + name);
    }
  }
  return masks;
}

double MovementMasks::Level(double progress) const { return LevelTo(progress, options_.keep); }

double MovementMasks::LevelTo(double progress, double keep) const {
  const bool threshold = options_.choice == MaskChoice::kThreshold;
  const double final = threshold ? options_.final_threshold : keep;
  // The cool-down begins at a time that rounding must not miss.
  if (Settled(progress)) return final;
  return CubicSchedule(progress, options_.warmup, options_.cooldown, threshold ? 0 : 1, final);
}

std::vector<train::ExtraParameter> MovementMasks::Extra() const {
  std::vector<train::ExtraParameter> extra;
  if (!Learns()) return extra;
  for (const Mask& mask : masks_) {
    extra.push_back({mask.name + std::string(kScores), mask.blocks, 0.0f});
  }
  return extra;
}

at::Tensor MovementMasks::BlocksKept(const ParameterSet& trained, const at::Tensor& values,
                                     size_t mask, double progress) const {
  const Mask& m = masks_[mask];
  double keep = options_.keep;
  auto least = std::max<int64_t>(
      1, static_cast<int64_t>(std::ceil(kLeastKept * static_cast<double>(m.blocks))));
  if (const auto units = options_.units.find(m.name); units != options_.units.end()) {
    keep = static_cast<double>(units->second) / static_cast<double>(m.blocks);
    least = 1;
  }
  const double level = LevelTo(progress, keep);
  at::Tensor scores;
  if (Learns()) {
    scores = trained.ViewOf(values, IndexOf(trained, m.name + std::string(kScores)));
  } else {
    for (const MaskedWeight& part : m.parts) {
      const at::Tensor mean = Blocks(trained, values, part).abs().mean({1, 3}).flatten();
      scores = scores.defined() ? scores + mean : mean;
    }
  }
  if (options_.choice == MaskChoice::kThreshold) {
    const at::Tensor kept = at::sigmoid(scores).gt(level).to(at::kFloat);
    return kept.sum().item<double>() < static_cast<double>(least) ? Largest(scores, least) : kept;
  }
  const auto count = std::llround(level * static_cast<double>(m.blocks));
  return Largest(scores, std::max<int64_t>(least, count));
}

void MovementMasks::Use(const ParameterSet& trained, const at::Tensor& values, double progress,
                        at::Tensor used) const {
  const c10::AutoGradMode no_recording(false);
  used.copy_(values);
  for (size_t i = 0; i < masks_.size(); ++i) {
    const at::Tensor kept = BlocksKept(trained, values, i, progress);
    for (const MaskedWeight& part : masks_[i].parts) {
      Blocks(trained, used, part).mul_(PerBlock(kept, part));
      if (!part.bias.empty()) {
        trained.ViewOf(used, IndexOf(trained, part.bias)).mul_(RowsKept(kept, part));
      }
    }
  }
}

double MovementMasks::Pull(const ParameterSet& trained, const at::Tensor& values, double progress,
                           at::Tensor gradients) const {
  const c10::AutoGradMode no_recording(false);
  const double penalty = options_.choice == MaskChoice::kThreshold
                             ? options_.penalty * Level(progress) / options_.final_threshold
                             : 0;
  double loss = 0;
  for (size_t i = 0; i < masks_.size(); ++i) {
    const Mask& m = masks_[i];
    const at::Tensor kept = BlocksKept(trained, values, i, progress);
    at::Tensor scores, score_gradients;
    if (Learns()) {
      const size_t index = IndexOf(trained, m.name + std::string(kScores));
      scores = trained.ViewOf(values, index);
      score_gradients = trained.ViewOf(gradients, index);
    }
    for (const MaskedWeight& part : m.parts) {
      at::Tensor gradient = Blocks(trained, gradients, part);
      if (Learns()) {
        const at::Tensor moved =
            gradient.to(at::kDouble).mul_(Blocks(trained, values, part)).sum({1, 3});
        score_gradients.add_(moved.flatten().to(at::kFloat));
      }
      gradient.mul_(PerBlock(kept, part));
      if (!part.bias.empty()) {
        trained.ViewOf(gradients, IndexOf(trained, part.bias)).mul_(RowsKept(kept, part));
      }
    }
    if (penalty > 0) {
      const double share = penalty / static_cast<double>(masks_.size());
      const at::Tensor open = at::sigmoid(scores);
      loss += share * open.mean().item<double>();
      score_gradients.add_(open * (1 - open), share / static_cast<double>(m.blocks));
    }
  }
  return loss;
}

Result<Compacted> CompactMasked(const Graph& masked) {
  std::vector<Kept> kept;
  Compacted result;
  for (const Structure& s : FindStructures(masked)) {
    Kept k{s.name, LiveUnits(masked, s), std::nullopt};
    result.sizes.push_back({s.name, static_cast<int64_t>(k.units.size()), s.units, 0});
    kept.push_back(std::move(k));
  }
  TRY(result.graph, Shrink(masked, kept));
  for (const Structure& s : FindStructures(result.graph)) {
    for (Compacted::Size& size : result.sizes) {
      if (size.structure == s.name) size.zeros = ZeroShare(result.graph, s);
    }
  }
  return result;
}

}  // namespace thimble::compress
