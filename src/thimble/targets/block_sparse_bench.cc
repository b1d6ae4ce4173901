// Times float32 products with block-sparse weights beside dense ones, one thread:
// block_sparse_bench [ISA]
//
// Prints, as a table of docs/compression.md, how many times as fast the block-sparse product is by the
// share of blocks that are kept. Masks are those of movement pruning: 32 x 32 blocks. Both sides take
// turns call by call, with weights from more memory than the second-level cache holds; the fastest call
// of each counts.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "thimble/graph/block_sparse.h"
#include "thimble/runtime/kernels/kernels.h"

namespace thimble {
namespace {

struct Size {
  size_t outputs, inputs;
};
constexpr Size kSizes[] = {{128, 128}, {512, 128}, {256, 1024}, {768, 3072}};
constexpr size_t kRows[] = {1, 32, 128};
constexpr double kDensities[] = {1, 0.95, 0.9, 0.8, 0.5, 0.25, 0.1, 0.05};
constexpr size_t kMaskBlock = 32;
constexpr size_t kWeightBytes = 8 << 20;  // of the dense side
constexpr double kSeconds = 0.4;          // for each number

std::vector<float> Random(size_t count) {
  std::minstd_rand bits(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  std::generate(values.begin(), values.end(), [&] { return uniform(bits); });
  return values;
}

// A weight with that share of its 32 x 32 blocks, rounded to a whole number of them, at least one.
Tensor Masked(const Size& size, double density) {
  const size_t across = size.inputs / kMaskBlock, blocks = size.outputs / kMaskBlock * across;
  std::vector<bool> kept(blocks, false);
  const auto count = static_cast<size_t>(density * static_cast<double>(blocks) + 0.5);
  std::fill_n(kept.begin(), std::max<size_t>(count, 1), true);
  std::shuffle(kept.begin(), kept.end(), std::minstd_rand(2));
  std::vector<float> values = Random(size.outputs * size.inputs);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t n = i / size.inputs, k = i % size.inputs;
    if (!kept[n / kMaskBlock * across + k / kMaskBlock]) values[i] = 0;
  }
  return Tensor::FromFloats({static_cast<int64_t>(size.outputs), static_cast<int64_t>(size.inputs)},
                            values);
}

struct Times {
  double dense = std::numeric_limits<double>::infinity(), sparse = dense;
};

Times Measure(const Kernels& kernels, const Size& size, size_t rows, double density) {
  using Clock = std::chrono::steady_clock;
  const Tensor weight = Masked(size, density);
  const size_t copies =
      std::max<size_t>(1, kWeightBytes / (size.outputs * size.inputs * sizeof(float)));
  std::vector<Tensor> dense, sparse;
  for (size_t i = 0; i < copies; ++i) {
    dense.push_back(PackPanels(weight));
    sparse.push_back(PackBlockSparse(weight));
  }
  const std::vector<float> a = Random(rows * size.inputs), bias = Random(size.outputs);
  std::vector<float> c(rows * size.outputs);
  const auto time = [&](auto linear, const Tensor& w, double& fastest) {
    const auto before = Clock::now();
    linear({.a = a.data(),
            .a_stride = size.inputs,
            .weight = w.data().data(),
            .rows = rows,
            .cols = size.outputs,
            .inputs = size.inputs,
            .c = c.data(),
            .c_stride = size.outputs,
            .epilogue = {.bias = bias.data()}});
    fastest = std::min(fastest, std::chrono::duration<double>(Clock::now() - before).count());
  };
  Times times;
  const auto start = Clock::now();
  for (size_t n = 0; std::chrono::duration<double>(Clock::now() - start).count() < kSeconds; ++n) {
    time(kernels.linear_f32, dense[n % copies], times.dense);
    time(kernels.linear_block_sparse, sparse[n % copies], times.sparse);
  }
  return times;
}

int Run(int argc, char** argv) {
  const Kernels* kernels = argc > 1 ? FindKernels(argv[1]) : &BestKernels();
  if (kernels == nullptr) {
    std::fprintf(stderr, "block_sparse_bench: %s: no such instruction set here\n", argv[1]);
    return 2;
  }
  std::printf("%s, one thread, blocks of %zu x %zu; rows x inputs x outputs\n\n",
              std::string(kernels->name).c_str(), kPanelWidth, kBlockInputs);
  std::printf("| product | dense us |");
  for (const double density : kDensities) std::printf(" %g |", density);
  std::printf("\n|---|---:|");
  for (size_t i = 0; i < std::size(kDensities); ++i) std::printf("---:|");
  std::printf("\n");
  for (const Size& size : kSizes) {
    for (const size_t rows : kRows) {
      std::string speeds;
      double dense = std::numeric_limits<double>::infinity();
      for (const double density : kDensities) {
        const Times times = Measure(*kernels, size, rows, density);
        dense = std::min(dense, times.dense);
        char text[32];
        std::snprintf(text, sizeof text, " %.2fx |", times.dense / times.sparse);
        speeds += text;
      }
      std::printf("| %zux%zux%zu | %.1f |%s\n", rows, size.inputs, size.outputs, dense * 1e6,
                  speeds.c_str());
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace thimble

int main(int argc, char** argv) { return thimble::Run(argc, argv); }
