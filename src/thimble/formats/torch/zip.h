// Zip archives whose members are stored without compression, as torch.save writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "thimble/base/result.h"

namespace thimble {

struct ZipMember {
  std::span<const std::byte> data;  // inside the archive's bytes
  uint32_t crc32 = 0;               // as the archive states it; see CheckCrc
};

using ZipMembers = std::map<std::string, ZipMember, std::less<>>;

// Reads the central directory, zip64 included; data descriptors need no attention, the directory repeats
// them. Compressed, encrypted and split archives are kUnsupported. Takes O(directory) time and memory.
Result<ZipMembers> ReadZip(std::span<const std::byte> archive);

// Compares the member's bytes with its checksum.
Status CheckCrc(const ZipMember& member);

}  // namespace thimble
