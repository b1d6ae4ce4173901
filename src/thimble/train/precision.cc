#include "thimble/train/precision.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "thimble/base/clock.h"

namespace thimble::train {
namespace {

constexpr int kRounds = 3;

// A GPU returns before it has computed; reading a value waits for it.
double SecondsOfProducts(const at::Tensor& x, const at::Tensor& weight, at::ScalarType type) {
  const auto begin = Clock::now();
  const at::Tensor a = x.to(type), w = weight.to(type);
  const at::Tensor y = at::mm(a, w.t());
  const at::Tensor d_w = at::mm(y.t(), a).to(at::kFloat);
  const at::Tensor d_x = at::mm(y, w).to(at::kFloat);
  (d_w[0][0] + d_x[0][0]).item<float>();
  return SecondsSince(begin);
}

}  // namespace

Result<PrecisionTimes> MeasurePrecisions(const Graph& graph, at::Device device, int64_t rows) {
  std::map<std::pair<int64_t, int64_t>, int> shapes;  // {outputs, inputs}: how often
  for (const Node& node : graph.nodes) {
    if (node.op != OpKind::kLinear) continue;
    const Tensor& weight = node.weights[0].tensor;
    ++shapes[{weight.dim(0), weight.dim(1)}];
  }
  PrecisionTimes times;
  try {
    const c10::AutoGradMode mode(false);
    for (const auto& [shape, count] : shapes) {
      const auto options = at::TensorOptions().device(device);
      const at::Tensor x = at::ones({rows, shape.second}, options);
      const at::Tensor weight = at::ones({shape.first, shape.second}, options);
      double float32 = 1e30, bfloat16 = 1e30;
      for (int round = 0; round < kRounds; ++round) {
        float32 = std::min(float32, SecondsOfProducts(x, weight, at::kFloat));
        bfloat16 = std::min(bfloat16, SecondsOfProducts(x, weight, at::kBFloat16));
      }
      times.float32 += count * float32;
      times.bfloat16 += count * bfloat16;
    }
  } catch (const c10::Error& error) {
    return ResourceExhausted("libtorch: " + std::string(error.what_without_backtrace()));
  }
  return times;
}

}  // namespace thimble::train
