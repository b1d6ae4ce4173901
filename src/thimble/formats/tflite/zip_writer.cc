#include "thimble/formats/tflite/zip_writer.h"

#include <zlib.h>

#include <cstdint>
#include <initializer_list>

// Format: PKWARE's APPNOTE 6.3; local headers with contents, the central directory, its end.
namespace thimble {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50,
                   kEndOfDirectory = 0x06054b50;
constexpr uint16_t kVersion = 20, kUtf8Names = 1 << 11, kStored = 0;
// The first day that the format knows: the same model gives the same bytes.
constexpr uint16_t kTime = 0, kDate = (1 << 5) | 1;

void AppendShorts(std::string& out, std::initializer_list<uint16_t> values) {
  for (const uint16_t value : values) {
    out += static_cast<char>(value & 0xff);
    out += static_cast<char>(value >> 8);
  }
}

void AppendLongs(std::string& out, std::initializer_list<size_t> values) {
  for (const size_t value : values) {
    AppendShorts(out, {static_cast<uint16_t>(value), static_cast<uint16_t>(value >> 16)});
  }
}

uint32_t ChecksumOf(const std::string& content) {
  return static_cast<uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(content.data()),
                                       static_cast<uInt>(content.size())));
}

// What the local and the central header of a file have in common.
void AppendFields(std::string& out, const ZipEntry& entry) {
  AppendShorts(out, {kVersion, kUtf8Names, kStored, kTime, kDate});
  AppendLongs(out, {ChecksumOf(entry.content), entry.content.size(), entry.content.size()});
  AppendShorts(out, {static_cast<uint16_t>(entry.name.size()), 0});
}

}  // namespace

std::string ZipArchive(const std::vector<ZipEntry>& entries, size_t offset) {
  std::string archive, directory;
  for (const ZipEntry& entry : entries) {
    AppendLongs(directory, {kCentralHeader});
    AppendShorts(directory, {kVersion});
    AppendFields(directory, entry);
    AppendShorts(directory, {0, 0, 0});
    AppendLongs(directory, {0, offset + archive.size()});
    directory += entry.name;

    AppendLongs(archive, {kLocalHeader});
    AppendFields(archive, entry);
    archive += entry.name + entry.content;
  }
  const size_t directory_offset = offset + archive.size();
  archive += directory;
  const auto count = static_cast<uint16_t>(entries.size());
  AppendLongs(archive, {kEndOfDirectory});
  AppendShorts(archive, {0, 0, count, count});
  AppendLongs(archive, {directory.size(), directory_offset});
  AppendShorts(archive, {0});
  return archive;
}

}  // namespace thimble
