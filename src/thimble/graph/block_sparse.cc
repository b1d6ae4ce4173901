#include "thimble/graph/block_sparse.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace thimble {
namespace {

size_t BlocksOf(size_t inputs) { return RoundUp(inputs, kBlockInputs) / kBlockInputs; }

BlockSparse ViewOf(const Tensor& weight) {
  THIMBLE_CHECK(weight.layout() == Layout::kBlockSparse);
  return ViewBlockSparse(weight.data().data(), static_cast<size_t>(weight.dim(0)));
}

// Calls visit(panel, block, its values) for everything that is stored.
template <class Visit>
void ForEachBlock(const BlockSparse& stored, const Visit& visit) {
  for (size_t panel = 0; panel + 1 < stored.begins.size(); ++panel) {
    for (size_t i = stored.begins[panel]; i < stored.begins[panel + 1]; ++i) {
      visit(panel, size_t{stored.indices[i]}, stored.values + i * kBlockFloats);
    }
  }
}

}  // namespace

Status CheckBlockSparse(size_t outputs, size_t inputs, std::span<const std::byte> data) {
  const bool rounds = outputs <= SIZE_MAX - kPanelWidth;
  if (!rounds || (inputs != 0 && outputs > kMaxBlockSparseElements / inputs)) {
    return InvalidData("it has more than " + std::to_string(kMaxBlockSparseElements) + " elements");
  }
  const size_t panels = RoundUp(outputs, kPanelWidth) / kPanelWidth;
  if (data.size() / sizeof(uint32_t) <= panels) {
    return InvalidData("its " + std::to_string(data.size()) +
                       " bytes are too few for its list of panels");
  }
  const auto* begins = reinterpret_cast<const uint32_t*>(data.data());
  const auto falls = [](uint32_t a, uint32_t b) { return a > b; };
  if (begins[0] != 0 ||
      std::adjacent_find(begins, begins + panels + 1, falls) != begins + panels + 1) {
    return InvalidData("its panels do not follow each other");
  }
  const size_t blocks = begins[panels];
  constexpr size_t kBlockBytes = kBlockFloats * sizeof(float);
  if (blocks > data.size() / kBlockBytes || data.size() != BlockSparseBytes(outputs, blocks)) {
    return InvalidData("it has " + std::to_string(data.size()) + " bytes, its " +
                       std::to_string(blocks) + " blocks need " +
                       std::to_string(uint64_t{blocks} * kBlockBytes) + " beside their lists");
  }
  const BlockSparse stored = ViewBlockSparse(data.data(), outputs);
  for (size_t panel = 0; panel < panels; ++panel) {
    size_t least = 0;
    for (size_t i = begins[panel]; i < begins[panel + 1]; ++i) {
      if (stored.indices[i] < least || stored.indices[i] >= BlocksOf(inputs)) {
        return InvalidData("block " + std::to_string(i) + " is number " +
                           std::to_string(stored.indices[i]) + " of its panel, which has " +
                           std::to_string(BlocksOf(inputs)) + ", each once and in order");
      }
      least = size_t{stored.indices[i]} + 1;
    }
  }
  return {};
}

Tensor PackBlockSparse(const Tensor& weight) {
  THIMBLE_CHECK(weight.rank() == 2 && weight.layout() == Layout::kRowMajor);
  THIMBLE_CHECK(weight.elements() <= kMaxBlockSparseElements);
  const std::vector<float> values = weight.ToFloats();
  const auto outputs = static_cast<size_t>(weight.dim(0));
  const auto inputs = static_cast<size_t>(weight.dim(1));
  std::vector<uint32_t> begins{0}, indices;
  std::vector<float> stored;
  for (size_t row = 0; row < outputs; row += kPanelWidth) {
    for (size_t block = 0; block < BlocksOf(inputs); ++block) {
      float tile[kBlockFloats] = {};
      const size_t first = block * kBlockInputs;
      for (size_t n = row; n < std::min(row + kPanelWidth, outputs); ++n) {
        for (size_t k = first; k < std::min(first + kBlockInputs, inputs); ++k) {
          tile[(k - first) * kPanelWidth + n - row] = values[n * inputs + k];
        }
      }
      if (std::all_of(tile, tile + kBlockFloats, [](float v) { return v == 0; })) continue;
      indices.push_back(static_cast<uint32_t>(block));
      stored.insert(stored.end(), tile, tile + kBlockFloats);
    }
    begins.push_back(static_cast<uint32_t>(indices.size()));
  }
  const size_t size = BlockSparseBytes(outputs, indices.size());
  std::shared_ptr<std::byte> packed = AllocatePanels(size);
  const auto copy = [&](size_t to, const auto& from) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span(from));
    std::copy(bytes.begin(), bytes.end(), packed.get() + to);
  };
  copy(0, begins);
  copy(begins.size() * sizeof(uint32_t), indices);
  copy(BlockSparseIndexBytes(outputs, indices.size()), stored);
  const std::span<const std::byte> view{packed.get(), size};
  return Tensor::View(DType::kF32, weight.shape(), view, std::move(packed), Layout::kBlockSparse);
}

Tensor UnpackBlockSparse(const Tensor& weight) {
  const auto outputs = static_cast<size_t>(weight.dim(0));
  const auto inputs = static_cast<size_t>(weight.dim(1));
  std::vector<float> values(outputs * inputs);
  ForEachBlock(ViewOf(weight), [&](size_t panel, size_t block, const float* tile) {
    const size_t row = panel * kPanelWidth, first = block * kBlockInputs;
    for (size_t n = row; n < std::min(row + kPanelWidth, outputs); ++n) {
      for (size_t k = first; k < std::min(first + kBlockInputs, inputs); ++k) {
        values[n * inputs + k] = tile[(k - first) * kPanelWidth + n - row];
      }
    }
  });
  return Tensor::FromFloats(weight.shape(), values);
}

double BlockDensity(const Tensor& weight) {
  const BlockSparse stored = ViewOf(weight);
  const size_t all = (stored.begins.size() - 1) * BlocksOf(static_cast<size_t>(weight.dim(1)));
  return all == 0 ? 0 : static_cast<double>(stored.indices.size()) / static_cast<double>(all);
}

double ProductsPerRow(const Tensor& weight) {
  const auto elements = static_cast<double>(weight.elements());
  return weight.layout() == Layout::kBlockSparse ? BlockDensity(weight) * elements : elements;
}

}  // namespace thimble
