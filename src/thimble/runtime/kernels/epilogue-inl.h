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

// Where sums come from, and what makes them products: a source gives, for 16 columns, a function
// from the row in the tile to its product plus bias. Lanes beyond the output's width may hold
// anything.
struct FloatSums {
  const float* sums;  // [place.rows][stride]
  size_t stride;

  template <class LoadColumns>
  HWY_INLINE auto At(const TilePlace& place, size_t col, const float* bias,
                     const LoadColumns& load) const {
    const bool biased = bias != nullptr;
    const Floats biases = biased ? load(bias + col) : Zeros();
    const float* column = sums + (col - place.col);
    return [column, stride = stride, biased, biases](size_t r) HWY_ATTR {
      const Floats z = Load(column + r * stride);
      return biased ? Add(z, biases) : z;
    };
  }
};

// The first `cols` <= 16 columns from `col` on, all of them where kWhole.
template <bool kWhole, bool kResidual, bool kAffine, class Sums>
HWY_INLINE void FinishColumns(const Sums& sums, const Epilogue& epilogue, const TilePlace& place,
                              size_t col, size_t cols, float* c, size_t c_stride) {
  const auto load = [cols](const float* p)
                        HWY_ATTR { return kWhole ? Load(p) : LoadFirst(p, cols); };
  const auto product = sums.At(place, col, epilogue.bias, load);
  const Floats gamma = kAffine ? load(epilogue.gamma + col) : Zeros();
  const Floats beta = kAffine ? load(epilogue.beta + col) : Zeros();
  const bool relu = epilogue.activation == Activation::kRelu;
  const float* residual = kResidual ? epilogue.residual + col : nullptr;
  for (size_t r = 0; r < place.rows; ++r) {
    Floats z = product(r);
    if constexpr (kResidual) {
      z = Add(z, load(residual + (place.row + r) * epilogue.residual_stride));
    }
    if constexpr (kAffine) z = Fma(z, gamma, beta);
    if (relu) z = Relu(z);
    float* to = c + (place.row + r) * c_stride + col;
    kWhole ? Store(z, to) : StoreFirst(z, to, cols);
  }
}

template <bool kResidual, bool kAffine, class Sums>
void FinishTileWith(const Sums& sums, const Epilogue& epilogue, const TilePlace& place, float* c,
                    size_t c_stride) {
  const size_t end = place.col + place.cols;
  size_t col = place.col;
  for (; col + kLanes <= end; col += kLanes) {
    FinishColumns<true, kResidual, kAffine>(sums, epilogue, place, col, kLanes, c, c_stride);
  }
  if (col < end) {
    FinishColumns<false, kResidual, kAffine>(sums, epilogue, place, col, end - col, c, c_stride);
  }
}

// c[place] = epilogue(sums).
template <class Sums>
void FinishTile(const Sums& sums, const Epilogue& epilogue, const TilePlace& place, float* c,
                size_t c_stride) {
  using Finish = void (*)(const Sums&, const Epilogue&, const TilePlace&, float*, size_t);
  static constexpr Finish kFinish[2][2] = {
      {FinishTileWith<false, false, Sums>, FinishTileWith<false, true, Sums>},
      {FinishTileWith<true, false, Sums>, FinishTileWith<true, true, Sums>}};
  kFinish[epilogue.residual != nullptr][epilogue.gamma != nullptr](sums, epilogue, place, c,
                                                                   c_stride);
  // The others cost enough that a second pass over a tile in the first-level cache does not.
  if (epilogue.activation != Activation::kIdentity && epilogue.activation != Activation::kRelu) {
    float* tile = c + place.row * c_stride + place.col;
    ActivateRows({tile, c_stride, place.rows, place.cols, tile, c_stride}, epilogue.activation);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
