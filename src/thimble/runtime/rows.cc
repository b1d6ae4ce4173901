#include "thimble/runtime/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "thimble/base/half.h"
#include "thimble/graph/int4.h"

namespace thimble {
namespace {

void EmbedRow(const Tensor& table, size_t row, size_t width, float* y) {
  const size_t row_bytes = table.data().size() / static_cast<size_t>(table.dim(0));
  const std::byte* source = table.data().data() + row * row_bytes;
  switch (table.dtype()) {
    case DType::kF32:
      std::memcpy(y, source, width * sizeof(float));
      break;
    case DType::kF16:
      for (size_t i = 0; i < width; ++i) {
        uint16_t half;
        std::memcpy(&half, source + 2 * i, 2);
        y[i] = HalfToFloat(half);
      }
      break;
    case DType::kI8: {
      const float scale = table.scales()[row];
      const auto* q = reinterpret_cast<const int8_t*>(source);
      for (size_t i = 0; i < width; ++i) y[i] = scale * static_cast<float>(q[i]);
      break;
    }
    case DType::kI8Group:
    case DType::kI4Group: {
      const size_t groups = table.scales().size() / static_cast<size_t>(table.dim(0));
      for (size_t g = 0; g < groups; ++g) {
        const float scale = table.scales()[row * groups + g];
        const size_t end = std::min(width, (g + 1) * table.scale_group());
        for (size_t i = g * table.scale_group(); i < end; ++i) {
          const int8_t q = table.dtype() == DType::kI4Group ? LoadInt4(source, i)
                                                            : static_cast<int8_t>(source[i]);
          y[i] = scale * static_cast<float>(q);
        }
      }
      break;
    }
    default:
      THIMBLE_CHECK(false);  // the shape rule of embedding allows no other
  }
}

// The sequence that token `row` belongs to.
size_t SequenceOf(std::span<const int32_t> offsets, size_t row) {
  const auto after = std::upper_bound(offsets.begin(), offsets.end(), static_cast<int32_t>(row));
  return static_cast<size_t>(after - offsets.begin()) - 1;
}

}  // namespace

void EmbedRows(const Tensor& table, std::span<const int32_t> ids, float* y, size_t y_stride) {
  const auto width = static_cast<size_t>(table.dim(1));
  for (size_t i = 0; i < ids.size(); ++i) {
    EmbedRow(table, static_cast<size_t>(ids[i]), width, y + i * y_stride);
  }
}

void TrigramRows(const float* x, size_t x_stride, size_t width, const PackedBatch& batch,
                 size_t first, size_t rows, float* y, size_t y_stride) {
  size_t sequence = SequenceOf(batch.offsets, first);
  const size_t bytes = width * sizeof(float);
  for (size_t i = 0; i < rows; ++i) {
    const size_t row = first + i;
    while (row >= static_cast<size_t>(batch.offsets[sequence + 1])) ++sequence;
    const bool has_next = row + 1 < static_cast<size_t>(batch.offsets[sequence + 1]);
    const bool has_previous = row > static_cast<size_t>(batch.offsets[sequence]);
    float* out = y + i * y_stride;
    const auto place = [&](bool exists, size_t source, float* to) {
      if (exists) {
        std::memcpy(to, x + source * x_stride, bytes);
      } else {
        std::memset(to, 0, bytes);
      }
    };
    place(has_next, row + 1, out);
    place(true, row, out + width);
    place(has_previous, row - 1, out + 2 * width);
  }
}

void PoolFirstRows(const float* x, size_t x_stride, size_t width, const PackedBatch& batch,
                   size_t first, size_t rows, float* y, size_t y_stride) {
  for (size_t i = 0; i < rows; ++i) {
    const auto token = static_cast<size_t>(batch.offsets[first + i]);
    std::memcpy(y + i * y_stride, x + token * x_stride, width * sizeof(float));
  }
}

void PoolMeanRows(const float* x, size_t x_stride, size_t width, const PackedBatch& batch,
                  size_t first, size_t rows, float* y, size_t y_stride) {
  for (size_t i = 0; i < rows; ++i) {
    float* out = y + i * y_stride;
    std::fill(out, out + width, 0.0f);
    const auto begin = static_cast<size_t>(batch.offsets[first + i]);
    const auto end = static_cast<size_t>(batch.offsets[first + i + 1]);
    size_t counted = 0;
    for (size_t token = begin; token < end; ++token) {
      if (!batch.mask.empty() && batch.mask[token] == 0) continue;
      ++counted;
      for (size_t c = 0; c < width; ++c) out[c] += x[token * x_stride + c];
    }
    if (counted == 0) continue;
    for (size_t c = 0; c < width; ++c) out[c] /= static_cast<float>(counted);
  }
}

void L2NormalizeRows(const float* x, size_t x_stride, size_t width, size_t rows, float* y,
                     size_t y_stride) {
  for (size_t i = 0; i < rows; ++i) {
    const float* in = x + i * x_stride;
    float* out = y + i * y_stride;
    double sum = 0;
    for (size_t c = 0; c < width; ++c) {
      const double square = static_cast<double>(in[c]) * in[c];  // exact in double
      sum += square;
    }
    const double norm = std::sqrt(sum);
    for (size_t c = 0; c < width; ++c) {
      out[c] = norm > 0 ? static_cast<float>(in[c] / norm) : 0.0f;
    }
  }
}

}  // namespace thimble
