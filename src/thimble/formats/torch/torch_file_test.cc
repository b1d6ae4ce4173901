// The fixtures are written by tools/make_torch_fixtures.py, with PyTorch itself.
#include "thimble/formats/torch/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "thimble/base/file.h"

namespace thimble {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Fixture(const std::string& name) {
  return std::string(THIMBLE_SOURCE_DIR) + "/tests/fixtures/torch/" + name;
}

Result<StoredTensors> Parse(std::string_view file) {
  return ParseTorch(std::as_bytes(std::span(file.data(), file.size())), nullptr);
}

std::string ErrorOf(const std::string& fixture) {
  const Result<StoredTensors> tensors = OpenTorch(Fixture(fixture));
  return tensors ? "accepted" : tensors.error().message();
}

class TorchFile : public ::testing::TestWithParam<const char*> {};

TEST_P(TorchFile, HoldsWhatWasSaved) {
  const Result<StoredTensors> file = OpenTorch(Fixture(GetParam()));
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(file->size(), 16u);
  const auto get = [&](const char* name) {
    const Result<Tensor> tensor = Load(file->at(name));
    return tensor ? *tensor : Tensor();
  };
  EXPECT_THAT(get("matrix").ToFloats(), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(get("matrix").shape(), (Shape{2, 3}));
  EXPECT_EQ(get("transposed").shape(), (Shape{3, 2}));
  EXPECT_THAT(get("transposed").ToFloats(), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_EQ(get("sliced").shape(), (Shape{2, 3}));
  EXPECT_THAT(get("sliced").ToFloats(), ElementsAre(6, 8, 10, 12, 14, 16));
  EXPECT_THAT(get("row").ToFloats(), ElementsAre(12, 13, 14, 15, 16, 17));
  EXPECT_THAT(get("expanded").ToFloats(), ElementsAre(7, 8, 7, 8, 7, 8));
  EXPECT_EQ(file->at("tied_a").data.data(), file->at("tied_b").data.data());
  EXPECT_THAT(get("tied_b").ToFloats(), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(get("scalar").ToFloats(), ElementsAre(2.5));
  EXPECT_EQ(get("scalar").shape(), Shape{});
  EXPECT_EQ(get("empty").shape(), (Shape{0, 4}));
  EXPECT_EQ(get("half").dtype(), DType::kF16);
  EXPECT_THAT(get("half").ToFloats(), ElementsAre(0.5, -2));
  EXPECT_EQ(get("bfloat").dtype(), DType::kBF16);
  EXPECT_THAT(get("bfloat").ToFloats(), ElementsAre(1.5, -3));
  EXPECT_THAT(get("double").ToFloats(), ElementsAre(0.1f, INFINITY));
  EXPECT_EQ(get("ids").dtype(), DType::kI64);
  EXPECT_EQ(get("ids").shape(), (Shape{1, 3}));
  EXPECT_THAT(get("ids").ToFloats(), ElementsAre(0, 1, 2));
  EXPECT_THAT(get("bytes").ToFloats(), ElementsAre(-1, 0, 1));
  EXPECT_THAT(get("mask").ToFloats(), ElementsAre(1, 0));
  EXPECT_THAT(get("parameter").ToFloats(), ElementsAre(1, 2));
}

TEST_P(TorchFile, EveryTruncationIsRefused) {
  const Result<std::string> file = ReadFile(Fixture(GetParam()));
  ASSERT_TRUE(file);
  for (size_t size = 0; size < file->size(); ++size) {
    EXPECT_FALSE(Parse(std::string_view(*file).substr(0, size))) << size;
  }
}

TEST_P(TorchFile, SurvivesAChangedBitInEveryByte) {
  Result<std::string> file = ReadFile(Fixture(GetParam()));
  ASSERT_TRUE(file);
  for (size_t i = 0; i < file->size(); ++i) {
    const auto flip = static_cast<char>(1 << i % 8);
    (*file)[i] ^= flip;
    if (const Result<StoredTensors> tensors = Parse(*file)) {
      for (const auto& [name, tensor] : *tensors) (void)Load(tensor);
    }
    (*file)[i] ^= flip;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, TorchFile,
                         ::testing::Values("zip.bin", "legacy.bin", "protocol4.bin"));

// A file from before zip archives with one storage "k" of four floats 1 to 4 and one tensor "a": two
// elements, described by `tensor` (opcodes for offset, size and strides), of the storage or of the view of
// it that `view` describes.
std::string LegacyFile(const std::string& tensor, const std::string& view = "N") {
  std::string file = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s;  // magic number
  file += "\x80\x02M\xe9\x03."s;                                                    // protocol
  file += "\x80\x02}U\x0dlittle_endian\x88s."s;                                     // machine
  file +=
      "\x80\x02}U\x01"
      "actorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\n"s;
  file +=
      "U\x01kU\x03"
      "cpuK\x04"s +
      view + "tQ" + tensor + "\x89NtRs.";
  file += "\x80\x02]U\x01ka."s;  // order of the storages
  file += "\x04\0\0\0\0\0\0\0"s;
  for (const float value : {1.0f, 2.0f, 3.0f, 4.0f}) {
    file.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return file;
}

std::vector<float> ValuesOf(const std::string& file) {
  const Result<StoredTensors> tensors = Parse(file);
  EXPECT_TRUE(tensors) << tensors.error().message();
  return tensors ? Load(tensors->at("a"))->ToFloats() : std::vector<float>();
}

std::string ParseError(const std::string& file) {
  const Result<StoredTensors> tensors = Parse(file);
  return tensors ? "accepted" : tensors.error().message();
}

TEST(LegacyTorchFile, ReadsViewsOfStorages) {
  const std::string two_from_0 = "K\x00K\x02\x85K\x01\x85"s;
  EXPECT_THAT(ValuesOf(LegacyFile(two_from_0)), ElementsAre(1, 2));
  EXPECT_THAT(ValuesOf(LegacyFile("K\x01K\x02\x85K\x02\x85")), ElementsAre(2, 4));
  // Two elements from the second on.
  EXPECT_THAT(ValuesOf(LegacyFile(two_from_0, "(U\x01vK\x01K\x02t")), ElementsAre(2, 3));
  EXPECT_THAT(ParseError(LegacyFile(two_from_0, "(U\x01vK\x03K\x02t")),
              HasSubstr("leaves the storage"));
}

TEST(LegacyTorchFile, RefusesTensorsThatLeaveTheirStorage) {
  for (const char* tensor : {
           "K\x03K\x02\x85K\x01\x85",              // offset
           "K\x01K\x02\x85K\x03\x85",              // stride
           "K\x01J\xff\xff\xff\x7f\x85K\x01\x85",  // size
           "K\x05K\x02\x85K\x01\x85",              // begins behind the end
           "K\x01\x8a\x08\x01\x01\x01\x01\x01\x01\x01\x7f\x85\x8a\x08\x01\x01\x01\x01\x01\x01\x01"
           "\x7f\x85",
       }) {
    EXPECT_THAT(ParseError(LegacyFile(tensor)), HasSubstr("leaves its storage of 4"));
  }
}

TEST(LegacyTorchFile, RefusesExpansionsFarBeyondTheFile) {
  // A billion times the same element.
  const std::string expanded = "K\x01J\x00\xca\x9a\x3b\x85K\x00\x85"s;
  EXPECT_THAT(ParseError(LegacyFile(expanded)), HasSubstr("far more memory than the file"));
}

TEST(LegacyTorchFile, RefusesDescriptionsThatAreNone) {
  EXPECT_THAT(ParseError(LegacyFile("K\x01K\x02\x85K\x01K\x01\x86")),
              HasSubstr("1 dimensions and 2"));
  EXPECT_THAT(ParseError(LegacyFile("NK\x02\x85K\x01\x85")),
              HasSubstr("its offset is not a count"));
  EXPECT_THAT(ParseError(LegacyFile("K\x01K\x02K\x01\x85")), HasSubstr("its size is not a tuple"));
  EXPECT_THAT(ParseError(LegacyFile("K\x01J\xfe\xff\xff\xff\x85K\x01\x85")),
              HasSubstr("not a count"));
  std::string big_endian = LegacyFile("K\x01K\x02\x85K\x01\x85");
  big_endian[big_endian.find('\x88')] = '\x89';
  EXPECT_THAT(ParseError(big_endian), HasSubstr("big-endian"));
}

TEST(TorchFileRefuses, CodeByItsName) {
  EXPECT_THAT(ErrorOf("hostile_zip.bin"), HasSubstr("refuses to run \"posix.system\""));
  EXPECT_THAT(ErrorOf("hostile_legacy.bin"), HasSubstr("refuses to run \"posix.system\""));
  EXPECT_THAT(ErrorOf("whole_model.bin"), HasSubstr("torch.nn.modules.linear.Linear"));
}

TEST(TorchFileRefuses, OtherFiles) {
  EXPECT_THAT(ErrorOf("plain_pickle.bin"), HasSubstr("is not a PyTorch file"));
  EXPECT_THAT(ErrorOf("missing.bin"), HasSubstr("missing.bin"));
}

TEST(TorchFileRefuses, DataThatChangedAfterItWasSaved) {
  // One changed bit in the data of a storage: the checksum of the archive finds it.
  Result<std::string> file = ReadFile(Fixture("zip.bin"));
  ASSERT_TRUE(file);
  const float five = 5;
  const size_t at = file->find(std::string_view(reinterpret_cast<const char*>(&five), 4));
  ASSERT_NE(at, std::string::npos);
  (*file)[at] ^= 1;
  const Result<StoredTensors> tensors = Parse(*file);
  ASSERT_FALSE(tensors);
  EXPECT_THAT(tensors.error().message(), HasSubstr("the checksum does not match"));
}

}  // namespace
}  // namespace thimble
