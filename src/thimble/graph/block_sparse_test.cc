#include "thimble/graph/block_sparse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Numbers that are not zero in that share of single elements, or of blocks.
Tensor Random(int64_t outputs, int64_t inputs, double density, bool blocks) {
  std::mt19937 bits(static_cast<uint32_t>(outputs * 1000 + inputs));
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<float> values(static_cast<size_t>(outputs * inputs));
  std::vector<bool> kept(1 << 12);
  for (size_t i = 0; i < kept.size(); ++i) kept[i] = uniform(bits) < density;
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t n = i / static_cast<size_t>(inputs), k = i % static_cast<size_t>(inputs);
    const size_t block = n / kPanelWidth * 64 + k / kBlockInputs;
    const bool stays = blocks ? kept[block % kept.size()] : uniform(bits) < density;
    if (stays) values[i] = static_cast<float>(uniform(bits)) + 0.5f;
  }
  return Tensor::FromFloats({outputs, inputs}, values);
}

TEST(BlockSparse, ComesBackForEverySizeAndDensity) {
  for (const int64_t outputs : {1, 15, 16, 17, 33, 100}) {
    for (const int64_t inputs : {1, 7, 8, 9, 16, 65}) {
      for (const double density : {0.0, 0.05, 0.5, 1.0}) {
        for (const bool blocks : {false, true}) {
          SCOPED_TRACE(ShapeText({outputs, inputs}) + " " + std::to_string(density));
          const Tensor weight = Random(outputs, inputs, density, blocks);
          const Tensor packed = PackBlockSparse(weight);
          EXPECT_EQ(packed.layout(), Layout::kBlockSparse);
          EXPECT_EQ(packed.elements(), weight.elements());
          EXPECT_EQ(packed.ToFloats(), weight.ToFloats());
          EXPECT_TRUE(CheckBlockSparse(static_cast<size_t>(outputs), static_cast<size_t>(inputs),
                                       packed.data())
                          .has_value());
          const double stored = BlockDensity(packed);
          if (density == 0 || density == 1) {
            EXPECT_EQ(stored, density);
          }
          EXPECT_EQ(PackPanels(weight).InLayout(Layout::kBlockSparse).ToFloats(),
                    weight.ToFloats());
          EXPECT_EQ(packed.InLayout(Layout::kPanels).ToFloats(), weight.ToFloats());
        }
      }
    }
  }
}

// The header's picture: three panels, the second empty; two blocks of inputs, the second of one input.
TEST(BlockSparse, LiesAsItsHeaderSays) {
  constexpr size_t kOutputs = 40, kInputs = 9;
  std::vector<float> values(kOutputs * kInputs);
  values[3 * kInputs + 2] = 1;   // panel 0, block 0
  values[5 * kInputs + 8] = 2;   // panel 0, block 1
  values[32 * kInputs + 8] = 3;  // panel 2, block 1
  values[20 * kInputs] = -0.0f;  // a zero too, as masks leave it
  const Tensor packed = PackBlockSparse(Tensor::FromFloats({kOutputs, kInputs}, values));
  EXPECT_EQ(packed.data().size(), 64 + 3 * kBlockFloats * sizeof(float));
  const BlockSparse stored = ViewBlockSparse(packed.data().data(), kOutputs);
  EXPECT_THAT(stored.begins, ElementsAre(0, 2, 2, 3));
  EXPECT_THAT(stored.indices, ElementsAre(0, 1, 1));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(stored.values) % kPanelAlignment, 0u);
  EXPECT_EQ(stored.values[2 * kPanelWidth + 3], 1);
  EXPECT_EQ(stored.values[kBlockFloats + 5], 2);
  EXPECT_EQ(stored.values[2 * kBlockFloats], 3);
  EXPECT_DOUBLE_EQ(BlockDensity(packed), 0.5);
  EXPECT_DOUBLE_EQ(ProductsPerRow(packed), 0.5 * kOutputs * kInputs);
  EXPECT_DOUBLE_EQ(ProductsPerRow(PackPanels(Tensor::FromFloats({kOutputs, kInputs}, values))),
                   kOutputs * kInputs);
}

TEST(BlockSparse, ChecksSizesBeforeItReads) {
  const Tensor packed = PackBlockSparse(Random(40, 9, 1, true));
  const auto error = [](const Status& status) {
    return status.has_value() ? std::string("no error") : status.error().message();
  };
  EXPECT_EQ(error(CheckBlockSparse(40, 9, packed.data())), "no error");
  for (size_t size = 0; size < packed.data().size(); ++size) {
    EXPECT_NE(error(CheckBlockSparse(40, 9, packed.data().first(size))), "no error") << size;
  }
  EXPECT_THAT(error(CheckBlockSparse(40, 8, packed.data())), HasSubstr("which has 1"));
  EXPECT_NE(error(CheckBlockSparse(64, 9, packed.data())), "no error");
  EXPECT_THAT(error(CheckBlockSparse(size_t{1} << 30, size_t{1} << 30, packed.data())),
              HasSubstr("elements"));
  EXPECT_THAT(error(CheckBlockSparse(SIZE_MAX / 2, 0, packed.data())), HasSubstr("too few"));
}

}  // namespace
}  // namespace thimble
