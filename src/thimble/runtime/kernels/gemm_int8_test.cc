#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "thimble/graph/panels.h"
#include "thimble/runtime/kernels/kernels.h"

namespace thimble {
namespace {

// Bytes on a boundary of 64, of exactly the size asked for, so that sanitizers see what lies
// beyond.
class Bytes {
 public:
  explicit Bytes(size_t size, uint8_t fill = 0)
      : size_(size), data_(new (kAlignment) uint8_t[size]) {
    std::memset(data_.get(), fill, size);
  }
  int8_t* ints() { return reinterpret_cast<int8_t*>(data_.get()); }
  const int8_t* ints() const { return reinterpret_cast<const int8_t*>(data_.get()); }
  size_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(uint8_t* p) const { ::operator delete[](p, kAlignment); }
  };
  size_t size_;
  std::unique_ptr<uint8_t[], Delete> data_;
};

struct Shape {
  size_t rows, cols, inputs;
};

std::string Text(const Shape& shape) {
  return std::to_string(shape.rows) + "x" + std::to_string(shape.inputs) + "x" +
         std::to_string(shape.cols);
}

// What a is like: any integers, the two at the ends, or none below zero, as behind a ReLU.
enum class Values { kRandom, kExtreme, kNonNegative, kLargest };

// One product with all that it reads. Weights are packed by hand, so that the test does not share
// the packer's view of the layout, and the guard holds what would show in any sum it got into.
class Int8Problem {
 public:
  Int8Problem(const Shape& shape, Values values, uint32_t seed)
      : shape_(shape),
        stride_(RoundUp(shape.inputs, 64)),
        a_(shape.rows * stride_),
        w_(RoundUp(shape.cols, 16) * RoundUp(shape.inputs, 4) + kPanelGuardBytes, 0x7F),
        row_major_(shape.cols * shape.inputs),
        a_scales_(shape.rows),
        w_scales_(RoundUp(shape.cols, 16)),
        random_(seed) {
    const bool extreme = values == Values::kExtreme || values == Values::kLargest;
    const bool without_sign = values == Values::kNonNegative || values == Values::kLargest;
    const auto next = [&] {
      return extreme ? (random_() % 2 == 0 ? 127 : -127) : static_cast<int>(random_() % 255) - 127;
    };
    for (size_t r = 0; r < shape.rows; ++r) {
      for (size_t k = 0; k < shape.inputs; ++k) {
        const int value = next();
        a_.ints()[r * stride_ + k] = Int8(without_sign ? std::abs(value) : value);
      }
      a_scales_[r] = Uniform(0.0f, 0.1f);
    }
    std::memset(w_.ints(), 0, w_.size() - kPanelGuardBytes);
    const size_t groups = RoundUp(shape.inputs, 4) / 4;
    for (size_t n = 0; n < shape.cols; ++n) {
      for (size_t k = 0; k < shape.inputs; ++k) {
        const int8_t value = Int8(next());
        row_major_[n * shape.inputs + k] = value;
        w_.ints()[((n / 16 * groups + k / 4) * 16 + n % 16) * 4 + k % 4] = value;
      }
      w_scales_[n] = Uniform(0.0f, 0.1f);
    }
    bias_ = Floats(shape.cols), gamma_ = Floats(shape.cols), beta_ = Floats(shape.cols);
    residual_stride_ = shape.cols + 5;
    residual_ = Floats(shape.rows * residual_stride_);
  }

  void SetInput(size_t row, size_t input, int value) {
    a_.ints()[row * stride_ + input] = Int8(value);
  }

  // Some of the epilogue, by the bits of `parts`.
  LinearInt8Args Args(int parts, Activation activation) const {
    LinearInt8Args args;
    args.a = a_.ints(), args.a_stride = stride_, args.a_scales = a_scales_.data();
    args.weight = w_.ints(), args.weight_scales = w_scales_.data();
    args.rows = shape_.rows, args.cols = shape_.cols, args.inputs = shape_.inputs;
    if (parts & 1) args.epilogue.bias = bias_.data();
    if (parts & 2) args.epilogue.residual = residual_.data();
    if (parts & 2) args.epilogue.residual_stride = residual_stride_;
    if (parts & 4) args.epilogue.gamma = gamma_.data(), args.epilogue.beta = beta_.data();
    args.epilogue.activation = activation;
    return args;
  }

  // The contract of kernels.h, element by element; only the activation is the table's own.
  std::vector<float> Expected(const Kernels& kernels, const LinearInt8Args& args, size_t c_stride,
                              float gap) const {
    const auto fma = [&](float x, float y, float z) {
      return kernels.fused ? std::fma(x, y, z) : x * y + z;
    };
    const Epilogue& e = args.epilogue;
    std::vector<float> c(shape_.rows * c_stride, gap);
    for (size_t r = 0; r < shape_.rows; ++r) {
      for (size_t n = 0; n < shape_.cols; ++n) {
        int64_t sum = 0;
        for (size_t k = 0; k < shape_.inputs; ++k) {
          sum += a_.ints()[r * stride_ + k] * row_major_[n * shape_.inputs + k];
        }
        const float bias = e.bias != nullptr ? e.bias[n] : 0.0f;
        float z = fma(static_cast<float>(sum), a_scales_[r] * w_scales_[n], bias);
        if (e.residual != nullptr) z += e.residual[r * e.residual_stride + n];
        if (e.gamma != nullptr) z = fma(z, e.gamma[n], e.beta[n]);
        c[r * c_stride + n] = z;
      }
    }
    kernels.activation({c.data(), c_stride, shape_.rows, shape_.cols, c.data(), c_stride},
                       e.activation);
    return c;
  }

 private:
  static int8_t Int8(int value) { return static_cast<int8_t>(value); }
  float Uniform(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(random_);
  }
  std::vector<float> Floats(size_t count) {
    std::vector<float> floats(count);
    for (float& f : floats) f = Uniform(-2.0f, 2.0f);
    return floats;
  }

  Shape shape_;
  size_t stride_, residual_stride_ = 0;
  Bytes a_, w_;
  std::vector<int8_t> row_major_;
  std::vector<float> a_scales_, w_scales_, bias_, gamma_, beta_, residual_;
  std::mt19937 random_;
};

constexpr float kGap = 12345.0f;  // between and after rows of c, where nothing may be written

// Every bit, the gaps included. Returns whether all agree, having reported the first that does not.
bool SameBits(const std::vector<float>& expected, const std::vector<float>& actual,
              const std::string& what) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::memcmp(&expected[i], &actual[i], sizeof(float)) != 0) {
      ADD_FAILURE() << what << " at " << i << ": " << actual[i] << " instead of " << expected[i];
      return false;
    }
  }
  return true;
}

std::vector<float> Multiply(const Kernels& kernels, LinearInt8Args args, size_t c_stride) {
  std::vector<float> c(args.rows * c_stride, kGap);
  args.c = c.data(), args.c_stride = c_stride;
  kernels.linear_int8(args);
  return c;
}

// On every table: equal to the reference, and so to each other.
bool CheckInt8(const Shape& shape, Values values, int parts, Activation activation) {
  const Int8Problem problem(shape, values, static_cast<uint32_t>(shape.rows * 7919 + shape.cols));
  const size_t c_stride = shape.cols + 3;
  const LinearInt8Args args = problem.Args(parts, activation);
  for (const Kernels* kernels : AvailableKernels()) {
    const std::string what =
        std::string(kernels->name) + " " + Text(shape) + " epilogue " + std::to_string(parts);
    if (!SameBits(problem.Expected(*kernels, args, c_stride, kGap),
                  Multiply(*kernels, args, c_stride), what)) {
      return false;
    }
  }
  return true;
}

TEST(LinearInt8, EveryNumberOfRows) {
  for (size_t rows = 1; rows <= 70; ++rows) {
    ASSERT_TRUE(CheckInt8({rows, 1 + rows * 37 % 100, 1 + rows * 53 % 200}, Values::kRandom,
                          static_cast<int>(rows % 8), Activation::kIdentity));
  }
}

TEST(LinearInt8, EveryNumberOfColumns) {
  for (size_t cols = 1; cols <= 100; ++cols) {
    ASSERT_TRUE(CheckInt8({1 + cols * 29 % 40, cols, 1 + cols * 71 % 200}, Values::kRandom,
                          static_cast<int>(cols % 8), Activation::kRelu));
  }
}

TEST(LinearInt8, EveryNumberOfInputs) {
  for (size_t inputs = 1; inputs <= 200; ++inputs) {
    ASSERT_TRUE(CheckInt8({1 + inputs * 31 % 40, 1 + inputs * 17 % 100, inputs}, Values::kRandom,
                          static_cast<int>(inputs % 8), Activation::kIdentity));
  }
}

TEST(LinearInt8, ShapesOfModels) {
  for (const Shape& shape : {Shape{3, 128, 512}, Shape{17, 312, 312}, Shape{33, 40, 1200},
                             Shape{2, 20, 3072}, Shape{250, 33, 128}, Shape{16, 1, 384}}) {
    ASSERT_TRUE(CheckInt8(shape, Values::kRandom, 7, Activation::kGelu));
  }
}

// The largest sums there are; a saturating step anywhere on the way would show.
TEST(LinearInt8, ExtremeValuesDoNotSaturate) {
  for (const Shape& shape : {Shape{20, 20, 64}, Shape{5, 17, 3072}, Shape{33, 16, 511}}) {
    ASSERT_TRUE(CheckInt8(shape, Values::kExtreme, 1, Activation::kIdentity));
    ASSERT_TRUE(CheckInt8(shape, Values::kLargest, 1, Activation::kIdentity));
  }
}

// Rows without a negative value may take a shorter way; one value anywhere must lead off it.
TEST(LinearInt8, NonNegativeRows) {
  for (size_t rows = 1; rows <= 30; ++rows) {
    ASSERT_TRUE(CheckInt8({rows, 1 + rows * 37 % 100, 1 + rows * 53 % 200}, Values::kNonNegative,
                          static_cast<int>(rows % 8), Activation::kIdentity));
  }
  for (const Shape& shape : {Shape{250, 33, 128}, Shape{128, 128, 512}, Shape{241, 17, 70}}) {
    ASSERT_TRUE(CheckInt8(shape, Values::kNonNegative, 7, Activation::kRelu));
  }
}

TEST(LinearInt8, OneNegativeAmongNonNegative) {
  const Shape shape{13, 20, 130};
  for (const size_t row : {0, 6, 12}) {
    for (const size_t input : {0, 63, 64, 129}) {
      Int8Problem problem(shape, Values::kLargest, 11);
      problem.SetInput(row, input, -127);
      const LinearInt8Args args = problem.Args(1, Activation::kIdentity);
      for (const Kernels* kernels : AvailableKernels()) {
        ASSERT_TRUE(SameBits(problem.Expected(*kernels, args, shape.cols, kGap),
                             Multiply(*kernels, args, shape.cols), std::string(kernels->name)));
      }
    }
  }
}

TEST(LinearInt8, EveryActivation) {
  for (const Activation activation :
       {Activation::kRelu, Activation::kRelu6, Activation::kGelu, Activation::kTanh}) {
    ASSERT_TRUE(CheckInt8({19, 45, 70}, Values::kRandom, 7, activation));
  }
}

// c may be the residual, also where tiles of rows overlap.
TEST(LinearInt8, AddsInPlace) {
  for (const size_t rows : {1, 7, 16, 17, 25, 31, 49, 63}) {
    const Shape shape{rows, 39, 66};
    const Int8Problem problem(shape, Values::kRandom, 1);
    LinearInt8Args args = problem.Args(7, Activation::kRelu);
    const size_t stride = args.epilogue.residual_stride;
    for (const Kernels* kernels : AvailableKernels()) {
      std::vector<float> c(args.epilogue.residual, args.epilogue.residual + rows * stride);
      std::vector<float> expected = problem.Expected(*kernels, args, stride, 0.0f);
      for (size_t r = 0; r < rows; ++r) {
        std::copy(&c[r * stride] + shape.cols, &c[r * stride] + stride,
                  &expected[r * stride] + shape.cols);
      }
      LinearInt8Args in_place = args;
      in_place.epilogue.residual = c.data();
      in_place.c = c.data(), in_place.c_stride = stride;
      kernels->linear_int8(in_place);
      ASSERT_TRUE(SameBits(expected, c, std::string(kernels->name) + " in place " + Text(shape)));
    }
  }
}

// What a row gives does not depend on the rows around it.
TEST(LinearInt8, RowsDoNotDependOnEachOther) {
  const Shape shape{77, 50, 130};
  const Int8Problem problem(shape, Values::kRandom, 3);
  const LinearInt8Args args = problem.Args(7, Activation::kGelu);
  for (const Kernels* kernels : AvailableKernels()) {
    const std::vector<float> all = Multiply(*kernels, args, shape.cols);
    for (const size_t first : {0, 5, 40, 76}) {
      LinearInt8Args part = args;
      part.rows = std::min<size_t>(shape.rows - first, 20);
      part.a += first * args.a_stride, part.a_scales += first;
      part.epilogue.residual += first * args.epilogue.residual_stride;
      const std::vector<float> rows = Multiply(*kernels, part, shape.cols);
      ASSERT_TRUE(SameBits(
          {all.begin() + first * shape.cols, all.begin() + (first + part.rows) * shape.cols}, rows,
          std::string(kernels->name)));
    }
  }
}

// --- Quantization

struct Quantized {
  std::vector<int8_t> q;
  std::vector<float> scales;
};

// The contract of kernels.h, element by element.
Quantized ExpectedRow(const std::vector<float>& x, size_t width, size_t rows, size_t q_stride) {
  Quantized result{std::vector<int8_t>(rows * q_stride, 99), std::vector<float>(rows)};
  for (size_t r = 0; r < rows; ++r) {
    const float* row = &x[r * (width + 1)];
    float largest = 0;
    for (size_t i = 0; i < width; ++i) {
      if (std::fabs(row[i]) > largest) largest = std::fabs(row[i]);
    }
    result.scales[r] = largest / 127.0f;
    const float factor = 127.0f / largest;
    int8_t* q = &result.q[r * q_stride];
    std::memset(q, 0, RoundUp(width, 64));
    for (size_t i = 0; i < width; ++i) {
      const float y = std::isinf(row[i]) ? row[i] : row[i] * factor;
      if (!std::isnan(y)) q[i] = static_cast<int8_t>(std::rint(std::fmax(std::fmin(y, 127), -127)));
    }
  }
  return result;
}

void CheckQuantization(const std::vector<float>& x, size_t width, const std::string& what) {
  const size_t rows = x.size() / (width + 1), q_stride = RoundUp(width, 64) + 64;
  const Quantized expected = ExpectedRow(x, width, rows, q_stride);
  for (const Kernels* kernels : AvailableKernels()) {
    Bytes q(rows * q_stride, 99);
    std::vector<float> scales(rows);
    kernels->quantize_rows({x.data(), width + 1, rows, width, q.ints(), q_stride, scales.data()});
    const std::string where = std::string(kernels->name) + " " + what;
    EXPECT_EQ(std::memcmp(q.ints(), expected.q.data(), q.size()), 0) << where;
    EXPECT_EQ(std::memcmp(scales.data(), expected.scales.data(), rows * sizeof(float)), 0) << where;
  }
}

TEST(QuantizeRows, EveryWidth) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (size_t width = 1; width <= 300; ++width) {
    std::vector<float> x(3 * (width + 1));
    for (float& f : x) f = normal(random);
    CheckQuantization(x, width, "width " + std::to_string(width));
  }
}

// A scale that is given: saturates, and every table agrees about what is not a number.
TEST(QuantizeRows, ByAGivenScale) {
  constexpr float kScale = 0.75f;
  const float infinity = std::numeric_limits<float>::infinity();
  std::mt19937 random(6);
  std::normal_distribution<float> normal(0, 60);  // a tenth lies beyond
  for (size_t width = 1; width <= 150; ++width) {
    std::vector<float> x(2 * (width + 1));
    for (float& f : x) f = normal(random);
    const float odd[] = {1e30f, -1e30f, infinity, -infinity, NAN, 0.375f, 1.125f, -0.375f, 0.0f};
    for (size_t i = 0; i < std::min(width, std::size(odd)); ++i) x[width + 1 + i] = odd[i];
    const size_t q_stride = RoundUp(width, 64);
    std::vector<int8_t> expected(2 * q_stride, 0);
    for (size_t r = 0; r < 2; ++r) {
      for (size_t i = 0; i < width; ++i) {
        const float y = x[r * (width + 1) + i] * (1.0f / kScale);
        if (std::isnan(y)) continue;
        expected[r * q_stride + i] =
            static_cast<int8_t>(std::rint(std::fmax(std::fmin(y, 127), -127)));
      }
    }
    for (const Kernels* kernels : AvailableKernels()) {
      Bytes q(2 * q_stride, 99);
      float scales[2] = {};
      kernels->quantize_rows({.x = x.data(),
                              .x_stride = width + 1,
                              .rows = 2,
                              .width = width,
                              .q = q.ints(),
                              .q_stride = q_stride,
                              .scales = scales,
                              .scale = kScale});
      EXPECT_EQ(std::memcmp(q.ints(), expected.data(), expected.size()), 0)
          << kernels->name << " width " << width;
      EXPECT_EQ(scales[0], kScale);
      EXPECT_EQ(scales[1], kScale);
    }
  }
}

// With 127 as the largest, the factor is 1 and halves are ties.
TEST(QuantizeRows, RoundsTiesToEven) {
  std::vector<float> x = {127.0f, 0.5f,   1.5f,   2.5f,    -0.5f, -1.5f,
                          -2.5f,  125.5f, 126.5f, -126.5f, 0};
  CheckQuantization(x, x.size() - 1, "ties");
}

TEST(QuantizeRows, SpecialRows) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kTiny = std::numeric_limits<float>::denorm_min();
  const std::vector<std::vector<float>> rows = {{0, -0.0f, 0},      {1, kNan, -2},
                                                {kNan, kNan, kNan}, {kNan, 0, -0.0f},
                                                {1, kInfinity, -3}, {-kInfinity, kNan, 7},
                                                {kTiny, -kTiny, 0}, {1e-37f, 1e-38f, -1e-36f},
                                                {3e38f, -3e38f, 1}, {kInfinity, -kInfinity, 0}};
  for (const size_t width : {3, 20, 64, 100}) {
    std::vector<float> x;
    for (const std::vector<float>& row : rows) {
      for (size_t i = 0; i <= width; ++i) x.push_back(i < width ? row[i % 3] : 0.0f);
    }
    CheckQuantization(x, width, "special rows of " + std::to_string(width));
  }
}

}  // namespace
}  // namespace thimble
