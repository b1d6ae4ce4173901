#include "thimble/formats/thimble/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

namespace thimble {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kPolynomial = 0x82F63B78;  // bit-reversed
constexpr size_t kSlices = 8;

// tables[s][b]: the effect of byte b when s more bytes follow it in the same step.
using Tables = std::array<std::array<uint32_t, 256>, kSlices>;

Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t slice = 1; slice < kSlices; ++slice) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t crc = tables[slice - 1][byte];
      tables[slice][byte] = (crc >> 8) ^ tables[0][crc & 0xFF];
    }
  }
  return tables;
}

}  // namespace

uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t before) {
  // 8 KiB, which need not lie in the program.
  static const Tables tables = MakeTables();
  uint32_t crc = ~before;
  const std::byte* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= kSlices; left -= kSlices, p += kSlices) {
    uint64_t word;
    std::memcpy(&word, p, sizeof(word));
    word ^= crc;
    crc = 0;
    for (size_t i = 0; i < kSlices; ++i) crc ^= tables[kSlices - 1 - i][(word >> (8 * i)) & 0xFF];
  }
  for (; left > 0; --left, ++p) {
    crc = (crc >> 8) ^ tables[0][(crc ^ std::to_integer<uint32_t>(*p)) & 0xFF];
  }
  return ~crc;
}

}  // namespace thimble
