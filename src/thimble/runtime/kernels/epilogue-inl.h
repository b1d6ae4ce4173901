// What happens to a tile of sums before it is stored: the same code behind float and int8 products.
#if defined(THIMBLE_RUNTIME_KERNELS_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_EPILOGUE_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_EPILOGUE_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_EPILOGUE_INL_H_
#endif

#include "thimble/runtime/kernels/kernels.h"
#include "thimble/runtime/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

// Where a tile lies in the output.
struct TilePlace {
  size_t row, col, rows, cols;
};

// c[place] = epilogue(sums), sums [place.rows][sums_stride].
inline void FinishTile(const float* sums, size_t sums_stride, const Epilogue& epilogue,
                       const TilePlace& place, float* c, size_t c_stride) {
  const float* bias = epilogue.bias != nullptr ? epilogue.bias + place.col : nullptr;
  const float* gamma = epilogue.gamma != nullptr ? epilogue.gamma + place.col : nullptr;
  const float* beta = epilogue.gamma != nullptr ? epilogue.beta + place.col : nullptr;
  const bool relu = epilogue.activation == Activation::kRelu;
  float* out = c + place.row * c_stride + place.col;
  for (size_t r = 0; r < place.rows; ++r) {
    const float* residual =
        epilogue.residual != nullptr
            ? epilogue.residual + (place.row + r) * epilogue.residual_stride + place.col
            : nullptr;
    ForEachLanes(place.cols, [&](size_t, const auto& load, const auto& store) HWY_ATTR {
      Floats z = load(sums + r * sums_stride);
      if (bias != nullptr) z = Add(z, load(bias));
      if (residual != nullptr) z = Add(z, load(residual));
      if (gamma != nullptr) z = Fma(z, load(gamma), load(beta));
      if (relu) z = Relu(z);
      store(z, out + r * c_stride);
    });
  }
  // The others cost enough that a second pass over a tile in the first-level cache does not.
  if (!relu && epilogue.activation != Activation::kIdentity) {
    ActivateRows({out, c_stride, place.rows, place.cols, out, c_stride}, epilogue.activation);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
