// Products with int4 and int8 weights by group: the bits of the float product with the dequantized
// weight, which has a test of its own against sums in double.
#include <memory>

#include "thimble/graph/int4.h"
#include "thimble/graph/panels.h"
#include "thimble/runtime/kernels/test_support.h"

namespace thimble {
namespace {

struct GroupedProblem {
  size_t rows, cols, inputs, group = 32;
};

// Any code there is and any scale, in panels; and the float32 panels of what they stand for.
struct GroupedWeight {
  GroupedWeight(const GroupedProblem& p, DType dtype) {
    std::mt19937 bits(7);
    const int largest = dtype == DType::kI4Group ? 7 : 127;
    std::uniform_int_distribution<int> code(-largest, largest);
    std::uniform_real_distribution<float> scale(-2, 2);
    const size_t row_bytes = dtype == DType::kI4Group ? (p.inputs + 1) / 2 : p.inputs;
    std::vector<std::byte> codes(p.cols * row_bytes);
    for (size_t n = 0; n < p.cols; ++n) {
      std::byte* row = codes.data() + n * row_bytes;
      for (size_t k = 0; k < p.inputs; ++k) {
        const auto q = static_cast<int8_t>(code(bits));
        if (dtype == DType::kI4Group) {
          StoreInt4(row, k, q);
        } else {
          row[k] = static_cast<std::byte>(q);
        }
      }
    }
    auto scales =
        std::make_shared<std::vector<float>>(p.cols * RoundUp(p.inputs, p.group) / p.group);
    for (float& s : *scales) s = scale(bits);
    const std::span<const float> view(*scales);
    const Shape shape{static_cast<int64_t>(p.cols), static_cast<int64_t>(p.inputs)};
    const Tensor rows = Tensor::Copy(dtype, shape, codes).WithScales(view, scales, p.group);
    grouped = PackPanels(rows);
    dense = PackPanels(Tensor::FromFloats(shape, rows.ToFloats()));
  }
  Tensor grouped, dense;
};

class LinearGrouped : public testing::TestWithParam<DType> {
 protected:
  void CheckGrouped(const GroupedProblem& p, Epilogue epilogue = {}, size_t misalign = 0) {
    SCOPED_TRACE(std::to_string(p.rows) + "x" + std::to_string(p.inputs) + "x" +
                 std::to_string(p.cols) + " by " + std::to_string(p.group));
    const GroupedWeight weight(p, GetParam());
    const auto a = GuardedMatrix::Random(p.rows, p.inputs, p.inputs + 3, 1, misalign);
    LinearArgs args{.a = a.data(),
                    .a_stride = a.stride(),
                    .weight = weight.grouped.data().data(),
                    .rows = p.rows,
                    .cols = p.cols,
                    .inputs = p.inputs,
                    .epilogue = epilogue};
    ForEachTable(
        [&](const Kernels& table) {
          GuardedMatrix c(p.rows, p.cols, p.cols + 1, misalign);
          args.weight = weight.grouped.data().data();
          args.c = c.data(), args.c_stride = c.stride();
          const auto kernel =
              GetParam() == DType::kI4Group ? table.linear_i4_group : table.linear_i8_group;
          kernel({args, weight.grouped.scales().data(), p.group});
          return c;
        },
        [&](const Kernels& table, const GuardedMatrix& c) {
          GuardedMatrix expected(p.rows, p.cols, p.cols + 1, misalign);
          args.weight = weight.dense.data().data();
          args.c = expected.data(), args.c_stride = expected.stride();
          table.linear_f32(args);
          EXPECT_TRUE(c.SameBits(expected));
        });
  }
};

TEST_P(LinearGrouped, EveryNumberOfRows) {
  for (size_t rows = 1; rows <= 33; ++rows) CheckGrouped({rows, 80, 75});
  // One block of eight tiles and more, on every instruction set.
  for (const size_t rows : {48, 49, 64, 65, 131}) CheckGrouped({rows, 33, 40});
}

TEST_P(LinearGrouped, EveryNumberOfColumns) {
  for (size_t cols = 1; cols <= 67; ++cols) CheckGrouped({9, cols, 37}, {}, cols % 4);
}

TEST_P(LinearGrouped, EveryNumberOfInputsAndGroup) {
  for (const size_t group : kScaleGroups) {
    for (size_t inputs : {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 127, 128, 129, 255, 256, 300}) {
      CheckGrouped({7, 33, inputs, group});
      CheckGrouped({1, 65, inputs, group});
    }
  }
}

TEST_P(LinearGrouped, EveryEpilogue) {
  constexpr size_t kRows = 11, kCols = 37;
  const auto bias = GuardedMatrix::Random(1, kCols, kCols, 2);
  const auto gamma = GuardedMatrix::Random(1, kCols, kCols, 3);
  const auto beta = GuardedMatrix::Random(1, kCols, kCols, 4);
  const auto residual = GuardedMatrix::Random(kRows, kCols, kCols + 5, 5);
  for (const Activation f : {Activation::kIdentity, Activation::kRelu, Activation::kGelu}) {
    for (int steps = 0; steps < 8; ++steps) {
      CheckGrouped({kRows, kCols, 140}, {.bias = (steps & 1) != 0 ? bias.data() : nullptr,
                                         .residual = (steps & 2) != 0 ? residual.data() : nullptr,
                                         .residual_stride = residual.stride(),
                                         .gamma = (steps & 4) != 0 ? gamma.data() : nullptr,
                                         .beta = (steps & 4) != 0 ? beta.data() : nullptr,
                                         .activation = f});
    }
  }
}

TEST_P(LinearGrouped, TakesNoRows) { CheckGrouped({0, 16, 16}); }

INSTANTIATE_TEST_SUITE_P(Weights, LinearGrouped, testing::Values(DType::kI4Group, DType::kI8Group),
                         [](const auto& param_info) {
                           return std::string(DTypeName(param_info.param));
                         });

}  // namespace
}  // namespace thimble
