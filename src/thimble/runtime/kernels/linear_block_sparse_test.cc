// Products with block-sparse weights against the dense kernel, which linear_float_test.cc holds to sums
// in double: a sum that leaves out zeros has the same bits.
#include <cmath>

#include "thimble/graph/block_sparse.h"
#include "thimble/runtime/kernels/test_support.h"

namespace thimble {
namespace {

struct BlockSparseProblem {
  size_t rows, cols, inputs;
  double density;
};

// A weight of which that share of 16 x 8 blocks is not zero.
Tensor RandomBlocks(const BlockSparseProblem& p) {
  const GuardedMatrix values = GuardedMatrix::Random(p.cols, p.inputs, p.inputs, 7);
  std::mt19937 bits(11);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<float> kept(p.cols * p.inputs);
  for (size_t n = 0; n < p.cols; n += kPanelWidth) {
    for (size_t k = 0; k < p.inputs; k += kBlockInputs) {
      if (uniform(bits) >= p.density) continue;
      for (size_t i = n; i < std::min(n + kPanelWidth, p.cols); ++i) {
        for (size_t j = k; j < std::min(k + kBlockInputs, p.inputs); ++j) {
          kept[i * p.inputs + j] = values.at(i, j);
        }
      }
    }
  }
  return Tensor::FromFloats({static_cast<int64_t>(p.cols), static_cast<int64_t>(p.inputs)}, kept);
}

struct BlockSparseSteps {
  bool bias = false, residual = false, gamma = false;
  Activation activation = Activation::kIdentity;
};

void CheckBlockSparse(const BlockSparseProblem& p, const BlockSparseSteps& steps = {},
                      size_t misalign = 0) {
  SCOPED_TRACE(std::to_string(p.rows) + "x" + std::to_string(p.inputs) + "x" +
               std::to_string(p.cols) + " density " + std::to_string(p.density));
  const Tensor weight = RandomBlocks(p);
  const Tensor dense = PackPanels(weight), sparse = PackBlockSparse(weight);
  // Behind every row lie NaN: the last block must not read them.
  const auto a = GuardedMatrix::Random(p.rows, p.inputs, p.inputs + 3, 1, misalign);
  const auto bias = GuardedMatrix::Random(1, p.cols, p.cols, 2);
  const auto gamma = GuardedMatrix::Random(1, p.cols, p.cols, 3);
  const auto beta = GuardedMatrix::Random(1, p.cols, p.cols, 4);
  const auto residual = GuardedMatrix::Random(p.rows, p.cols, p.cols + 5, 5);
  const auto run = [&](auto linear, const Tensor& w) {
    GuardedMatrix c(p.rows, p.cols, p.cols + 1, misalign);
    linear({.a = a.data(),
            .a_stride = a.stride(),
            .weight = w.data().data(),
            .rows = p.rows,
            .cols = p.cols,
            .inputs = p.inputs,
            .c = c.data(),
            .c_stride = c.stride(),
            .epilogue = {.bias = steps.bias ? bias.data() : nullptr,
                         .residual = steps.residual ? residual.data() : nullptr,
                         .residual_stride = residual.stride(),
                         .gamma = steps.gamma ? gamma.data() : nullptr,
                         .beta = steps.gamma ? beta.data() : nullptr,
                         .activation = steps.activation}});
    return c;
  };
  ForEachTable([&](const Kernels& table) { return run(table.linear_block_sparse, sparse); },
               [&](const Kernels& table, const GuardedMatrix& c) {
                 const GuardedMatrix expected = run(table.linear_f32, dense);
                 EXPECT_TRUE(c.SameBits(expected));
               });
}

TEST(LinearBlockSparse, EveryNumberOfRows) {
  for (size_t rows = 1; rows <= 33; ++rows) CheckBlockSparse({rows, 80, 37, 0.4}, {.bias = true});
}

TEST(LinearBlockSparse, EveryNumberOfColumns) {
  for (size_t cols = 1; cols <= 67; ++cols)
    CheckBlockSparse({9, cols, 21, 0.5}, {.bias = true}, cols % 4);
}

TEST(LinearBlockSparse, EveryDensityAndNumberOfInputs) {
  for (const double density : {0.0, 0.02, 0.3, 1.0}) {
    for (size_t inputs : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 127, 128, 129, 513}) {
      CheckBlockSparse({7, 49, inputs, density}, {.bias = true});
    }
  }
}

TEST(LinearBlockSparse, RowsInSeveralBlocks) { CheckBlockSparse({70, 33, 5000, 0.1}); }

TEST(LinearBlockSparse, EveryEpilogue) {
  for (const bool bias : {false, true}) {
    for (const bool residual : {false, true}) {
      for (const bool gamma : {false, true}) {
        for (const Activation f : {Activation::kIdentity, Activation::kRelu, Activation::kGelu}) {
          CheckBlockSparse({11, 37, 24, 0.4}, {bias, residual, gamma, f}, 1);
          CheckBlockSparse({11, 37, 24, 0}, {bias, residual, gamma, f}, 1);
        }
      }
    }
  }
}

TEST(LinearBlockSparse, TakesNoRows) { CheckBlockSparse({0, 16, 16, 0.5}, {.bias = true}); }

// The plain reference: the definition of the product, in double.
TEST(LinearBlockSparse, IsTheSumOverItsBlocks) {
  const BlockSparseProblem p{5, 40, 50, 0.5};
  const Tensor weight = RandomBlocks(p);
  const Tensor sparse = PackBlockSparse(weight);
  const std::span<const float> w = weight.floats();
  const auto a = GuardedMatrix::Random(p.rows, p.inputs, p.inputs, 1);
  ForEachTable(
      [&](const Kernels& table) {
        GuardedMatrix c(p.rows, p.cols, p.cols);
        table.linear_block_sparse({.a = a.data(),
                                   .a_stride = a.stride(),
                                   .weight = sparse.data().data(),
                                   .rows = p.rows,
                                   .cols = p.cols,
                                   .inputs = p.inputs,
                                   .c = c.data(),
                                   .c_stride = c.stride(),
                                   .epilogue = {}});
        return c;
      },
      [&](const Kernels& table, const GuardedMatrix& c) {
        for (size_t m = 0; m < p.rows; ++m) {
          for (size_t n = 0; n < p.cols; ++n) {
            double sum = 0, size = 0;
            for (size_t k = 0; k < p.inputs; ++k) {
              const double term = static_cast<double>(a.at(m, k)) * w[n * p.inputs + k];
              sum += term, size += std::abs(term);
            }
            // Each term rounds once if fused and twice if not.
            const auto roundings = static_cast<double>((table.fused ? 1 : 2) * p.inputs);
            ASSERT_NEAR(c.at(m, n), sum, roundings * kRoundoff * size) << m << ", " << n;
          }
        }
      });
}

}  // namespace
}  // namespace thimble
