#include "thimble/compress/activation_range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "thimble/compress/test_model.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/passes/passes.h"

namespace thimble::compress {
namespace {

MagnitudeHistogram HistogramOf(const std::vector<float>& values) {
  float largest = 0;
  for (const float v : values) largest = std::max(largest, std::abs(v));
  MagnitudeHistogram histogram(largest);
  histogram.Add(values);
  return histogram;
}

double MeanSquaredError(const std::vector<float>& values, double range) {
  const double step = range / 127;
  double sum = 0;
  for (const float v : values) {
    const double code = std::clamp(std::nearbyint(v / step), -127.0, 127.0);
    sum += std::pow(code * step - v, 2);
  }
  return sum / static_cast<double>(values.size());
}

std::vector<float> NormalWithOutliers(size_t count, size_t outliers, float size) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = normal(random);
  for (size_t i = 0; i < outliers; ++i) values[i] = i % 2 == 0 ? size : -size;
  return values;
}

TEST(RangeMethods, AreFoundByName) {
  for (const char* name : {"minmax", "percentile", "mse", "entropy"}) {
    EXPECT_EQ(RangeMethodName(*RangeMethodFromName(name)), name);
  }
  EXPECT_FALSE(RangeMethodFromName("guess").has_value());
}

TEST(ChooseRange, TakesTheLargestOrAShare) {
  std::vector<float> values;
  for (int i = 1; i <= 1000; ++i) values.push_back(static_cast<float>(i % 2 == 0 ? i : -i));
  const MagnitudeHistogram histogram = HistogramOf(values);
  EXPECT_EQ(ChooseRange(histogram, RangeMethod::kMinMax, 0), 1000);
  EXPECT_NEAR(ChooseRange(histogram, RangeMethod::kPercentile, 90), 900, 1);
  EXPECT_NEAR(ChooseRange(histogram, RangeMethod::kPercentile, 100), 1000, 1);
  // Zeros count among the values.
  std::vector<float> with_zeros = values;
  with_zeros.resize(10000, 0.0f);
  EXPECT_NEAR(ChooseRange(HistogramOf(with_zeros), RangeMethod::kPercentile, 99), 900, 1);
}

TEST(ChooseRange, OfZerosIsZero) {
  for (const char* name : {"minmax", "percentile", "mse", "entropy"}) {
    EXPECT_EQ(ChooseRange(HistogramOf({0, 0}), *RangeMethodFromName(name), 99), 0) << name;
  }
}

// As good as the best of all ranges tried on the values themselves.
TEST(ChooseRange, OfLeastSquaredErrorIsThatOfBruteForce) {
  for (const float outlier : {4.0f, 12.0f, 60.0f}) {
    const std::vector<float> values = NormalWithOutliers(20000, 4, outlier);
    double least = 1e30;
    for (int i = 1; i <= 400; ++i) {
      least = std::min(least, MeanSquaredError(values, outlier * i / 400.0));
    }
    const double chosen = ChooseRange(HistogramOf(values), RangeMethod::kMse, 0);
    EXPECT_LT(MeanSquaredError(values, chosen), 1.02 * least) << outlier;
  }
}

TEST(ChooseRange, OfLeastDivergenceCutsRareOutliersAndKeepsWhatIsEven) {
  const double cut =
      ChooseRange(HistogramOf(NormalWithOutliers(20000, 2, 60)), RangeMethod::kEntropy, 0);
  EXPECT_LT(cut, 15);
  EXPECT_GT(cut, 2);
  std::vector<float> even;
  for (int i = 0; i < 20480; ++i) even.push_back(static_cast<float>(i % 2048) + 0.5f);
  EXPECT_GT(ChooseRange(HistogramOf(even), RangeMethod::kEntropy, 0), 0.99 * 2047);
}

class Calibrated : public testing::Test {
 protected:
  // A value by the plain references, all rows of all texts.
  std::vector<float> ReferenceOf(const Graph& graph, ValueId value) const {
    Graph copy = graph;
    copy.outputs = {{"x", value}};
    std::vector<float> rows;
    for (const train::TrainingExample& e : examples) {
      const std::vector<int32_t> offsets = {0, static_cast<int32_t>(e.ids.size())};
      const std::span<const int32_t> inputs[] = {e.ids, e.type_ids};
      const std::string_view wanted[] = {"x"};
      const auto values = RunReference(copy, {offsets, {}}, inputs, wanted);
      EXPECT_TRUE(values.has_value());
      rows.insert(rows.end(), (*values)[0].floats.begin(), (*values)[0].floats.end());
    }
    return rows;
  }

  const Model model = SmallModel();
  const Graph int8 = *RunPass(*FindPass("weights_to_int8"), model.graph);
  const std::vector<train::TrainingExample> examples = train::SmallData(20);
};

TEST_F(Calibrated, SeesEveryInputOnce) {
  const auto statistics = ObserveInputs(model, examples, 1, kQuiet);
  ASSERT_TRUE(statistics.has_value());
  for (const Node& node : model.graph.nodes) {
    if (node.op != OpKind::kLinear) continue;
    const auto of = std::count_if(statistics->begin(), statistics->end(),
                                  [&](const auto& s) { return s.value == node.inputs[0]; });
    EXPECT_EQ(of, 1) << node.name;
  }
  for (const InputStatistics& s : *statistics) {
    const std::vector<float> rows = ReferenceOf(model.graph, s.value);
    std::vector<float> largest(s.largest.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      float& at = largest[i % largest.size()];
      at = std::max(at, std::abs(rows[i]));
    }
    for (size_t c = 0; c < largest.size(); ++c) EXPECT_NEAR(s.largest[c], largest[c], 1e-4);
    double count = s.magnitudes.zeros();
    for (const double bin : s.magnitudes.counts()) count += bin;
    EXPECT_EQ(count, static_cast<double>(rows.size()));
  }
}

// Runtime, reference and file agree about scales of inputs.
TEST_F(Calibrated, ScalesAreComputedWithAndStored) {
  const auto statistics = ObserveInputs(model, examples, 1, kQuiet);
  Model quantized = model;
  quantized.graph = WithInputScales(int8, *statistics, RangeMethod::kMinMax, 0);
  size_t scaled = 0;
  for (const Node& node : quantized.graph.nodes) {
    if (node.op != OpKind::kLinear) continue;
    const bool is_int8 = node.weights[0].tensor.dtype() == DType::kI8;
    EXPECT_EQ(std::get<LinearAttrs>(node.attrs).input_scale > 0, is_int8) << node.name;
    scaled += is_int8 ? 1 : 0;
  }
  EXPECT_GT(scaled, 4u);
  const Graph stored = Packed(quantized.graph);
  EXPECT_EQ(Print(stored), Print(quantized.graph));
  const auto distance = OutputDistance::Create(quantized, examples, 1);
  ASSERT_TRUE(distance.has_value());
  EXPECT_LT(*distance->To(model.graph), 1e-3);
  // The logits of the runtime are those of the reference: float32 around the same codes.
  const ValueId logits = quantized.graph.FindOutput("logits")->value;
  const std::vector<float> want = ReferenceOf(quantized.graph, logits);
  Session session = *Session::Create(stored, {});
  std::vector<float> got;
  ASSERT_TRUE(ForEachBatch(examples, 1, [&](const Batch& batch) -> Status {
                TRY_VOID(session.Run(batch));
                const OutputView view = session.output(0);
                for (size_t r = 0; r < view.rows; ++r) {
                  got.insert(got.end(), view.row(r).begin(), view.row(r).end());
                }
                return {};
              }).has_value());
  ASSERT_EQ(got.size(), want.size());
  // A value within rounding of the middle between two codes may fall to either.
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-3) << i;
}

// Fed with the float model's input, each layer's mean output is the float model's.
TEST_F(Calibrated, CorrectedBiasesGiveTheMeanOfTheFloatModel) {
  const auto statistics = ObserveInputs(model, examples, 1, kQuiet);
  for (const bool is_static : {false, true}) {
    // A range so small that clipping matters.
    Graph quantized =
        is_static ? WithInputScales(int8, *statistics, RangeMethod::kPercentile, 80) : int8;
    const Result<Graph> corrected = CorrectBiases(model, quantized, examples, 1, kQuiet);
    ASSERT_TRUE(corrected.has_value()) << corrected.error().message();
    size_t checked = 0;
    for (size_t n = 0; n < quantized.nodes.size(); ++n) {
      const Node& node = quantized.nodes[n];
      if (node.op != OpKind::kLinear || node.weights[0].tensor.dtype() != DType::kI8) continue;
      const std::vector<float> x = ReferenceOf(model.graph, node.inputs[0]);
      const std::vector<float> y = ReferenceOf(model.graph, node.output);
      const std::vector<float> w = node.weights[0].tensor.ToFloats();
      const std::vector<float> b = corrected->nodes[n].weights[1].tensor.ToFloats();
      const size_t width = w.size() / b.size(), rows = x.size() / width;
      const auto scale = static_cast<float>(std::get<LinearAttrs>(node.attrs).input_scale);
      std::vector<double> mean(b.begin(), b.end());
      for (size_t r = 0; r < rows; ++r) {
        float largest = 0;
        for (size_t k = 0; k < width; ++k) largest = std::max(largest, std::abs(x[r * width + k]));
        const double step = scale > 0 ? scale : largest / 127;
        for (size_t k = 0; k < width; ++k) {
          const double code = std::clamp(std::nearbyint(x[r * width + k] / step), -127.0, 127.0);
          for (size_t o = 0; o < b.size(); ++o) {
            mean[o] += code * step * w[o * width + k] / static_cast<double>(rows);
          }
        }
      }
      for (size_t o = 0; o < b.size(); ++o) {
        double want = 0;
        for (size_t r = 0; r < rows; ++r) want += y[r * b.size() + o] / static_cast<double>(rows);
        EXPECT_NEAR(mean[o], want, 1e-4) << node.name << " " << o;
      }
      ++checked;
    }
    EXPECT_GT(checked, 4u);
  }
}

}  // namespace
}  // namespace thimble::compress
