// SHA-256 (FIPS 180-4): says which file a model was made from.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace thimble {

class Sha256 {
 public:
  void Update(std::span<const std::byte> bytes);
  // The digest of everything so far, in hexadecimal; the object is used up.
  std::string HexDigest() &&;

 private:
  static constexpr size_t kBlockBytes = 64;

  void Compress(const std::byte* block);

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, kBlockBytes> pending_{};
  uint64_t bytes_ = 0;
};

}  // namespace thimble
