#include "thimble/formats/torch/zip.h"

#include <zlib.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "thimble/base/quote.h"
#include "thimble/formats/torch/bytes.h"

namespace thimble {
namespace {

// Fixed parts of the records, and where their fields lie (PKWARE's APPNOTE, section 4.3).
constexpr size_t kLocalHeaderBytes = 30, kDirectoryHeaderBytes = 46, kEndBytes = 22;
constexpr size_t kZip64LocatorBytes = 20, kZip64EndBytes = 56;
constexpr uint32_t kLocalHeader = 0x04034b50, kDirectoryHeader = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kZip64Locator = 0x07064b50, kZip64End = 0x06064b50;
constexpr uint16_t kZip64Extra = 1;
constexpr size_t kMaxCommentBytes = 0xFFFF;
constexpr uint32_t kInZip64 = 0xFFFFFFFF;  // the true value is a 64-bit one elsewhere

using Bytes = std::span<const std::byte>;

uint16_t U16(Bytes bytes, size_t at) { return LittleEndian<uint16_t>(bytes, at); }
uint32_t U32(Bytes bytes, size_t at) { return LittleEndian<uint32_t>(bytes, at); }
uint64_t U64(Bytes bytes, size_t at) { return LittleEndian<uint64_t>(bytes, at); }

struct Directory {
  uint64_t offset, bytes, members;
};

// Where the end record begins: it is the last thing in the file but for a comment.
std::optional<size_t> FindEnd(Bytes archive) {
  if (archive.size() < kEndBytes) return std::nullopt;
  const size_t last = archive.size() - kEndBytes;
  for (size_t back = 0; back <= std::min(last, kMaxCommentBytes); ++back) {
    const size_t at = last - back;
    if (U32(archive, at) == kEnd && U16(archive, at + 20) == back) return at;
  }
  return std::nullopt;
}

Result<Directory> FindDirectory(Bytes archive) {
  const std::optional<size_t> end = FindEnd(archive);
  if (!end) return InvalidData("is truncated: the zip archive has no end record");
  Directory directory{.offset = U32(archive, *end + 16),
                      .bytes = U32(archive, *end + 12),
                      .members = U16(archive, *end + 10)};
  uint32_t disks = U16(archive, *end + 4);
  if (*end >= kZip64LocatorBytes && U32(archive, *end - kZip64LocatorBytes) == kZip64Locator) {
    const uint64_t at = U64(archive, *end - kZip64LocatorBytes + 8);
    if (!Inside(archive, at, kZip64EndBytes) || U32(archive, at) != kZip64End) {
      return InvalidData("is damaged: the zip64 end record is not where it should be");
    }
    directory = {.offset = U64(archive, at + 48),
                 .bytes = U64(archive, at + 40),
                 .members = U64(archive, at + 32)};
    disks = U32(archive, at + 16);
  }
  if (disks != 0) return Unsupported("is one part of a split zip archive");
  if (!Inside(archive, directory.offset, directory.bytes) || directory.offset > *end) {
    return InvalidData("is damaged: the zip directory lies outside the file");
  }
  return directory;
}

struct MemberHeader {
  std::string name;
  uint64_t bytes, local_offset;
  uint32_t crc32;
};

// Values that did not fit 32 bits stand in the zip64 field of the extra data, in this order.
Status ReadZip64Extra(Bytes extra, uint64_t& bytes, uint64_t& stored_bytes, uint64_t& offset) {
  uint64_t* const wanted[] = {&bytes, &stored_bytes, &offset};
  while (extra.size() >= 4) {
    const size_t size = U16(extra, 2);
    if (size > extra.size() - 4) break;
    if (U16(extra, 0) == kZip64Extra) {
      size_t at = 0;
      for (uint64_t* value : wanted) {
        if (*value != kInZip64) continue;
        if (at + sizeof(uint64_t) > size) return InvalidData("is damaged: a zip64 size is missing");
        *value = U64(extra, 4 + at);
        at += sizeof(uint64_t);
      }
      return {};
    }
    extra = extra.subspan(4 + size);
  }
  return {};
}

// The header at the front of `directory`, which is advanced past it.
Result<MemberHeader> NextMember(Bytes& directory) {
  if (directory.size() < kDirectoryHeaderBytes || U32(directory, 0) != kDirectoryHeader) {
    return InvalidData("is damaged: the zip directory ends early");
  }
  const size_t name_bytes = U16(directory, 28), extra_bytes = U16(directory, 30);
  const size_t total = kDirectoryHeaderBytes + name_bytes + extra_bytes + U16(directory, 32);
  if (total > directory.size()) return InvalidData("is damaged: the zip directory ends early");
  MemberHeader member{
      .name = std::string(Text(directory.subspan(kDirectoryHeaderBytes, name_bytes))),
      .bytes = U32(directory, 24),
      .local_offset = U32(directory, 42),
      .crc32 = U32(directory, 16)};
  uint64_t stored_bytes = U32(directory, 20);
  TRY_VOID(ReadZip64Extra(directory.subspan(kDirectoryHeaderBytes + name_bytes, extra_bytes),
                          member.bytes, stored_bytes, member.local_offset));
  const bool encrypted = (U16(directory, 8) & 1) != 0;
  const uint16_t method = U16(directory, 10);
  if (encrypted || method != 0 || stored_bytes != member.bytes) {
    return Unsupported("member " + Quoted(member.name) +
                       " is compressed or encrypted; torch.save writes neither");
  }
  directory = directory.subspan(total);
  return member;
}

Result<Bytes> MemberData(Bytes archive, const MemberHeader& member) {
  if (!Inside(archive, member.local_offset, kLocalHeaderBytes) ||
      U32(archive, member.local_offset) != kLocalHeader) {
    return InvalidData("member " + Quoted(member.name) + " is not where the zip directory says");
  }
  // Name and extra data may differ from those in the directory: torch.save pads them to align the data.
  const uint64_t begin = member.local_offset + kLocalHeaderBytes +
                         U16(archive, member.local_offset + 26) +
                         U16(archive, member.local_offset + 28);
  if (!Inside(archive, begin, member.bytes)) {
    return InvalidData("member " + Quoted(member.name) + " of " + std::to_string(member.bytes) +
                       " bytes reaches beyond the end of the file");
  }
  return archive.subspan(begin, member.bytes);
}

}  // namespace

Result<ZipMembers> ReadZip(Bytes archive) {
  TRY(const Directory directory, FindDirectory(archive));
  Bytes headers = archive.subspan(directory.offset, directory.bytes);
  ZipMembers members;
  // A false count ends at the first header that is not there.
  for (uint64_t i = 0; i < directory.members; ++i) {
    TRY(MemberHeader header, NextMember(headers));
    TRY(const Bytes data, MemberData(archive, header));
    if (!members.try_emplace(header.name, ZipMember{data, header.crc32}).second) {
      return InvalidData("two zip members are named " + Quoted(header.name));
    }
  }
  return members;
}

Status CheckCrc(const ZipMember& member) {
  const auto* bytes = reinterpret_cast<const Bytef*>(member.data.data());
  if (crc32_z(crc32_z(0, nullptr, 0), bytes, member.data.size()) == member.crc32) return {};
  return InvalidData("the checksum does not match: the file is damaged, fetch it again");
}

}  // namespace thimble
