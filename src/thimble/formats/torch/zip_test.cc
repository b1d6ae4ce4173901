#include "thimble/formats/torch/zip.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "thimble/formats/torch/bytes.h"

namespace thimble {
namespace {

using ::testing::HasSubstr;

std::string Number(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xFF);
  return text;
}

uint32_t Crc(std::string_view text) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size()));
}

// An archive written field by field, so that every field can be wrong.
struct ZipWriter {
  bool data_descriptor = false;  // sizes stand behind the data
  bool zip64 = false;            // sizes and offsets in zip64 fields
  uint16_t method = 0;
  uint16_t flags = 0;
  std::string local_extra, comment;
  std::string file = {}, directory = {};
  uint64_t members = 0;

  void Add(const std::string& name, const std::string& data) {
    const uint64_t offset = file.size();
    const uint32_t crc = Crc(data);
    const auto general_flags = static_cast<uint16_t>(flags | (data_descriptor ? 8 : 0));
    file += "PK\x03\x04" + Number(45, 2) + Number(general_flags, 2) + Number(method, 2) +
            Number(0, 4) + Number(data_descriptor ? 0 : crc, 4) +
            Number(data_descriptor ? 0 : data.size(), 4) +
            Number(data_descriptor ? 0 : data.size(), 4) + Number(name.size(), 2) +
            Number(local_extra.size(), 2) + name + local_extra + data;
    if (data_descriptor) {
      file += "PK\x07\x08" + Number(crc, 4) + Number(data.size(), 4) + Number(data.size(), 4);
    }
    const std::string extra = zip64 ? Number(0x7777, 2) + Number(1, 2) +
                                          "x" +  // a field of somebody else comes first
                                          Number(1, 2) + Number(24, 2) + Number(data.size(), 8) +
                                          Number(data.size(), 8) + Number(offset, 8)
                                    : "";
    const uint32_t size = zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(data.size());
    directory += "PK\x01\x02" + Number(45, 2) + Number(45, 2) + Number(general_flags, 2) +
                 Number(method, 2) + Number(0, 4) + Number(crc, 4) + Number(size, 4) +
                 Number(size, 4) + Number(name.size(), 2) + Number(extra.size(), 2) + Number(0, 2) +
                 Number(0, 2) + Number(0, 2) + Number(0, 4) +
                 Number(zip64 ? 0xFFFFFFFF : offset, 4) + name + extra;
    ++members;
  }

  std::string Finish() const {
    std::string out = file + directory;
    if (zip64) {
      const uint64_t at = out.size();
      out += "PK\x06\x06" + Number(44, 8) + Number(45, 2) + Number(45, 2) + Number(0, 4) +
             Number(0, 4) + Number(members, 8) + Number(members, 8) + Number(directory.size(), 8) +
             Number(file.size(), 8);
      out += "PK\x06\x07" + Number(0, 4) + Number(at, 8) + Number(1, 4);
    }
    return out + "PK\x05\x06" + Number(0, 2) + Number(0, 2) + Number(zip64 ? 0xFFFF : members, 2) +
           Number(zip64 ? 0xFFFF : members, 2) + Number(zip64 ? 0xFFFFFFFF : directory.size(), 4) +
           Number(zip64 ? 0xFFFFFFFF : file.size(), 4) + Number(comment.size(), 2) + comment;
  }
};

Result<ZipMembers> ReadArchive(const std::string& archive) {
  return ReadZip(std::as_bytes(std::span(archive)));
}

std::string ErrorOfZip(const std::string& archive) {
  const Result<ZipMembers> members = ReadArchive(archive);
  return members ? "accepted" : members.error().message();
}

void ExpectTwoMembers(const std::string& archive) {
  const Result<ZipMembers> members = ReadArchive(archive);
  ASSERT_TRUE(members) << members.error().message();
  ASSERT_EQ(members->size(), 2u);
  EXPECT_EQ(Text(members->at("a/one").data), "first");
  EXPECT_EQ(Text(members->at("a/two").data), "");
  EXPECT_TRUE(CheckCrc(members->at("a/one")));
  EXPECT_TRUE(CheckCrc(members->at("a/two")));
}

TEST(Zip, ReadsStoredMembers) {
  ZipWriter zip{.local_extra = "FB\x03" + std::string(4, 'Z'), .comment = "a comment"};
  zip.Add("a/one", "first");
  zip.Add("a/two", "");
  ExpectTwoMembers(zip.Finish());
}

TEST(Zip, ReadsDataDescriptors) {
  ZipWriter zip{.data_descriptor = true, .local_extra = {}, .comment = {}};
  zip.Add("a/one", "first");
  zip.Add("a/two", "");
  ExpectTwoMembers(zip.Finish());
}

TEST(Zip, ReadsZip64) {
  ZipWriter zip{.zip64 = true, .local_extra = {}, .comment = {}};
  zip.Add("a/one", "first");
  zip.Add("a/two", "");
  ExpectTwoMembers(zip.Finish());
}

TEST(Zip, RefusesWhatItDoesNotRead) {
  ZipWriter deflated{.method = 8, .local_extra = {}, .comment = {}};
  deflated.Add("a/one", "first");
  EXPECT_THAT(ErrorOfZip(deflated.Finish()), HasSubstr("\"a/one\" is compressed"));
  ZipWriter encrypted{.flags = 1, .local_extra = {}, .comment = {}};
  encrypted.Add("a/one", "first");
  EXPECT_THAT(ErrorOfZip(encrypted.Finish()), HasSubstr("encrypted"));
  ZipWriter twice{.local_extra = {}, .comment = {}};
  twice.Add("a/one", "first");
  twice.Add("a/one", "other");
  EXPECT_THAT(ErrorOfZip(twice.Finish()), HasSubstr("two zip members"));
}

TEST(Zip, RefusesMembersOutsideTheFile) {
  ZipWriter zip{.local_extra = {}, .comment = {}};
  zip.Add("a/one", "first");
  ZipWriter far = zip;
  far.directory.replace(42, 4, Number(0x7FFFFFFF, 4));
  EXPECT_THAT(ErrorOfZip(far.Finish()), HasSubstr("not where the zip directory says"));
  ZipWriter large = zip;
  large.directory.replace(20, 8, Number(100'000, 4) + Number(100'000, 4));
  EXPECT_THAT(ErrorOfZip(large.Finish()), HasSubstr("reaches beyond the end"));
  ZipWriter many = zip;
  many.members = 60'000;
  EXPECT_THAT(ErrorOfZip(many.Finish()), HasSubstr("directory ends early"));
}

TEST(Zip, EveryTruncationIsRefused) {
  for (const bool zip64 : {false, true}) {
    ZipWriter zip{.zip64 = zip64, .local_extra = {}, .comment = {}};
    zip.Add("a/one", "first");
    zip.Add("a/two", "second");
    const std::string archive = zip.Finish();
    for (size_t size = 0; size < archive.size(); ++size) {
      EXPECT_NE(ErrorOfZip(archive.substr(0, size)), "accepted") << size;
    }
  }
}

TEST(Zip, ChecksumFindsAChangedBit) {
  ZipWriter zip{.local_extra = {}, .comment = {}};
  zip.Add("a/one", "first");
  std::string archive = zip.Finish();
  archive[archive.find("first")] ^= 1;
  const Result<ZipMembers> members = ReadArchive(archive);
  ASSERT_TRUE(members);
  EXPECT_THAT(CheckCrc(members->at("a/one")).error().message(), HasSubstr("damaged"));
}

}  // namespace
}  // namespace thimble
