// Layer norm, affine and column sums: kernels that add up over a row or over all rows.
//
// Gradients of weights are chains over the rows in order, taken several rows at a time so that the
// sums stay in registers meanwhile.
#if defined(THIMBLE_TRAIN_KERNELS_NORMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_TRAIN_KERNELS_NORMS_INL_H_
#undef THIMBLE_TRAIN_KERNELS_NORMS_INL_H_
#else
#define THIMBLE_TRAIN_KERNELS_NORMS_INL_H_
#endif

#include <cmath>

#include "thimble/runtime/kernels/simd-inl.h"
#include "thimble/train/kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

inline constexpr size_t kRowsAtOnce = 4;

// Calls body(first row, constant number of rows) until all rows are done.
template <class Body>
HWY_INLINE void ForEachRowBlock(size_t rows, const Body& body) {
  size_t r = 0;
  for (; r + kRowsAtOnce <= rows; r += kRowsAtOnce) {
    body(r, std::integral_constant<size_t, kRowsAtOnce>());
  }
  for (; r < rows; ++r) body(r, std::integral_constant<size_t, 1>());
}

inline void LayerNormForward(const LayerNormForwardArgs& args) noexcept {
  const float width = static_cast<float>(args.width);
  for (size_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.width;
    float* y = args.y + r * args.width;
    Floats sum = Zeros();
    ForEachLanes(args.width,
                 [&](size_t, const auto& load, const auto&) HWY_ATTR { sum = Add(sum, load(x)); });
    args.mean[r] = FoldSum(sum) / width;
    const Floats mean = Broadcast(args.mean[r]);
    Floats squares = Zeros();
    ForEachLanes(args.width, [&](size_t lanes, const auto& load, const auto&) HWY_ATTR {
      // Lanes beyond the row hold zero and must not count their distance from the mean.
      const Floats off =
          lanes == kLanes ? Sub(load(x), mean) : KeepFirst(Sub(load(x), mean), lanes, Zeros());
      squares = Fma(off, off, squares);
    });
    const float variance = FoldSum(squares) / width;
    args.inverse[r] = 1.0f / std::sqrt(variance + args.epsilon);
    const Floats scale = Broadcast(args.inverse[r]);
    ForEachLanes(args.width, [&](size_t, const auto& load, const auto& store) HWY_ATTR {
      store(Fma(Mul(Sub(load(x), mean), scale), load(args.gamma), load(args.beta)), y);
    });
  }
}

// With n the normalized row and g = d_y gamma: d_x = (g - mean(g) - n mean(g n)) inverse
inline void LayerNormBackward(const LayerNormBackwardArgs& args) noexcept {
  ForEachRowBlock(args.rows, [&](size_t first, auto rows) HWY_ATTR {
    constexpr size_t kRows = decltype(rows)::value;
    const float *x[kRows], *d_y[kRows];
    float* d_x[kRows];
    float mean_g[kRows], mean_gn[kRows];
    for (size_t r = 0; r < kRows; ++r) {
      const size_t at = (first + r) * args.width;
      x[r] = args.x + at, d_y[r] = args.d_y + at, d_x[r] = args.d_x + at;
      const Floats mean = Broadcast(args.mean[first + r]);
      Floats sum_g = Zeros(), sum_gn = Zeros();  // the second without the factor `inverse`
      ForEachLanes(args.width, [&](size_t, const auto& load, const auto&) HWY_ATTR {
        const Floats g = Mul(load(d_y[r]), load(args.gamma));  // zero beyond the row
        sum_g = Add(sum_g, g);
        sum_gn = Fma(g, Sub(load(x[r]), mean), sum_gn);
      });
      mean_g[r] = FoldSum(sum_g) / static_cast<float>(args.width);
      mean_gn[r] = FoldSum(sum_gn) * args.inverse[first + r] / static_cast<float>(args.width);
    }
    ForEachLanes(args.width, [&](size_t, const auto& load, const auto& store) HWY_ATTR {
      const Floats gamma = load(args.gamma);
      Floats d_gamma = args.d_gamma != nullptr ? load(args.d_gamma) : Zeros();
      Floats d_beta = args.d_beta != nullptr ? load(args.d_beta) : Zeros();
      THIMBLE_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        const Floats inverse = Broadcast(args.inverse[first + r]);
        const Floats n = Mul(Sub(load(x[r]), Broadcast(args.mean[first + r])), inverse);
        const Floats d = load(d_y[r]);
        d_gamma = Fma(d, n, d_gamma);
        d_beta = Add(d, d_beta);
        const Floats common = Fma(n, Broadcast(mean_gn[r]), Broadcast(mean_g[r]));
        store(Mul(Sub(Mul(d, gamma), common), inverse), d_x[r]);
      }
      if (args.d_gamma != nullptr) store(d_gamma, args.d_gamma);
      if (args.d_beta != nullptr) store(d_beta, args.d_beta);
    });
  });
}

inline void AffineForward(const float* x, const float* gamma, const float* beta, float* y,
                          size_t rows, size_t width) noexcept {
  for (size_t r = 0; r < rows; ++r) {
    ForEachLanes(width, [&](size_t, const auto& load, const auto& store) HWY_ATTR {
      store(Fma(load(x + r * width), load(gamma), load(beta)), y + r * width);
    });
  }
}

inline void AffineBackward(const AffineBackwardArgs& args) noexcept {
  ForEachRowBlock(args.rows, [&](size_t first, auto rows) HWY_ATTR {
    const size_t at = first * args.width;
    ForEachLanes(args.width, [&](size_t, const auto& load, const auto& store) HWY_ATTR {
      const Floats gamma = load(args.gamma);
      Floats d_gamma = args.d_gamma != nullptr ? load(args.d_gamma) : Zeros();
      Floats d_beta = args.d_beta != nullptr ? load(args.d_beta) : Zeros();
      THIMBLE_UNROLL
      for (size_t r = 0; r < decltype(rows)::value; ++r) {
        const size_t row = at + r * args.width;
        const Floats d = load(args.d_y + row);
        d_gamma = Fma(d, load(args.x + row), d_gamma);
        d_beta = Add(d, d_beta);
        store(Mul(d, gamma), args.d_x + row);
      }
      if (args.d_gamma != nullptr) store(d_gamma, args.d_gamma);
      if (args.d_beta != nullptr) store(d_beta, args.d_beta);
    });
  });
}

inline void AddColumnSums(const float* x, size_t rows, size_t width, float* sums) noexcept {
  ForEachRowBlock(rows, [&](size_t first, auto count) HWY_ATTR {
    ForEachLanes(width, [&](size_t, const auto& load, const auto& store) HWY_ATTR {
      Floats sum = load(sums);
      THIMBLE_UNROLL
      for (size_t r = 0; r < decltype(count)::value; ++r) {
        sum = Add(load(x + (first + r) * width), sum);
      }
      store(sum, sums);
    });
  });
}

inline void ScatterAddRows(const float* x, const int32_t* ids, size_t rows, size_t width,
                           float* table) noexcept {
  for (size_t r = 0; r < rows; ++r) {
    float* to = table + static_cast<size_t>(ids[r]) * width;
    ForEachLanes(width, [&](size_t, const auto& load, const auto& store)
                            HWY_ATTR { store(Add(load(x + r * width), load(to)), to); });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
