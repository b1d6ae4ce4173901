#include "thimble/passes/weights_by_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "thimble/formats/thimble/example_model.h"
#include "thimble/graph/int4.h"

namespace thimble {
namespace {

using testing::ElementsAre;

std::vector<float> Normal(size_t count, uint32_t seed) {
  std::mt19937 bits(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = normal(bits);
  return values;
}

double SquaredError(std::span<const float> values, std::span<const int8_t> codes, double scale) {
  double error = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double e = values[i] - scale * codes[i];
    error += e * e;
  }
  return error;
}

TEST(QuantizeGroup, FindsTheCodesOfWhatWasQuantizedBefore) {
  const std::vector<int8_t> expected = {7, -3, 0, 1, -7, 5};
  for (const float scale : {1.0f, 0.3f, 1e-20f, 7e10f}) {
    std::vector<float> values;
    for (const int8_t q : expected) values.push_back(scale * q);
    std::vector<int8_t> codes(expected.size());
    const float found = QuantizeGroup(values, 7, codes.data());
    EXPECT_EQ(codes, expected);
    EXPECT_NEAR(found / scale, 1, std::numeric_limits<float>::epsilon());
  }
}

// Least squares: no other scale fits the codes better, and no plain rounding does.
TEST(QuantizeGroup, IsNeverWorseThanRoundingAtTheLargest) {
  double searched = 0, plain = 0;
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    const std::vector<float> values = Normal(32, seed);
    std::array<int8_t, 32> codes, rounded;
    const float scale = QuantizeGroup(values, 7, codes.data());
    for (const int8_t q : codes) EXPECT_LE(std::abs(q), 7);
    const double error = SquaredError(values, codes, scale);
    EXPECT_LE(error, SquaredError(values, codes, scale * 1.01) + 1e-12);
    EXPECT_LE(error, SquaredError(values, codes, scale * 0.99) + 1e-12);
    float largest = 0;
    for (const float v : values) largest = std::max(largest, std::abs(v));
    for (size_t i = 0; i < values.size(); ++i) {
      rounded[i] = static_cast<int8_t>(std::nearbyint(values[i] * 7 / largest));
    }
    const double at_largest = SquaredError(values, rounded, largest / 7);
    EXPECT_LE(error, at_largest + 1e-12) << seed;
    searched += error;
    plain += at_largest;
  }
  EXPECT_LT(searched, 0.95 * plain);
}

TEST(QuantizeGroup, KnowsZerosAndWhatIsNotFinite) {
  std::array<int8_t, 3> codes = {1, 1, 1};
  EXPECT_EQ(QuantizeGroup(std::array{0.0f, -0.0f, 0.0f}, 7, codes.data()), 0.0f);
  EXPECT_THAT(codes, ElementsAre(0, 0, 0));
  EXPECT_EQ(QuantizeGroup(std::array{1e-45f, 0.0f, 0.0f}, 7, codes.data()), 0.0f);
  EXPECT_TRUE(std::isnan(QuantizeGroup(std::array{1.0f, INFINITY, 0.0f}, 7, codes.data())));
  EXPECT_TRUE(std::isnan(QuantizeGroup(std::array{1.0f, NAN, 0.0f}, 7, codes.data())));
}

// Rows of odd width, a last group that is short.
TEST(ToGroups, GivesEachGroupOfEachRowItsScale) {
  std::vector<float> values(2 * 19);
  for (size_t i = 0; i < 16; ++i)
    values[i] = 0.5f * static_cast<float>(static_cast<int>(i) % 15 - 7);
  values[16] = 70, values[17] = -30, values[18] = 10;
  values[19 + 18] = -2;
  const Tensor tensor = *ToGroups(Tensor::FromFloats({2, 19}, values), {DType::kI4Group, 16});
  EXPECT_EQ(tensor.dtype(), DType::kI4Group);
  EXPECT_EQ(tensor.scale_group(), 16u);
  EXPECT_EQ(tensor.data().size(), 2u * 10);
  ASSERT_EQ(tensor.scales().size(), 4u);
  EXPECT_FLOAT_EQ(tensor.scales()[0], 0.5f);
  EXPECT_FLOAT_EQ(tensor.scales()[1], 10.0f);
  EXPECT_EQ(tensor.scales()[2], 0.0f);
  EXPECT_EQ(LoadInt4(tensor.data().data(), 17), -3);
  EXPECT_EQ(LoadInt4(tensor.data().data() + 10, 18), -7);
  const std::vector<float> back = tensor.ToFloats();
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(back[i], values[i], 1e-5f) << i;
}

TEST(ToGroups, OfInt8IsWithinHalfAStep) {
  const std::vector<float> values = Normal(40 * 50, 3);
  const Tensor tensor = *ToGroups(Tensor::FromFloats({40, 50}, values), {DType::kI8Group, 32});
  EXPECT_EQ(tensor.data().size(), 40u * 50);
  const std::vector<float> back = tensor.ToFloats();
  double error = 0, steps = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double step = tensor.scales()[i / 50 * 2 + i % 50 / 32];
    error += (back[i] - values[i]) * (back[i] - values[i]);
    steps += step * step;
  }
  // Rounding is uniform within a step: 1 / 12 of its square in the mean, here over 2,000 values.
  EXPECT_LT(error, steps / 12 * 1.1);
}

TEST(ToGroups, NamesTheRowThatIsNotFinite) {
  std::vector<float> values(3 * 16, 1.0f);
  values[2 * 16 + 5] = INFINITY;
  const Result<Tensor> tensor = ToGroups(Tensor::FromFloats({3, 16}, values), {});
  ASSERT_FALSE(tensor.has_value());
  EXPECT_THAT(tensor.error().message(), testing::HasSubstr("row 2"));
}

TEST(WeightsByGroup, ConvertsWhatInt8Would) {
  const Graph before = ExampleModel().graph;
  const Graph after = *WeightsByGroup(before, {DType::kI4Group, 32});
  const auto type = [&](std::string_view node, size_t i = 0) {
    return after.FindNode(node)->weights[i].tensor.dtype();
  };
  EXPECT_EQ(type("words"), DType::kI4Group);
  EXPECT_EQ(type("query"), DType::kI4Group);
  EXPECT_EQ(type("query", 1), DType::kF32);
  EXPECT_EQ(type("positions"), DType::kF16);
  EXPECT_EQ(type("decoder"), DType::kF32);
  // Twice is once.
  const Graph again = *WeightsByGroup(after, {DType::kI4Group, 32});
  EXPECT_TRUE(again.FindNode("query")->weights[0].tensor.SameAs(
      after.FindNode("query")->weights[0].tensor));
}

}  // namespace
}  // namespace thimble
