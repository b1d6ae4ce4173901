// Block movement pruning: which blocks of the weights stay is learned while fine-tuning.
//
// Every block B of a prunable weight W has a score S_B beside it. The graph is computed with M * W, where the mask M is
// one on the blocks that stay; gradients pass straight through it (Sanh et al. 2020; Lagunas et al. 2021):
//
//   dL/dW = M * dL/dW'        dL/dS_B = sum over B of dL/dW' * W
//
// so that a score rises while its weights move away from zero. Threshold or kept share follow a cubic schedule from
// dense to final, flat before its warm-up and after its cool-down. What is then zero as a whole, heads and
// columns, CompactMasked removes for good.
//
// By default masks are hybrid: square blocks in the matrices of attention, one mask of columns for the two matrices of
// a feed-forward. Biases of rows without a block are masked too; those of the linear that adds to the residual stay.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/train/reparameterization.h"

namespace thimble::compress {

enum class MaskChoice : uint8_t {
  kTopK,       // of each mask the `keep` share with the largest scores
  kThreshold,  // the blocks with sigmoid(score) > threshold, pressed down by the penalty
  kMagnitude,  // of each mask the `keep` share with the largest mean |weight|: nothing is learned, the baseline
};
// "topk", "threshold", "magnitude"
std::string_view MaskChoiceName(MaskChoice choice);
std::optional<MaskChoice> MaskChoiceFromName(std::string_view name);

enum class AttentionMasks : uint8_t {
  kBlocks,  // blocks of each of the four matrices, on their own
  kHeads,   // one mask of heads for all four
};

struct MovementOptions {
  MaskChoice choice = MaskChoice::kTopK;
  AttentionMasks attention = AttentionMasks::kBlocks;
  int64_t block_rows = 32, block_columns = 32;  // of kBlocks, and of blocks_everywhere
  // Blocks in the feed-forwards too instead of columns; of 1 x 1 it is unstructured pruning.
  bool blocks_everywhere = false;
  double keep = 0.75;  // kTopK, kMagnitude: the share that stays at the end
  // By name of a structure, and instead of `keep`: how many of its units stay. Of masks of heads and columns.
  std::map<std::string, int64_t> units;
  double final_threshold = 0.1;  // kThreshold; it starts at 0
  double penalty = 20;  // kThreshold: of the mean sigmoid of the scores, growing with the threshold
  double warmup = 0.1;  // share of the run before the schedule starts
  double cooldown = 0.4;     // and after it has ended
  double score_rate = 1e-2;  // peak learning rate of the scores, for whoever trains
};

// 1 - u^3 of the way from `initial` to `final`, where u falls from 1 at the end of the warm-up to 0 at the begin of the
// cool-down (Zhu and Gupta 2017).
double CubicSchedule(double progress, double warmup, double cooldown, double initial, double final);

// The weights of one mask: element (i, j) has score (i / block_rows) * (columns / block_columns) + j / block_columns.
// All parts of a mask have as many blocks.
struct MaskedWeight {
  std::string weight, bias;  // names; empty: no bias, or one that stays
  int64_t rows = 0, columns = 0, block_rows = 1, block_columns = 1;
};
struct Mask {
  std::string name;  // of the structure, or of its linear
  int64_t blocks = 0;
  std::vector<MaskedWeight> parts;
};

// Scores end in this.
inline constexpr std::string_view kScores = ".scores";

class MovementMasks : public train::Reparameterization {
 public:
  // For the structures of `graph` (passes/structures.h). kInvalidArgument: options out of range, units that no mask
  // has, blocks that do not divide a matrix. kUnsupported: nothing to prune.
  static Result<std::unique_ptr<MovementMasks>> Create(const Graph& graph,
                                                       const MovementOptions& options);

  const std::vector<Mask>& masks() const { return masks_; }
  // Kept share or threshold of this moment, of masks whose units nothing else says.
  double Level(double progress) const;
  // 1 where a block stays, [blocks]. At least 0.5 % of them do.
  at::Tensor BlocksKept(const train::ParameterSet& trained, const at::Tensor& values, size_t mask,
                        double progress) const;

  std::vector<train::ExtraParameter> Extra() const override;
  void Use(const train::ParameterSet& trained, const at::Tensor& values, double progress,
           at::Tensor used) const override;
  double Pull(const train::ParameterSet& trained, const at::Tensor& values, double progress,
              at::Tensor gradients) const override;
  bool Settled(double progress) const override { return progress >= 1 - options_.cooldown; }

 private:
  explicit MovementMasks(const MovementOptions& options) : options_(options) {}
  bool Learns() const { return options_.choice != MaskChoice::kMagnitude; }
  double LevelTo(double progress, double keep) const;

  MovementOptions options_;
  std::vector<Mask> masks_;
};

// What a mask left of a graph.
struct Compacted {
  Graph graph;
  struct Size {
    std::string structure;
    int64_t units = 0, dense_units = 0;
    double zeros = 0;  // share of zeros in the matrices that are left
  };
  std::vector<Size> sizes;
};

// Without the units whose columns in the consumer are all zero, and heads whose values are: exactly what `masked`
// computes. A head that has lost only its queries or keys stays, because it still gives the mean of its values. One unit
// stays where a sub-layer cannot go.
Result<Compacted> CompactMasked(const Graph& masked);

}  // namespace thimble::compress
