// Dropout against its definition, and the definition against chance.
#include <array>

#include "thimble/train/kernels/test_support.h"

namespace thimble {
namespace {

constexpr double kSigmas = 5;  // of a thousand such tests of good bits one fails every 2000th time

std::vector<uint32_t> Keys(size_t rows, uint32_t seed) {
  std::vector<uint32_t> keys(rows);
  for (size_t r = 0; r < rows; ++r) keys[r] = MixKeys(seed, static_cast<uint32_t>(r));
  return keys;
}

void CheckDefinition(size_t width, float probability, bool with_residual) {
  SCOPED_TRACE("width " + std::to_string(width) + ", p " + std::to_string(probability));
  constexpr size_t kRows = 3;
  const std::vector<uint32_t> keys = Keys(kRows, 7);
  const auto x = GuardedMatrix::Random(kRows, width, width, 1, width % 5);
  const auto residual = GuardedMatrix::Random(kRows, width, width, 2, 3);
  const auto run = [&](const TrainKernels& table, const float* in, GuardedMatrix& y) {
    table.dropout({.x = in,
                   .residual = with_residual ? residual.data() : nullptr,
                   .y = y.data(),
                   .rows = kRows,
                   .width = width,
                   .row_keys = keys.data(),
                   .probability = probability});
  };
  Outputs first;
  ForEachTrainTable(
      [&](const TrainKernels& table) {
        GuardedMatrix y(kRows, width, width, width % 5), in_place = x;
        run(table, x.data(), y);
        run(table, in_place.data(), in_place);
        EXPECT_TRUE(in_place.SameBits(y));
        return Outputs{y};
      },
      [&](const TrainKernels&, const Outputs& y) {
        for (size_t r = 0; r < kRows; ++r) {
          for (size_t c = 0; c < width; ++c) {
            const bool kept = static_cast<int32_t>(RandomBits(keys[r], static_cast<uint32_t>(c))) >=
                              DropoutThreshold(probability);
            const float value = kept ? x.at(r, c) * (1.0f / (1.0f - probability)) : 0.0f;
            ASSERT_EQ(y[0].at(r, c), with_residual ? value + residual.at(r, c) : value)
                << r << ", " << c;
          }
        }
        if (first.empty()) first = y;
        EXPECT_TRUE(SameBits(y, first));  // tables without fused multiply-add too
      });
}

TEST(Dropout, IsItsDefinitionToTheBit) {
  for (const size_t width : TestedSizes()) {
    CheckDefinition(width, 0.1f, false);
    CheckDefinition(width, 0.5f, true);
  }
  CheckDefinition(64, 0.0f, true);
  CheckDefinition(64, 0.99f, true);
}

TEST(Dropout, OfNothingTouchesNothing) {
  for (const TrainKernels* table : AvailableTrainKernels()) {
    GuardedMatrix y(1, 0, 1);
    const uint32_t key = 1;
    table->dropout({.x = y.data(), .y = y.data(), .rows = 0, .width = 8, .row_keys = &key});
    table->dropout({.x = y.data(), .y = y.data(), .rows = 1, .width = 0, .row_keys = &key});
    EXPECT_TRUE(y.GuardsIntact()) << table->name;
  }
}

TEST(Dropout, KeepsTheStatedShareAndTheMean) {
  constexpr size_t kRows = 1000, kWidth = 1024;
  const std::vector<uint32_t> keys = Keys(kRows, 1);
  const std::vector<float> ones(kRows * kWidth, 1.0f);
  std::vector<float> y(kRows * kWidth);
  for (const float p : {0.01f, 0.1f, 0.3f, 0.5f, 0.9f}) {
    BestTrainKernels().dropout({.x = ones.data(),
                                .y = y.data(),
                                .rows = kRows,
                                .width = kWidth,
                                .row_keys = keys.data(),
                                .probability = p});
    const double count = kRows * kWidth;
    double kept = 0, sum = 0;
    for (const float v : y) kept += v != 0, sum += v;
    // Half a step of the threshold is what rounding it to 16 bits may add.
    const double sigma = std::sqrt(p * (1.0 - p) / count), step = 0x1p-17;
    EXPECT_NEAR(kept / count, 1.0 - p, kSigmas * sigma + step) << p;
    EXPECT_NEAR(sum / count, 1.0, (kSigmas * sigma + step) / (1.0 - p) + kRoundoff) << p;
  }
}

// Top four bits of two elements, as often as chance would have each of 256 pairs.
void CheckIndependence(const std::string& what,
                       const std::function<uint32_t(uint32_t, uint32_t)>& a,
                       const std::function<uint32_t(uint32_t, uint32_t)>& b) {
  constexpr uint32_t kRows = 512, kColumns = 512;
  std::array<double, 256> seen{};
  for (uint32_t r = 0; r < kRows; ++r) {
    for (uint32_t c = 0; c < kColumns; ++c) ++seen[(a(r, c) >> 12) * 16 + (b(r, c) >> 12)];
  }
  constexpr double kExpected = double{kRows} * kColumns / 256;
  double chi_square = 0;
  for (const double n : seen) chi_square += (n - kExpected) * (n - kExpected) / kExpected;
  // Of 255 degrees of freedom: mean 255, variance 510.
  EXPECT_NEAR(chi_square, 255, kSigmas * std::sqrt(510.0)) << what;
}

TEST(RandomBits, NeighboursAreIndependent) {
  // Keys as they are meant to be made, and the plainest that a caller could choose.
  const std::pair<std::string, std::function<uint32_t(uint32_t)>> makers[] = {
      {"mixed", [](uint32_t r) { return MixKeys(3, r); }},
      {"counted", [](uint32_t r) { return r; }},
      {"shifted", [](uint32_t r) { return r << 20; }}};
  for (const auto& [name, key] : makers) {
    const auto bits = [&key = key](uint32_t r, uint32_t c) { return RandomBits(key(r), c); };
    for (const uint32_t lag : {1, 2, 15, 16, 17, 31, 32, 64, 128}) {
      CheckIndependence(name + ", columns " + std::to_string(lag) + " apart", bits,
                        [&](uint32_t r, uint32_t c) { return bits(r, c + lag); });
      CheckIndependence(name + ", rows " + std::to_string(lag) + " apart", bits,
                        [&](uint32_t r, uint32_t c) { return bits(r + lag, c); });
      CheckIndependence(name + ", diagonals " + std::to_string(lag) + " apart", bits,
                        [&](uint32_t r, uint32_t c) { return bits(r + 1, c + lag); });
    }
  }
}

TEST(RandomBits, EveryBitIsFair) {
  constexpr uint32_t kRows = 256, kColumns = 1024;
  std::array<double, 16> ones{};
  for (uint32_t r = 0; r < kRows; ++r) {
    for (uint32_t c = 0; c < kColumns; ++c) {
      const uint32_t bits = RandomBits(MixKeys(1, r), c);
      ASSERT_LT(bits, 1u << 16);
      for (size_t b = 0; b < 16; ++b) ones[b] += bits >> b & 1;
    }
  }
  for (const double n : ones) {
    EXPECT_NEAR(n, kRows * kColumns / 2, kSigmas * std::sqrt(kRows * kColumns / 4.0));
  }
}

TEST(RandomBits, KeysDependOnBothParts) {
  const auto low = [](uint32_t key) { return key & 0xFFFF; };
  CheckIndependence(
      "second part", [&](uint32_t r, uint32_t c) { return low(MixKeys(r, c)); },
      [&](uint32_t r, uint32_t c) { return low(MixKeys(r, c + 1)); });
  CheckIndependence(
      "first part", [&](uint32_t r, uint32_t c) { return low(MixKeys(r, c)); },
      [&](uint32_t r, uint32_t c) { return low(MixKeys(r + 1, c)); });
  CheckIndependence(
      "order", [&](uint32_t r, uint32_t c) { return low(MixKeys(r, c + 1000)); },
      [&](uint32_t r, uint32_t c) { return low(MixKeys(c + 1000, r)); });
}

}  // namespace
}  // namespace thimble
