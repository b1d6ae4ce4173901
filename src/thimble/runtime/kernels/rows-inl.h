// Kernels that go through a matrix row by row: activation, affine, add, layer norm.
#if defined(THIMBLE_RUNTIME_KERNELS_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_ROWS_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_ROWS_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_ROWS_INL_H_
#endif

#include "thimble/runtime/kernels/kernels.h"
#include "thimble/runtime/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

template <class Function>
HWY_INLINE void MapRows(const RowsArgs& args, const Function& function) {
  for (size_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.x_stride;
    float* y = args.y + r * args.y_stride;
    ForEachLanes(args.width, [&](size_t, const auto& load, const auto& store)
                                 HWY_ATTR { store(function(load(x)), y); });
  }
}

// Comparisons are written so that NaN passes through.
HWY_INLINE Floats Relu(const Floats& x) { return SelectLess(x, Zeros(), Zeros(), x); }
HWY_INLINE Floats ClampTo(const Floats& x, float low, float high) {
  const Floats l = Broadcast(low), h = Broadcast(high);
  return SelectLess(x, l, l, SelectLess(h, x, h, x));
}

inline void ActivateRows(const RowsArgs& args, Activation function) noexcept {
  switch (function) {
    case Activation::kIdentity:
      return MapRows(args, [](const Floats& x) HWY_ATTR { return x; });
    case Activation::kRelu:
      return MapRows(args, [](const Floats& x) HWY_ATTR { return Relu(x); });
    case Activation::kRelu6:
      return MapRows(args, [](const Floats& x) HWY_ATTR { return ClampTo(x, 0.0f, 6.0f); });
    case Activation::kRelu2:
      return MapRows(args, [](const Floats& x) HWY_ATTR { return Mul(Relu(x), Relu(x)); });
    case Activation::kGelu:
      return MapRows(args, [](const Floats& x) HWY_ATTR { return Gelu(x); });
    case Activation::kGeluTanh:
      return MapRows(args, [](const Floats& x) HWY_ATTR { return GeluTanh(x); });
    case Activation::kQuickGelu:
      return MapRows(args, [](const Floats& x)
                               HWY_ATTR { return Mul(x, Sigmoid(Mul(x, Broadcast(1.702f)))); });
    case Activation::kGelu10:
      return MapRows(args,
                     [](const Floats& x) HWY_ATTR { return ClampTo(Gelu(x), -10.0f, 10.0f); });
    case Activation::kLeakyRelu:
      return MapRows(args, [](const Floats& x) HWY_ATTR {
        return SelectLess(x, Zeros(), Mul(x, Broadcast(0.01f)), x);
      });
    case Activation::kSilu:
      return MapRows(args, [](const Floats& x) HWY_ATTR { return Mul(x, Sigmoid(x)); });
    case Activation::kMish:
      return MapRows(args, [](const Floats& x) HWY_ATTR { return Mish(x); });
    case Activation::kSigmoid:
      return MapRows(args, [](const Floats& x) HWY_ATTR { return Sigmoid(x); });
    case Activation::kTanh:
      return MapRows(args, [](const Floats& x) HWY_ATTR { return Tanh(x); });
  }
}

inline void AffineRows(const RowsArgs& args, const float* gamma, const float* beta) noexcept {
  for (size_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.x_stride;
    float* y = args.y + r * args.y_stride;
    ForEachLanes(args.width, [&](size_t, const auto& load, const auto& store)
                                 HWY_ATTR { store(Fma(load(x), load(gamma), load(beta)), y); });
  }
}

inline void AddRows(const RowsArgs& args, const float* other, size_t other_stride) noexcept {
  for (size_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.x_stride;
    const float* o = other + r * other_stride;
    float* y = args.y + r * args.y_stride;
    ForEachLanes(args.width, [&](size_t, const auto& load, const auto& store)
                                 HWY_ATTR { store(Add(load(x), load(o)), y); });
  }
}

inline void LayerNormRows(const LayerNormArgs& args) noexcept {
  const float width = static_cast<float>(args.width);
  for (size_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.x_stride;
    float* y = args.y + r * args.y_stride;
    Floats sum = Zeros();
    ForEachLanes(args.width,
                 [&](size_t, const auto& load, const auto&) HWY_ATTR { sum = Add(sum, load(x)); });
    const Floats mean = Broadcast(FoldSum(sum) / width);
    Floats squares = Zeros();
    ForEachLanes(args.width, [&](size_t lanes, const auto& load, const auto&) HWY_ATTR {
      // Lanes beyond the row hold zero and must not count their distance from the mean.
      const Floats off =
          lanes == kLanes ? Sub(load(x), mean) : KeepFirst(Sub(load(x), mean), lanes, Zeros());
      squares = Fma(off, off, squares);
    });
    const float variance = FoldSum(squares) / width;
    const Floats scale = Broadcast(1.0f / std::sqrt(variance + args.epsilon));
    ForEachLanes(args.width, [&](size_t, const auto& load, const auto& store) HWY_ATTR {
      store(Fma(Mul(Sub(load(x), mean), scale), load(args.weight), load(args.bias)), y);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
