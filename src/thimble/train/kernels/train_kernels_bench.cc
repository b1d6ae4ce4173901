// Times the kernels of training: train_kernels_bench [ISA] [PROBLEM...]
//
// A problem is a string: `gelu 2048x512` (rows x width), or for attention tokens per sequence x
// width x heads, e.g. `attention_forward 10x256x4`, over as many sequences as make 2048 tokens.
// Prints the fastest of many calls, one thread, with what it moves through memory or multiplies.
#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "thimble/train/kernels/kernels.h"

namespace thimble {
namespace {

constexpr const char* kProblems[] = {
    "attention_forward 10x128x4",
    "attention_backward 10x128x4",
    "attention_forward 10x512x8",
    "attention_backward 10x512x8",
    "attention_forward 20x256x4",
    "attention_backward 20x256x4",
    "attention_forward 64x256x4",
    "attention_backward 64x256x4",
    "attention_forward 128x256x4",
    "attention_backward 128x256x4",
    "attention_forward 128x384x12",
    "attention_backward 128x384x12",
    "attention_forward 512x256x4",
    "attention_backward 512x256x4",
    "dropout 2048x128",
    "dropout 2048x512",
    "dropout_residual 2048x256",
    "layer_norm_forward 2048x128",
    "layer_norm_forward 2048x256",
    "layer_norm_backward 2048x128",
    "layer_norm_backward 2048x256",
    "affine_forward 2048x128",
    "affine_backward 2048x128",
    "gelu_forward 2048x512",
    "gelu_backward 2048x512",
    "relu_backward 2048x512",
    "column_sums 2048x256",
    "scatter_add 2048x128",
    "adamw 4096x1024",
    "adamw 16x1024",
    "add_scaled 4096x1024",
    "sum_of_squares 4096x1024",
};
constexpr size_t kTokens = 2048;
constexpr double kSecondsPerProblem = 0.2;

std::vector<float> Random(size_t size) {
  std::vector<float> values(size);
  std::minstd_rand bits(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::generate(values.begin(), values.end(), [&] { return uniform(bits); });
  return values;
}

// Of this thread: what others do meanwhile on a shared machine does not count.
double ProcessorSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

template <class Call>
double FastestSeconds(const Call& call) {
  double fastest = 1e9;
  const double start = ProcessorSeconds();
  for (double now = start; now - start < kSecondsPerProblem;) {
    const double before = ProcessorSeconds();
    call();
    now = ProcessorSeconds();
    fastest = std::min(fastest, now - before);
  }
  return fastest;
}

struct Measured {
  double seconds = 0;
  double bytes = 0, flops = 0;  // one of them
  double elements = 0;
};

using Sizes = std::array<size_t, 3>;

Measured MeasureAttention(const TrainKernels& kernels, const Sizes& sizes, bool backward) {
  const auto [length, width, heads] = sizes;
  const size_t sequences = std::max<size_t>(kTokens / length, 1), tokens = sequences * length;
  std::vector<int32_t> offsets;
  for (size_t s = 0; s <= sequences; ++s) offsets.push_back(static_cast<int32_t>(s * length));
  std::vector<uint32_t> keys(tokens);
  for (size_t r = 0; r < tokens; ++r) keys[r] = MixKeys(1, static_cast<uint32_t>(r));
  const std::vector<float> q = Random(tokens * width), k = q, v = q, d_out = q;
  std::vector<float> out(tokens * width), d_q(tokens * width), d_k = d_q, d_v = d_q;
  const AttentionShape shape{.offsets = offsets,
                             .heads = heads,
                             .head_width = width / heads,
                             .value_width = width / heads,
                             .q_stride = width,
                             .k_stride = width,
                             .v_stride = width,
                             .out_stride = width,
                             .scale = 0.2f,
                             .dropout = 0.1f,
                             .row_keys = keys.data()};
  std::vector<float> kept(AttentionKeptFloats(shape));
  const AttentionForwardArgs forward{.shape = shape,
                                     .q = q.data(),
                                     .k = k.data(),
                                     .v = v.data(),
                                     .kept = kept.data(),
                                     .out = out.data()};
  kernels.attention_forward(forward);
  const AttentionBackwardArgs args{.shape = shape,
                                   .q = q.data(),
                                   .k = k.data(),
                                   .v = v.data(),
                                   .kept = kept.data(),
                                   .d_out = d_out.data(),
                                   .d_q = d_q.data(),
                                   .d_k = d_k.data(),
                                   .d_v = d_v.data()};
  const double seconds = FastestSeconds(
      [&] { backward ? kernels.attention_backward(args) : kernels.attention_forward(forward); });
  const double products = backward ? 4 : 2;
  return {.seconds = seconds,
          .flops = 2 * products * static_cast<double>(tokens * length * width),
          .elements = static_cast<double>(tokens * width)};
}

// Nothing for a name that is not one of ours.
std::optional<Measured> MeasureRows(const TrainKernels& kernels, const Sizes& sizes,
                                    std::string_view name) {
  const auto [rows, width, unused] = sizes;
  const size_t count = rows * width;
  std::vector<float> x = Random(count), y(count), z = x, first(count), second(count);
  std::vector<float> gamma = Random(width), beta = gamma, mean(rows), inverse(rows, 1.0f);
  std::vector<uint32_t> keys(rows);
  std::vector<int32_t> ids(rows);
  for (size_t r = 0; r < rows; ++r) {
    keys[r] = MixKeys(1, static_cast<uint32_t>(r));
    ids[r] = static_cast<int32_t>(r * 7919 % rows);
  }
  double streams = 0;  // times all elements are read or written
  double sum = 0;
  const auto time = [&](double through_memory, const auto& call) {
    streams = through_memory;
    return FastestSeconds(call);
  };
  double seconds = 0;
  const auto dropout = [&](const float* residual) {
    kernels.dropout({.x = x.data(),
                     .residual = residual,
                     .y = y.data(),
                     .rows = rows,
                     .width = width,
                     .row_keys = keys.data(),
                     .probability = 0.1f});
  };
  const auto backward = [&](Activation function) {
    kernels.activation_backward(function, x.data(), z.data(), y.data(), count);
  };
  if (name == "dropout") {
    seconds = time(2, [&] { dropout(nullptr); });
  } else if (name == "dropout_residual") {
    seconds = time(3, [&] { dropout(z.data()); });
  } else if (name == "layer_norm_forward") {
    seconds = time(2, [&] {
      kernels.layer_norm_forward({.x = x.data(),
                                  .gamma = gamma.data(),
                                  .beta = beta.data(),
                                  .y = y.data(),
                                  .mean = mean.data(),
                                  .inverse = inverse.data(),
                                  .rows = rows,
                                  .width = width,
                                  .epsilon = 1e-12f});
    });
  } else if (name == "layer_norm_backward") {
    seconds = time(3, [&] {
      kernels.layer_norm_backward({.x = x.data(),
                                   .gamma = gamma.data(),
                                   .mean = mean.data(),
                                   .inverse = inverse.data(),
                                   .d_y = z.data(),
                                   .d_x = y.data(),
                                   .d_gamma = first.data(),
                                   .d_beta = second.data(),
                                   .rows = rows,
                                   .width = width});
    });
  } else if (name == "affine_forward") {
    seconds = time(2, [&] {
      kernels.affine_forward(x.data(), gamma.data(), beta.data(), y.data(), rows, width);
    });
  } else if (name == "affine_backward") {
    seconds = time(3, [&] {
      kernels.affine_backward({.x = x.data(),
                               .gamma = gamma.data(),
                               .d_y = z.data(),
                               .d_x = y.data(),
                               .d_gamma = first.data(),
                               .d_beta = second.data(),
                               .rows = rows,
                               .width = width});
    });
  } else if (name == "gelu_forward") {
    seconds =
        time(2, [&] { kernels.activation_forward(Activation::kGelu, x.data(), y.data(), count); });
  } else if (name == "gelu_backward") {
    seconds = time(3, [&] { backward(Activation::kGelu); });
  } else if (name == "relu_backward") {
    seconds = time(3, [&] { backward(Activation::kRelu); });
  } else if (name == "column_sums") {
    seconds = time(1, [&] { kernels.add_column_sums(x.data(), rows, width, first.data()); });
  } else if (name == "scatter_add") {
    seconds =
        time(3, [&] { kernels.scatter_add_rows(x.data(), ids.data(), rows, width, y.data()); });
  } else if (name == "adamw") {
    seconds = time(7, [&] {
      kernels.adamw({.weights = x.data(),
                     .first = first.data(),
                     .second = second.data(),
                     .gradients = z.data(),
                     .count = count,
                     .rate = 1e-6f,
                     .decay = 0.01f});
    });
  } else if (name == "add_scaled") {
    seconds = time(3, [&] { kernels.add_scaled(x.data(), 1e-6f, y.data(), count); });
  } else if (name == "sum_of_squares") {
    seconds = time(1, [&] { sum += kernels.sum_of_squares(x.data(), count); });
  } else {
    return std::nullopt;
  }
  const auto elements = static_cast<double>(count);
  return Measured{
      .seconds = seconds, .bytes = streams * elements * sizeof(float), .elements = elements};
}

// Nothing for a problem that is not one of ours.
std::optional<Measured> Measure(const TrainKernels& kernels, const std::string& problem) {
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
  if (name == "attention_forward" || name == "attention_backward") {
    if (count != 3 || sizes[1] % sizes[2] != 0) return std::nullopt;
    return MeasureAttention(kernels, sizes, name == "attention_backward");
  }
  return count == 2 ? MeasureRows(kernels, sizes, name) : std::nullopt;
}

int Run(int argc, char** argv) {
  const TrainKernels* kernels = argc > 1 ? FindTrainKernels(argv[1]) : &BestTrainKernels();
  if (kernels == nullptr) {
    std::fprintf(stderr,
                 "train_kernels_bench: %s: no such instruction set here; there are:", argv[1]);
    for (const TrainKernels* table : AvailableTrainKernels()) {
      std::fprintf(stderr, " %s", std::string(table->name).c_str());
    }
    std::fprintf(stderr, "\n");
    return 2;
  }
  std::vector<std::string> problems(argv + std::min(argc, 2), argv + argc);
  if (problems.empty()) problems.assign(std::begin(kProblems), std::end(kProblems));
  std::printf("%s, one thread\n", std::string(kernels->name).c_str());
  for (const std::string& problem : problems) {
    const std::optional<Measured> measured = Measure(*kernels, problem);
    if (!measured) {
      std::fprintf(stderr,
                   "train_kernels_bench: '%s' is not a problem; say, 'gelu_forward 2048x512'\n",
                   problem.c_str());
      return 2;
    }
    std::printf("%-32s %10.2f us  %7.3f ns/element", problem.c_str(), measured->seconds * 1e6,
                measured->seconds * 1e9 / measured->elements);
    if (measured->flops != 0)
      std::printf("  %7.1f GFLOP/s", measured->flops / measured->seconds * 1e-9);
    if (measured->bytes != 0)
      std::printf("  %7.1f GB/s", measured->bytes / measured->seconds * 1e-9);
    std::printf("\n");
  }
  return 0;
}

}  // namespace
}  // namespace thimble

int main(int argc, char** argv) { return thimble::Run(argc, argv); }
