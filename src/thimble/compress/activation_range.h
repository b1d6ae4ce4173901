// What linears read over calibration texts, and the range of int8 codes that is chosen from it: static quantization.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/compress/calibration.h"
#include "thimble/formats/model.h"
#include "thimble/graph/graph.h"

namespace thimble::compress {

enum class RangeMethod : uint8_t {
  kMinMax,      // the largest magnitude that was seen
  kPercentile,  // the magnitude that a share of all values does not exceed
  kMse,         // least expected squared error, of rounding and of clipping
  kEntropy,     // least divergence KL(values || codes) of the histograms (Migacz 2017)
};
// "minmax", "percentile", "mse", "entropy"
std::string_view RangeMethodName(RangeMethod method);
std::optional<RangeMethod> RangeMethodFromName(std::string_view name);

// Magnitudes, counted in equal bins between 0 and the largest, which is known beforehand. Zeros are counted apart: they
// are exact in every range, and behind a ReLU they are most of what there is.
class MagnitudeHistogram {
 public:
  static constexpr size_t kBins = 2048;
  explicit MagnitudeHistogram(float largest = 0) : largest_(largest), counts_(kBins, 0) {}

  void Add(std::span<const float> values);

  double largest() const { return largest_; }
  double zeros() const { return zeros_; }
  std::span<const double> counts() const { return counts_; }
  double bin_width() const { return largest_ / static_cast<double>(kBins); }

 private:
  double largest_, zeros_ = 0;
  std::vector<double> counts_;
};

// The magnitude that code 127 stands for; 0 where only zeros were seen. `percentile`: of kPercentile, in (0, 100].
double ChooseRange(const MagnitudeHistogram& histogram, RangeMethod method, double percentile);

// Over all rows of all texts.
struct InputStatistics {
  ValueId value = kNoValue;    // of the model's graph
  std::vector<float> largest;  // magnitude per channel
  MagnitudeHistogram magnitudes;
};

// Of every value that a linear reads, each once, in execution order. The model runs twice over the texts, in the runtime.
Result<std::vector<InputStatistics>> ObserveInputs(
    const Model& model, const std::vector<train::TrainingExample>& examples, int threads,
    const ProgressFn& progress);

// The int8 linears of `graph` with the scales of their inputs; `graph` has the values of the model that was observed. A
// value that was always zero keeps a scale per row.
Graph WithInputScales(const Graph& graph, std::span<const InputStatistics> statistics,
                      RangeMethod method, double percentile);

// The bias of every quantized linear of `quantized` takes up what quantization adds to its output in the mean (Nagel et al.
// 2019, section 4.2):
//
//   b += W E[x] - Wq E[Q(x)]
//
// x as the float model computes it over the texts, Q by the scale of the input, or of each row; weights by group read x. Afterwards the mean
// output of each layer, fed with the float model's input, is the float model's. Linears without a bias stay as they
// are; those that share one take up the mean of what each would. `model` and `quantized` have the same nodes.
Result<Graph> CorrectBiases(const Model& model, const Graph& quantized,
                            const std::vector<train::TrainingExample>& examples, int threads,
                            const ProgressFn& progress);

}  // namespace thimble::compress
