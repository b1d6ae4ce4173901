// Products of float rows with block-sparse weights: the tiles of gemm_float-inl.h, of one panel each,
// go over the inputs of the blocks that are stored. A sum leaves out only terms that are zero, so it
// has the bits of the dense product as long as inputs are finite (an infinity times a zero is NaN
// there and nothing here), but for the sign of a zero that underflowed.
#if defined(THIMBLE_RUNTIME_KERNELS_GEMM_BLOCK_SPARSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THIMBLE_RUNTIME_KERNELS_GEMM_BLOCK_SPARSE_INL_H_
#undef THIMBLE_RUNTIME_KERNELS_GEMM_BLOCK_SPARSE_INL_H_
#else
#define THIMBLE_RUNTIME_KERNELS_GEMM_BLOCK_SPARSE_INL_H_
#endif

#include <algorithm>

#include "thimble/graph/block_sparse.h"
#include "thimble/runtime/kernels/gemm_float-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thimble {
namespace HWY_NAMESPACE {

// The blocks of one panel. Panels keep different inputs, so a tile has one.
struct KeptInputs {
  static constexpr size_t kMaxPanels = 1;

  const uint32_t* indices;
  size_t blocks, inputs;
  size_t weights() const { return blocks * kBlockInputs; }
  size_t stretches() const { return blocks; }
  Stretch stretch(size_t i) const {
    const size_t first = indices[i] * kBlockInputs;
    return {first, std::min(kBlockInputs, inputs - first)};  // rows of `a` end with their inputs
  }
};

inline void LinearBlockSparse(const LinearArgs& args) noexcept {
  const BlockSparse weight = ViewBlockSparse(args.weight, args.cols);
  LinearTiles(args, KeptInputs::kMaxPanels,
              [&](const TilePosition& at, const float* a, float* sums, size_t width) HWY_ATTR {
                const size_t begin = weight.begins[at.panel];
                const KeptInputs kept{weight.indices.data() + begin,
                                      weight.begins[at.panel + 1] - begin, args.inputs};
                MultiplyAt(at, a, args.a_stride, kept, weight.values + begin * kBlockFloats, sums,
                           width);
              });
}

}  // namespace HWY_NAMESPACE
}  // namespace thimble
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
