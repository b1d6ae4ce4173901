// What reader and writer of .thimble files agree on beside the schema.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "thimble/graph/panels.h"
#include "thimble/graph/tensor.h"

namespace thimble {

static_assert(std::endian::native == std::endian::little, ".thimble files are used in place");

inline constexpr uint16_t kThimbleMajor = 1;
inline constexpr uint16_t kThimbleMinor = 2;

inline constexpr size_t kDataAlignment = kPanelAlignment;
inline constexpr size_t kMaxTensorRank = 8;

// The dtype of a tensor that lies in the file of the base.
inline constexpr std::string_view kBaseDType = "base";

// Where the data begins behind metadata of that size (its length prefix counted).
constexpr size_t DataBegin(size_t metadata_bytes) {
  return RoundUp(metadata_bytes + sizeof(uint32_t), kDataAlignment);
}

// Bytes that a tensor occupies, or nothing if there can be no such tensor; not of kBlockSparse, whose
// own lists say it (graph/block_sparse.h).
inline std::optional<size_t> StorageBytes(DType dtype, const Shape& shape, Layout layout) {
  // Far beyond any file that can be mapped, and small enough that rounding up cannot overflow.
  constexpr int64_t kMaxDimension = int64_t{1} << (sizeof(size_t) > 4 ? 48 : 31);
  if (shape.size() > kMaxTensorRank) return std::nullopt;
  if (std::any_of(shape.begin(), shape.end(), [](int64_t d) { return d > kMaxDimension; })) {
    return std::nullopt;
  }
  Shape stored = shape;
  if (layout == Layout::kPanels) {
    if (shape.size() != 2 || !FitsPanels(dtype) || shape[0] < 0 || shape[1] < 0) {
      return std::nullopt;
    }
    stored = {static_cast<int64_t>(RoundUp(static_cast<size_t>(shape[0]), kPanelWidth)),
              static_cast<int64_t>(RoundUp(static_cast<size_t>(shape[1]), InputGroup(dtype)))};
  }
  return RowMajorBytes(dtype, stored);
}

}  // namespace thimble
