// CRC-32C (Castagnoli), the checksum of .thimble files: finds every burst of up to 32 flipped bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace thimble {

// Of `bytes`, continuing from the checksum of what came before.
uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t before = 0);

}  // namespace thimble
