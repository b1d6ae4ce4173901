#include "thimble/formats/safetensors/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "thimble/base/file.h"

namespace thimble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string File(std::string_view header, size_t data_bytes) {
  std::string file(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(file.data(), &length, sizeof length);
  return file.append(header).append(data_bytes, '\x01');
}

Result<SafetensorsFile> Parse(std::string_view file) {
  return ParseSafetensors(std::as_bytes(std::span(file.data(), file.size())), nullptr);
}

std::string ErrorOf(std::string_view file) {
  const Result<SafetensorsFile> parsed = Parse(file);
  return parsed ? "accepted" : parsed.error().message();
}

TEST(Safetensors, ReadsEveryType) {
  const std::string file = File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[3,11]},)"
                                R"("b":{"dtype":"BOOL","shape":[3,1],"data_offsets":[0,3]},)"
                                R"("c":{"dtype":"I64","shape":[],"data_offsets":[11,19]},)"
                                R"("d":{"dtype":"U64","shape":[0],"data_offsets":[11,11]},)"
                                R"("__metadata__":{"format":"pt"}}  )",
                                19);
  const Result<SafetensorsFile> parsed = Parse(file);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->metadata.at("format"), "pt");
  ASSERT_EQ(parsed->tensors.size(), 4u);
  EXPECT_EQ(parsed->tensors.at("a").shape, Shape{2});
  const Result<Tensor> mask = Load(parsed->tensors.at("b"));
  ASSERT_TRUE(mask);
  EXPECT_EQ(mask->dtype(), DType::kU8);
  EXPECT_THAT(mask->ToFloats(), ElementsAre(1, 1, 1));
  EXPECT_EQ(Load(parsed->tensors.at("c"))->dtype(), DType::kI64);
  EXPECT_FALSE(Load(parsed->tensors.at("d")));  // no model has 64-bit unsigned tensors
}

TEST(Safetensors, AcceptsAFileWithoutTensors) { EXPECT_EQ(ErrorOf(File("{}", 0)), "accepted"); }

TEST(Safetensors, RefusesHeadersThatDoNotFit) {
  EXPECT_EQ(ErrorOf(""), "is too short for a safetensors file");
  EXPECT_EQ(ErrorOf("1234567"), "is too short for a safetensors file");
  EXPECT_THAT(ErrorOf(std::string(8, '\xff')), HasSubstr("more than 100000000"));
  EXPECT_THAT(ErrorOf(File("{}", 0).substr(0, 9)), HasSubstr("a header of 2 bytes in a file of 9"));
  EXPECT_THAT(ErrorOf(std::string(8, '\0')), HasSubstr("not JSON"));
}

// One wrong header each; the data has 8 bytes.
struct BadHeader {
  const char* header;
  const char* message;
};

class SafetensorsBadHeader : public ::testing::TestWithParam<BadHeader> {};

TEST_P(SafetensorsBadHeader, IsRefusedWithItsReason) {
  EXPECT_THAT(ErrorOf(File(GetParam().header, 8)), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, SafetensorsBadHeader,
    ::testing::Values(
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x)", "not JSON"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})", "not JSON"},
        BadHeader{"{\"\xff\":{}}", "not JSON"},
        BadHeader{R"([])", "an array where the header should begin"},
        BadHeader{R"(7)", "a number where the header should begin"},
        BadHeader{R"({})", "8 bytes after the last tensor"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "4 bytes after"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "a gap of 4 bytes"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                  R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                  R"(tensor "b" overlaps)"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "bytes 8 to 0 of 8"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", "bytes 4 to 12"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "does not fill"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}})",
                  "does not fill"},  // 4 * count wraps to 8
        BadHeader{R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}})",
                  "does not fill"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})",
                  "a dimension of 18446744073709551615"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "negative"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "a fraction"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e999]}})", "not JSON"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", "not two numbers"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4,8]}})", "not two numbers"},
        BadHeader{R"({"a":{"dtype":"Q9","shape":[2],"data_offsets":[0,8]}})",
                  R"(unknown dtype "Q9" in the header entry "a")"},
        BadHeader{R"({"a":{"shape":[2],"data_offsets":[0,8]}})", "no dtype"},
        BadHeader{R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", "no shape"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2]}})", "no data_offsets"},
        BadHeader{R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                  R"(key "dtype" occurs twice)"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                  R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                  R"(tensor "a" occurs twice)"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})",
                  R"(unknown key "x")"},
        BadHeader{R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", "a number where none"},
        BadHeader{R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", "an array where"},
        BadHeader{R"({"a":{"dtype":"F32","shape":{},"data_offsets":[0,8]}})", "an object where"},
        BadHeader{R"({"a":null})", "null where none belongs"},
        BadHeader{R"({"a":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[)", "an array where none belongs"},
        BadHeader{R"({"__metadata__":{"a":1}})", "a number where none belongs"},
        BadHeader{R"({"__metadata__":{"a":"1","a":"2"}})", R"(metadata key "a" occurs twice)"},
        BadHeader{R"({"__metadata__":{},"__metadata__":{}})", "occurs twice"}));

TEST(Safetensors, RefusesMoreDimensionsThanAnyTensorHas) {
  std::string shape = "1";
  for (int i = 0; i < 40; ++i) shape += ",1";
  EXPECT_THAT(
      ErrorOf(File(R"({"a":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[0,4]}})", 4)),
      HasSubstr("more than 32 dimensions"));
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string file =
      File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"k":"v"}})", 8);
  ASSERT_EQ(ErrorOf(file), "accepted");
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(ErrorOf(std::string_view(file).substr(0, size)), "accepted") << size;
  }
  EXPECT_NE(ErrorOf(file + "x"), "accepted");
}

TEST(Safetensors, WritesWhatItReads) {
  const std::string path = ::testing::TempDir() + "/thimble_written.safetensors";
  const float values[] = {1, 2, 3, 4, 5, 6};
  const int8_t bytes[] = {-1, 0, 1};
  const int64_t ids[] = {7};
  const std::vector<NamedTensor> tensors = {
      {"odd \"name\"\n", Tensor::Copy(DType::kI8, {3}, std::as_bytes(std::span(bytes)))},
      {"matrix", Tensor::FromFloats({2, 3}, values)},
      {"ids", Tensor::Copy(DType::kI64, {1, 1}, std::as_bytes(std::span(ids)))},
      {"empty", Tensor::FromFloats({0, 5}, {})},
  };
  const Status written = WriteSafetensors(path, tensors, {{"format", "pt"}});
  ASSERT_TRUE(written) << written.error().message();
  const Result<SafetensorsFile> read = OpenSafetensors(path);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  ASSERT_EQ(read->tensors.size(), tensors.size());
  for (const NamedTensor& want : tensors) {
    const Result<Tensor> got = Load(read->tensors.at(want.name));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->dtype(), want.tensor.dtype());
    EXPECT_EQ(got->shape(), want.tensor.shape());
    EXPECT_TRUE(std::ranges::equal(got->data(), want.tensor.data()));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(got->data().data()) % DTypeBytes(got->dtype()), 0u);
  }
}

TEST(Safetensors, WriterRefusesNamesThatCannotBeToldApart) {
  const std::string path = ::testing::TempDir() + "/thimble_refused.safetensors";
  const NamedTensor twice[] = {{"a", Tensor::Scalar(1)}, {"a", Tensor::Scalar(2)}};
  EXPECT_FALSE(WriteSafetensors(path, twice));
  const NamedTensor reserved[] = {{"__metadata__", Tensor::Scalar(1)}};
  EXPECT_FALSE(WriteSafetensors(path, reserved));
  EXPECT_FALSE(FileExists(path));
}

TEST(Safetensors, NamesTheFileThatIsMissing) {
  const Result<SafetensorsFile> missing = OpenSafetensors("/nowhere/model.safetensors");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message(), HasSubstr("/nowhere/model.safetensors"));
}

}  // namespace
}  // namespace thimble
