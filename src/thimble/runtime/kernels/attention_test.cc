// Attention of one head against a softmax in double.
#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

#include "thimble/runtime/kernels/test_support.h"

namespace thimble {
namespace {

struct Case {
  size_t queries, keys, head_width, value_width;
  float scale = 0.25f;
  std::vector<uint8_t> mask = {};
};

// Aligned to 64 bytes, every float NaN: nothing may be read before it is written.
class Scratch {
 public:
  explicit Scratch(const Case& c)
      : floats_(AttentionScratchFloats(c.keys, c.head_width, c.value_width)),
        storage_(floats_ + 32, std::numeric_limits<float>::quiet_NaN()) {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    data_ = storage_.data() + (64 - address % 64) % 64 / sizeof(float);
  }
  float* data() { return data_; }

 private:
  size_t floats_;
  std::vector<float> storage_;
  float* data_;
};

struct Operands {
  explicit Operands(const Case& c)
      : q(GuardedMatrix::Random(c.queries, c.head_width, c.head_width + 7, 1, 1)),
        k(GuardedMatrix::Random(c.keys, c.head_width, c.head_width + 2, 2, 2)),
        v(GuardedMatrix::Random(c.keys, c.value_width, c.value_width + 3, 3, 3)) {}
  GuardedMatrix q, k, v;
};

GuardedMatrix Attend(const Kernels& table, const Case& c, const Operands& in) {
  GuardedMatrix out(c.queries, c.value_width, c.value_width + 5, 1);
  Scratch scratch(c);
  table.attention({.q = in.q.data(),
                   .k = in.k.data(),
                   .v = in.v.data(),
                   .q_stride = in.q.stride(),
                   .k_stride = in.k.stride(),
                   .v_stride = in.v.stride(),
                   .queries = c.queries,
                   .keys = c.keys,
                   .head_width = c.head_width,
                   .value_width = c.value_width,
                   .scale = c.scale,
                   .key_mask = c.mask.empty() ? nullptr : c.mask.data(),
                   .out = out.data(),
                   .out_stride = out.stride(),
                   .scratch = scratch.data()});
  return out;
}

// Weighs the keys of one query in double.
std::vector<double> Softmax(const Case& c, const Operands& in, size_t query, double& worst_score) {
  const bool none = std::count(c.mask.begin(), c.mask.end(), 0) == std::ssize(c.mask);
  std::vector<double> weights(c.keys, none && !c.mask.empty() ? 1.0 : 0.0);
  double largest = -std::numeric_limits<double>::infinity();
  for (size_t j = 0; j < c.keys; ++j) {
    if (!c.mask.empty() && (none || c.mask[j] == 0)) continue;
    double size = 0;
    for (size_t d = 0; d < c.head_width; ++d) {
      const double product = static_cast<double>(in.q.at(query, d)) * in.k.at(j, d) * c.scale;
      weights[j] += product;
      size += std::abs(product);
    }
    worst_score = std::max(worst_score, size);
    largest = std::max(largest, weights[j]);
  }
  double total = 0;
  for (size_t j = 0; j < c.keys; ++j) {
    const bool counts = c.mask.empty() || (!none && c.mask[j] != 0);
    if (counts) weights[j] = std::exp(weights[j] - largest);
    total += weights[j];
  }
  for (double& w : weights) w /= total;
  return weights;
}

void CheckAttention(const Case& c) {
  SCOPED_TRACE(std::to_string(c.queries) + " queries, " + std::to_string(c.keys) + " keys, " +
               std::to_string(c.head_width) + " -> " + std::to_string(c.value_width));
  const Operands in(c);
  ForEachTable(
      [&](const Kernels& table) { return Attend(table, c, in); },
      [&](const Kernels& table, const GuardedMatrix& out) {
        for (size_t i = 0; i < c.queries; ++i) {
          double score = 0;
          const std::vector<double> weights = Softmax(c, in, i, score);
          for (size_t d = 0; d < c.value_width; ++d) {
            double expected = 0, size = 0;
            for (size_t j = 0; j < c.keys; ++j) {
              expected += weights[j] * in.v.at(j, d);
              size += std::abs(weights[j] * in.v.at(j, d));
            }
            // A score of that size rounds once or twice for each of its products and for the scale,
            // twice again as it loses the maximum: errors of the exponent, hence relative ones of
            // the weight, in numerator and sum. Then the exponential (2 units), and the sums.
            const double per_input = table.fused ? 1 : 2;
            const double exponent = (per_input * static_cast<double>(c.head_width) + 4) * 2 * score;
            const double roundings =
                2 * exponent + 8 + (per_input + 1.0 / 16) * static_cast<double>(c.keys);
            ASSERT_NEAR(out.at(i, d), expected, roundings * kRoundoff * size) << i << ", " << d;
          }
        }
      });
}

TEST(Attention, ShortSequences) {
  for (size_t keys = 1; keys <= 34; ++keys) CheckAttention({keys, keys, 32, 32});
}

TEST(Attention, LongSequences) {
  CheckAttention({65, 513, 64, 64});
  CheckAttention({128, 128, 32, 32});
}

TEST(Attention, EveryHeadWidth) {
  for (size_t width : {1, 3, 4, 15, 16, 17, 24, 31, 33, 48, 64, 127, 128}) {
    CheckAttention({5, 20, width, 16});
    CheckAttention({5, 20, 16, width});
  }
}

TEST(Attention, OneQueryPerSequence) { CheckAttention({1, 77, 64, 64}); }

TEST(Attention, LargeScores) { CheckAttention({9, 40, 64, 32, 30.0f}); }

TEST(Attention, NegativeScale) { CheckAttention({9, 40, 16, 16, -0.5f}); }

TEST(Attention, LeavesMaskedKeysOut) {
  Case c{6, 50, 20, 24, 0.25f, std::vector<uint8_t>(50, 1)};
  for (size_t j : {0, 7, 15, 16, 31, 48, 49}) c.mask[j] = 0;
  CheckAttention(c);
  c.mask.assign(50, 0);
  c.mask[33] = 1;
  CheckAttention(c);
}

TEST(Attention, IgnoresWhatMaskedKeysHold) {
  const Case c{3, 20, 16, 16, 1.0f, {1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0}};
  const Operands in(c);
  Operands poisoned(c);
  for (size_t d = 0; d < 16; ++d) {
    poisoned.k.at(1, d) = poisoned.v.at(19, d) = std::numeric_limits<float>::quiet_NaN();
  }
  for (const Kernels* table : AvailableKernels()) {
    EXPECT_TRUE(Attend(*table, c, poisoned).SameBits(Attend(*table, c, in))) << table->name;
  }
}

TEST(Attention, CountsAllAlikeWhereAllAreMasked) {
  CheckAttention({4, 19, 16, 16, 0.25f, std::vector<uint8_t>(19, 0)});
}

TEST(Attention, SurvivesInfinitiesAndNaN) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float special : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    const Case c{3, 20, 16, 16, 1.0f, {}};
    Operands in(c);
    in.q.at(1, 3) = special;
    for (const Kernels* table : AvailableKernels()) {
      const GuardedMatrix out = Attend(*table, c, in);
      EXPECT_TRUE(out.GuardsIntact());
      for (size_t d = 0; d < 16; ++d) EXPECT_TRUE(std::isfinite(out.at(0, d))) << table->name;
    }
  }
}

}  // namespace
}  // namespace thimble
