// Times single kernels: kernels_bench [ISA] [PROBLEM...]
//
// A problem is a string, e.g. `linear_f32 128x512x384` (rows x inputs x outputs) or `attention
// 128x32` (tokens x head width). Weights are taken in turn from more memory than the second-level
// cache holds, as a model's are. Prints the fastest of many calls, and for products the share of
// what the processor reaches when it only multiplies.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "thimble/graph/panels.h"
#include "thimble/runtime/kernels/kernels.h"
#include "thimble/targets/machine.h"

namespace thimble {
namespace {

constexpr const char* kProblems[] = {
    "linear_f32 128x512x128",  "linear_f32 128x128x128",  "linear_f32 128x128x512",
    "linear_f32 128x384x512",  "linear_f32 16x512x128",   "linear_f32 16x128x128",
    "linear_f32 16x128x512",   "linear_f32 16x384x512",   "linear_f32 1x768x768",
    "linear_f32 128x312x312",  "linear_f32 128x312x1200", "linear_f32 128x1200x312",
    "linear_f32 128x384x1536", "linear_f32 128x768x768",  "linear_f32 128x768x3072",
    "linear_f32 128x3072x768", "linear_f16 128x512x128",  "linear_f16 16x512x128",
    "linear_int8 128x512x128", "linear_int8 128x128x512", "linear_int8 16x512x128",
    "linear_int8 128x768x768", "attention 9x32",          "attention 16x32",
    "attention 128x32",        "attention 128x64",        "attention 512x64",
    "layer_norm 128x768",      "gelu 128x1200",           "quantize 128x512",
    "relu_int8 128x512x128",   "linear_i8g 128x512x128",  "linear_i8g 1x768x768",
    "linear_i4g 128x512x128",  "linear_i4g 128x128x512",  "linear_i4g 16x512x128",
    "linear_i4g 1x768x768",    "linear_i4g 128x768x3072",
};
constexpr size_t kWeightBytes = 16 << 20;
constexpr double kSecondsPerProblem = 0.1;

// Storage of 64-byte alignment.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t size) : size_(size) {
    const size_t bytes = RoundUp(size * sizeof(T) + kPanelGuardBytes, kPanelAlignment);
    data_.reset(static_cast<T*>(std::aligned_alloc(kPanelAlignment, bytes)));
    if (data_ == nullptr) std::abort();
    std::fill_n(reinterpret_cast<std::byte*>(data_.get()), bytes, std::byte{0});
  }
  T* data() { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  size_t size_;
  std::unique_ptr<T, Free> data_;
};

Buffer<float> Random(size_t size) {
  Buffer<float> buffer(size);
  std::minstd_rand bits(1);
  std::uniform_real_distribution<float> values(-1, 1);
  std::generate_n(buffer.data(), size, [&] { return values(bits); });
  return buffer;
}

// The fastest of the calls that fit the time; `call` gets the number of the call.
template <class Call>
double FastestSeconds(const Call& call) {
  using Clock = std::chrono::steady_clock;
  double fastest = 1e9;
  const auto start = Clock::now();
  for (size_t n = 0;; ++n) {
    const auto before = Clock::now();
    call(n);
    const auto after = Clock::now();
    fastest = std::min(fastest, std::chrono::duration<double>(after - before).count());
    if (std::chrono::duration<double>(after - start).count() > kSecondsPerProblem) return fastest;
  }
}

using Sizes = std::array<size_t, 3>;  // those not named are 1

double TimeLinearFloat(const Kernels& kernels, const Sizes& sizes, bool half) {
  const auto [rows, inputs, cols] = sizes;
  const size_t bytes = PanelsBytes(half ? DType::kF16 : DType::kF32, cols, inputs);
  const size_t copies = std::max<size_t>(1, kWeightBytes / bytes);
  Buffer<std::byte> weights(copies * bytes);
  if (!half) {
    Buffer<float> values = Random(copies * bytes / sizeof(float));
    std::copy_n(reinterpret_cast<std::byte*>(values.data()), copies * bytes, weights.data());
  }
  Buffer<float> a = Random(rows * inputs), bias = Random(cols), c(rows * cols);
  const auto linear = half ? kernels.linear_f16 : kernels.linear_f32;
  return FastestSeconds([&](size_t n) {
    linear({.a = a.data(),
            .a_stride = inputs,
            .weight = weights.data() + n % copies * bytes,
            .rows = rows,
            .cols = cols,
            .inputs = inputs,
            .c = c.data(),
            .c_stride = cols,
            .epilogue = {.bias = bias.data()}});
  });
}

// `relu`: no input is negative.
double TimeLinearInt8(const Kernels& kernels, const Sizes& sizes, bool relu) {
  const auto [rows, inputs, cols] = sizes;
  const size_t bytes = PanelsBytes(DType::kI8, cols, inputs), stride = RoundUp(inputs, 64);
  const size_t copies = std::max<size_t>(1, kWeightBytes / bytes);
  Buffer<int8_t> weights(copies * bytes), a(rows * stride);
  for (size_t i = 0; i < weights.size(); ++i)
    weights.data()[i] = static_cast<int8_t>(i * 7 % 255 - 127);
  for (size_t i = 0; i < rows * stride; ++i) {
    if (i % stride < inputs) a.data()[i] = static_cast<int8_t>(i * 11 % 128 - (relu ? 0 : 64));
  }
  Buffer<float> a_scales = Random(rows), scales = Random(RoundUp(cols, kPanelWidth));
  Buffer<float> bias = Random(cols), c(rows * cols);
  return FastestSeconds([&](size_t n) {
    kernels.linear_int8({.a = a.data(),
                         .a_stride = stride,
                         .a_scales = a_scales.data(),
                         .weight = weights.data() + n % copies * bytes,
                         .weight_scales = scales.data(),
                         .rows = rows,
                         .cols = cols,
                         .inputs = inputs,
                         .c = c.data(),
                         .c_stride = cols,
                         .epilogue = {.bias = bias.data()}});
  });
}

// By groups of 32.
double TimeLinearGrouped(const Kernels& kernels, const Sizes& sizes, DType dtype) {
  const auto [rows, inputs, cols] = sizes;
  constexpr size_t kGroup = 32;
  const size_t bytes = PanelsBytes(dtype, cols, inputs);
  const size_t copies = std::max<size_t>(1, kWeightBytes / bytes);
  Buffer<std::byte> weights(copies * bytes);
  for (size_t i = 0; i < weights.size(); ++i) weights.data()[i] = static_cast<std::byte>(i * 7);
  Buffer<float> scales = Random(RoundUp(cols, kPanelWidth) * (RoundUp(inputs, kGroup) / kGroup));
  Buffer<float> a = Random(rows * inputs), bias = Random(cols), c(rows * cols);
  const auto linear = dtype == DType::kI4Group ? kernels.linear_i4_group : kernels.linear_i8_group;
  return FastestSeconds([&](size_t n) {
    linear({{.a = a.data(),
             .a_stride = inputs,
             .weight = weights.data() + n % copies * bytes,
             .rows = rows,
             .cols = cols,
             .inputs = inputs,
             .c = c.data(),
             .c_stride = cols,
             .epilogue = {.bias = bias.data()}},
            scales.data(),
            kGroup});
  });
}

double TimeAttention(const Kernels& kernels, const Sizes& sizes) {
  const auto [tokens, width, unused] = sizes;
  Buffer<float> q = Random(tokens * width), k = Random(tokens * width), v = Random(tokens * width);
  Buffer<float> out(tokens * width), scratch(AttentionScratchFloats(tokens, width, width));
  return FastestSeconds([&](size_t) {
    kernels.attention({.q = q.data(),
                       .k = k.data(),
                       .v = v.data(),
                       .q_stride = width,
                       .k_stride = width,
                       .v_stride = width,
                       .queries = tokens,
                       .keys = tokens,
                       .head_width = width,
                       .value_width = width,
                       .scale = 0.125f,
                       .out = out.data(),
                       .out_stride = width,
                       .scratch = scratch.data()});
  });
}

double TimeRows(const Kernels& kernels, const Sizes& sizes, std::string_view name) {
  const auto [rows, width, unused] = sizes;
  Buffer<float> x = Random(rows * width), y(rows * width), gamma = Random(width),
                beta = Random(width);
  const size_t stride = RoundUp(width, 64);
  Buffer<int8_t> q(rows * stride);
  return FastestSeconds([&](size_t) {
    if (name == "layer_norm") {
      kernels.layer_norm({.x = x.data(),
                          .x_stride = width,
                          .rows = rows,
                          .width = width,
                          .weight = gamma.data(),
                          .bias = beta.data(),
                          .epsilon = 1e-12f,
                          .y = y.data(),
                          .y_stride = width});
    } else if (name == "gelu") {
      kernels.activation({x.data(), width, rows, width, y.data(), width}, Activation::kGelu);
    } else {
      kernels.quantize_rows({.x = x.data(),
                             .x_stride = width,
                             .rows = rows,
                             .width = width,
                             .q = q.data(),
                             .q_stride = stride,
                             .scales = gamma.data()});
    }
  });
}

struct Measured {
  double seconds = 0, flops = 0;
  MultiplyKind kind = MultiplyKind::kFloat32;
};

// Nothing for a problem that is not one of ours.
std::optional<Measured> Measure(const Kernels& kernels, const std::string& problem) {
  const size_t space = problem.find(' ');
  if (space == std::string::npos) return std::nullopt;
  const std::string name = problem.substr(0, space);
  Sizes sizes{1, 1, 1};
  size_t count = 0;
  for (const char *p = problem.data() + space, *end = problem.data() + problem.size(); p < end;) {
    if (count == sizes.size()) return std::nullopt;
    const auto [next, error] = std::from_chars(p + 1, end, sizes[count]);
    if (error != std::errc() || sizes[count++] == 0) return std::nullopt;
    if (next != end && *next != 'x') return std::nullopt;
    p = next;
  }
  const double macs = static_cast<double>(sizes[0] * sizes[1] * sizes[2]);
  if (count == 3 && (name == "linear_f32" || name == "linear_f16")) {
    return Measured{TimeLinearFloat(kernels, sizes, name == "linear_f16"), 2 * macs};
  }
  if (count == 3 && (name == "linear_i8g" || name == "linear_i4g")) {
    const DType dtype = name == "linear_i4g" ? DType::kI4Group : DType::kI8Group;
    return Measured{TimeLinearGrouped(kernels, sizes, dtype), 2 * macs};
  }
  if (count == 3 && (name == "linear_int8" || name == "relu_int8")) {
    return Measured{TimeLinearInt8(kernels, sizes, name == "relu_int8"), 2 * macs,
                    MultiplyKind::kInt8};
  }
  if (count == 2 && name == "attention") {
    return Measured{TimeAttention(kernels, sizes), 4 * macs * static_cast<double>(sizes[0])};
  }
  if (count == 2 && (name == "layer_norm" || name == "gelu" || name == "quantize")) {
    return Measured{TimeRows(kernels, sizes, name)};
  }
  return std::nullopt;
}

int Run(int argc, char** argv) {
  const Kernels* kernels = argc > 1 ? FindKernels(argv[1]) : &BestKernels();
  if (kernels == nullptr) {
    std::fprintf(stderr, "kernels_bench: %s: no such instruction set here; there are:", argv[1]);
    for (const Kernels* table : AvailableKernels()) {
      std::fprintf(stderr, " %s", std::string(table->name).c_str());
    }
    std::fprintf(stderr, "\n");
    return 2;
  }
  std::vector<std::string> problems(argv + std::min(argc, 2), argv + argc);
  if (problems.empty()) problems.assign(std::begin(kProblems), std::end(kProblems));
  double peaks[2];
  for (const MultiplyKind kind : {MultiplyKind::kFloat32, MultiplyKind::kInt8}) {
    peaks[static_cast<size_t>(kind)] = MeasureMultiplyPeak(kind, kernels->name, 1);
  }
  std::printf("%s, one thread; peak %.1f GFLOP/s in float32, %.1f GOP/s in int8\n",
              std::string(kernels->name).c_str(), peaks[0] * 1e-9, peaks[1] * 1e-9);
  for (const std::string& problem : problems) {
    const std::optional<Measured> measured = Measure(*kernels, problem);
    if (!measured) {
      std::fprintf(stderr, "kernels_bench: '%s' is not a problem; say, 'linear_f32 128x512x384'\n",
                   problem.c_str());
      return 2;
    }
    std::printf("%-26s %10.2f us", problem.c_str(), measured->seconds * 1e6);
    const double rate = measured->flops / measured->seconds;
    const double peak = peaks[static_cast<size_t>(measured->kind)];
    if (rate != 0) std::printf("  %8.1f GFLOP/s", rate * 1e-9);
    if (rate != 0 && peak != 0) std::printf("  %5.1f %%", 100 * rate / peak);
    std::printf("\n");
  }
  return 0;
}

}  // namespace
}  // namespace thimble

int main(int argc, char** argv) { return thimble::Run(argc, argv); }
