// Products with float32 and float16 weights against sums in double.
#include <cmath>
#include <memory>

#include "thimble/base/half.h"
#include "thimble/graph/panels.h"
#include "thimble/runtime/kernels/test_support.h"

namespace thimble {
namespace {

struct FloatProblem {
  size_t rows, cols, inputs;
};

std::string Name(const FloatProblem& p) {
  return std::to_string(p.rows) + "x" + std::to_string(p.inputs) + "x" + std::to_string(p.cols);
}

// A weight in panels, with the values it stands for.
struct Weight {
  Weight(const FloatProblem& p, bool is_half) : inputs(p.inputs), half(is_half) {
    const GuardedMatrix values = GuardedMatrix::Random(p.cols, p.inputs, p.inputs, 7);
    const std::vector<int64_t> shape{static_cast<int64_t>(p.cols), static_cast<int64_t>(p.inputs)};
    for (size_t i = 0; i < p.cols * p.inputs; ++i) {
      const float value = values.data()[i];
      halves.push_back(FloatToHalf(value));
      floats.push_back(half ? HalfToFloat(halves.back()) : value);
    }
    const Tensor row_major =
        half ? Tensor::Copy(DType::kF16, shape, std::as_bytes(std::span(halves)))
             : Tensor::Copy(DType::kF32, shape, std::as_bytes(std::span(floats)));
    panels = PackPanels(row_major);
  }
  double at(size_t n, size_t k) const { return floats[n * inputs + k]; }

  size_t inputs;
  bool half;
  std::vector<uint16_t> halves;
  std::vector<float> floats;
  Tensor panels;
};

struct Steps {
  bool bias = false, residual = false, gamma = false;
  Activation activation = Activation::kIdentity;
};

class LinearFloat : public testing::TestWithParam<bool> {
 protected:
  void CheckFloat(const FloatProblem& p, const Steps& steps, size_t misalign = 0) {
    SCOPED_TRACE(Name(p));
    const Weight weight(p, GetParam());
    const auto a = GuardedMatrix::Random(p.rows, p.inputs, p.inputs + 3, 1, misalign);
    const auto bias = GuardedMatrix::Random(1, p.cols, p.cols, 2);
    const auto gamma = GuardedMatrix::Random(1, p.cols, p.cols, 3);
    const auto beta = GuardedMatrix::Random(1, p.cols, p.cols, 4);
    const auto residual = GuardedMatrix::Random(p.rows, p.cols, p.cols + 5, 5);
    const auto run = [&](const Kernels& table, Activation activation) {
      GuardedMatrix c(p.rows, p.cols, p.cols + 1, misalign);
      const LinearArgs args{.a = a.data(),
                            .a_stride = a.stride(),
                            .weight = weight.panels.data().data(),
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
                                         .activation = activation}};
      (weight.half ? table.linear_f16 : table.linear_f32)(args);
      return c;
    };
    ForEachTable([&](const Kernels& table) { return run(table, Activation::kIdentity); },
                 [&](const Kernels& table, const GuardedMatrix& c) {
                   for (size_t m = 0; m < p.rows; ++m) {
                     for (size_t n = 0; n < p.cols; ++n) {
                       double z = 0, size = 0;
                       for (size_t k = 0; k < p.inputs; ++k) {
                         z += a.at(m, k) * weight.at(n, k);
                         size += std::abs(a.at(m, k) * weight.at(n, k));
                       }
                       if (steps.bias) z += bias.at(0, n), size += std::abs(bias.at(0, n));
                       if (steps.residual)
                         z += residual.at(m, n), size += std::abs(residual.at(m, n));
                       if (steps.gamma) {
                         z = z * gamma.at(0, n) + beta.at(0, n);
                         size = size * std::abs(gamma.at(0, n)) + std::abs(beta.at(0, n));
                       }
                       // Each input rounds once if fused and twice if not, each step of the
                       // epilogue at most twice, and no partial sum is larger than the sum of
                       // magnitudes.
                       const double roundings =
                           static_cast<double>((table.fused ? 1 : 2) * p.inputs + 6);
                       ASSERT_NEAR(c.at(m, n), z, roundings * kRoundoff * size) << m << ", " << n;
                     }
                   }
                 });
    if (steps.activation == Activation::kIdentity) return;
    // The activation is the one of its own kernel.
    for (const Kernels* table : AvailableKernels()) {
      SCOPED_TRACE(std::string(table->name));
      GuardedMatrix expected = run(*table, Activation::kIdentity);
      table->activation({.x = expected.data(),
                         .x_stride = expected.stride(),
                         .rows = p.rows,
                         .width = p.cols,
                         .y = expected.data(),
                         .y_stride = expected.stride()},
                        steps.activation);
      EXPECT_TRUE(run(*table, steps.activation).SameBits(expected));
    }
  }
};

TEST_P(LinearFloat, EveryNumberOfRows) {
  for (size_t rows = 1; rows <= 33; ++rows) CheckFloat({rows, 80, 19}, {.bias = true});
}

TEST_P(LinearFloat, EveryNumberOfColumns) {
  for (size_t cols = 1; cols <= 67; ++cols) CheckFloat({9, cols, 5}, {.bias = true}, cols % 4);
}

TEST_P(LinearFloat, EveryNumberOfInputs) {
  for (size_t inputs : {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 127, 128, 129, 513}) {
    CheckFloat({7, 33, inputs}, {.bias = true});
  }
}

TEST_P(LinearFloat, RowsInSeveralBlocks) { CheckFloat({70, 17, 5000}, {}); }

TEST_P(LinearFloat, EveryEpilogue) {
  for (const bool bias : {false, true}) {
    for (const bool residual : {false, true}) {
      for (const bool gamma : {false, true}) {
        for (const Activation f : {Activation::kIdentity, Activation::kRelu, Activation::kGelu}) {
          CheckFloat({11, 37, 24}, {bias, residual, gamma, f}, 1);
        }
      }
    }
  }
}

TEST_P(LinearFloat, MayOverwriteItsResidual) {
  const FloatProblem p{13, 50, 21};
  const Weight weight(p, GetParam());
  const auto a = GuardedMatrix::Random(p.rows, p.inputs, p.inputs, 1);
  const auto residual = GuardedMatrix::Random(p.rows, p.cols, p.cols + 2, 5);
  for (const Kernels* table : AvailableKernels()) {
    const auto run = [&](const GuardedMatrix& from, GuardedMatrix& to) {
      (weight.half ? table->linear_f16 : table->linear_f32)(
          {.a = a.data(),
           .a_stride = a.stride(),
           .weight = weight.panels.data().data(),
           .rows = p.rows,
           .cols = p.cols,
           .inputs = p.inputs,
           .c = to.data(),
           .c_stride = to.stride(),
           .epilogue = {.residual = from.data(), .residual_stride = from.stride()}});
    };
    GuardedMatrix apart(p.rows, p.cols, p.cols + 2), in_place = residual;
    run(residual, apart);
    run(in_place, in_place);
    EXPECT_TRUE(in_place.SameBits(apart)) << table->name;
  }
}

TEST_P(LinearFloat, TakesNoRows) { CheckFloat({0, 16, 16}, {.bias = true}); }

INSTANTIATE_TEST_SUITE_P(Weights, LinearFloat, testing::Bool(), [](const auto& param_info) {
  return param_info.param ? std::string("f16") : std::string("f32");
});

// Every half there is, infinities, NaN and subnormals included, reaches the product unchanged.
TEST(LinearHalf, WidensExactly) {
  const size_t count = 65536;
  std::vector<uint16_t> panels(count + kPanelGuardBytes);
  for (size_t i = 0; i < count; ++i) panels[i] = static_cast<uint16_t>(i);
  const float one = 1;
  for (const Kernels* table : AvailableKernels()) {
    std::vector<float> c(count);
    table->linear_f16({.a = &one,
                       .a_stride = 1,
                       .weight = panels.data(),
                       .rows = 1,
                       .cols = count,
                       .inputs = 1,
                       .c = c.data(),
                       .c_stride = count,
                       .epilogue = {}});
    for (size_t i = 0; i < count; ++i) {
      const float expected = HalfToFloat(panels[i]);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(c[i])) << table->name << " " << i;
      } else {
        ASSERT_EQ(c[i], expected) << table->name << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace thimble
