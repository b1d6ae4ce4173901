#include "thimble/formats/huggingface/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "thimble/formats/safetensors/safetensors.h"

namespace thimble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kValues[] = {1, 2, 3, 4};

StoredTensor Stored(Shape shape, StoredType type = StoredType::kF32) {
  const size_t bytes = *ElementCount(shape) * StoredTypeBytes(type);
  return {.type = type,
          .shape = std::move(shape),
          .strides = {},
          .data = std::as_bytes(std::span(kValues)).first(bytes),
          .owner = nullptr};
}

// An empty directory of the running test.
std::string TestDirectory() {
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string path = ::testing::TempDir() + "/thimble_checkpoint_" + test->name();
  std::filesystem::remove_all(path);
  std::filesystem::create_directory(path);
  return path;
}

void Write(const std::string& path, const std::vector<std::string>& names) {
  std::vector<NamedTensor> tensors;
  for (const std::string& name : names) tensors.push_back({name, Tensor::FromFloats({4}, kValues)});
  ASSERT_TRUE(WriteSafetensors(path, tensors));
}

TEST(Checkpoint, FindsTheFullName) {
  Checkpoint checkpoint({{"bert.a.weight", Stored({4})}, {"b.weight", Stored({2})}});
  EXPECT_TRUE(checkpoint.Has("bert.a.weight"));
  EXPECT_EQ(checkpoint.Get("bert.a.weight", {4})->shape(), Shape{4});
  // "bert." is a part of names here, so that "b.weight" is no tensor of "bert".
  EXPECT_FALSE(checkpoint.Has("bert.b.weight"));
  EXPECT_TRUE(checkpoint.Has("b.weight"));
}

TEST(Checkpoint, FindsNamesOfAModelWithoutHead) {
  Checkpoint checkpoint({{"encoder.a.weight", Stored({4})}});
  EXPECT_TRUE(checkpoint.Has("bert.encoder.a.weight"));
  EXPECT_TRUE(checkpoint.Get("bert.encoder.a.weight", {4}));
  EXPECT_FALSE(checkpoint.Has("bert.bert.encoder.a.weight"));
  EXPECT_THAT(checkpoint.UnusedNames(), ElementsAre());
}

TEST(Checkpoint, FindsGammaAndBeta) {
  Checkpoint checkpoint({{"a.LayerNorm.gamma", Stored({4})}, {"a.LayerNorm.beta", Stored({4})}});
  EXPECT_TRUE(checkpoint.Get("a.LayerNorm.weight", {4}));
  EXPECT_TRUE(checkpoint.Get("bert.a.LayerNorm.bias", {4}));
  EXPECT_FALSE(checkpoint.Has("a.LayerNorm.scale"));
}

TEST(Checkpoint, ChecksShapes) {
  Checkpoint checkpoint({{"a", Stored({2, 2})}});
  EXPECT_TRUE(checkpoint.Get("a", {2, 2}));
  EXPECT_TRUE(checkpoint.Get("a", {-1, 2}));
  EXPECT_EQ(checkpoint.Get("a", {4}).error().message(),
            "tensor \"a\" has shape [2, 2], the configuration asks for [4]");
  EXPECT_FALSE(checkpoint.Get("a", {-1, 3}));
  EXPECT_EQ(checkpoint.Get("b", {4}).error().message(), "the checkpoint has no tensor \"b\"");
}

TEST(Checkpoint, RefusesWeightsThatAreNotReal) {
  Checkpoint checkpoint(
      {{"a", Stored({2}, StoredType::kI64)}, {"b", Stored({2}, StoredType::kU16)}});
  EXPECT_THAT(checkpoint.Get("a", {2}).error().message(), HasSubstr("type I64"));
  EXPECT_THAT(checkpoint.Get("b", {2}).error().message(), HasSubstr("type U16"));
}

TEST(Checkpoint, TiedWeightsShareStorage) {
  // Transposed, so that reading it makes a copy.
  StoredTensor tensor = Stored({2, 2});
  tensor.strides = {1, 2};
  Checkpoint checkpoint({{"a", tensor}});
  EXPECT_TRUE(checkpoint.Get("a", {2, 2})->SameAs(*checkpoint.Get("a", {2, 2})));
}

TEST(Checkpoint, ListsWhatNobodyAskedFor) {
  Checkpoint checkpoint({{"a", Stored({4})}, {"position_ids", Stored({2}, StoredType::kI64)}});
  ASSERT_TRUE(checkpoint.Get("a", {4}));
  EXPECT_THAT(checkpoint.UnusedNames(), ElementsAre("position_ids"));
}

TEST(Checkpoint, OpensShards) {
  const std::string directory = TestDirectory();
  Write(directory + "/one.safetensors", {"a", "b"});
  Write(directory + "/two.safetensors", {"c"});
  std::ofstream(directory + "/model.safetensors.index.json")
      << R"({"metadata":{},"weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"}})";
  Result<Checkpoint> checkpoint = Checkpoint::Open(directory);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message();
  EXPECT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_EQ(checkpoint->FileSha256()->size(), 64u);
  std::filesystem::remove_all(directory);
}

TEST(Checkpoint, RefusesIndicesThatLie) {
  const std::string directory = TestDirectory();
  const auto error_of = [&](const char* index) {
    std::ofstream(directory + "/model.safetensors.index.json") << index;
    const Result<Checkpoint> checkpoint = Checkpoint::Open(directory);
    return checkpoint ? "accepted" : checkpoint.error().message();
  };
  Write(directory + "/one.safetensors", {"a"});
  EXPECT_THAT(error_of(R"({"weight_map":{"a":"../one.safetensors"}})"),
              HasSubstr("same directory"));
  EXPECT_THAT(error_of(R"({"weight_map":{"a":"/etc/passwd"}})"), HasSubstr("same directory"));
  EXPECT_THAT(error_of(R"({"weight_map":{"a":"one.safetensors\u0000"}})"),
              HasSubstr("same directory"));
  EXPECT_THAT(error_of(R"({"weight_map":{"a":7}})"), HasSubstr("same directory"));
  EXPECT_THAT(error_of(R"({"weight_map":{"b":"one.safetensors"}})"), HasSubstr("no tensor \"b\""));
  EXPECT_THAT(error_of(R"({"weight_map":{"a":"gone.safetensors"}})"),
              HasSubstr("gone.safetensors"));
  EXPECT_THAT(error_of(R"({})"), HasSubstr("weight_map"));
  EXPECT_THAT(error_of(R"({"weight_map":[]})"), HasSubstr("weight_map"));
  std::filesystem::remove_all(directory);
}

TEST(Checkpoint, NamesTheDirectoryWithoutWeights) {
  const std::string directory = TestDirectory();
  const Result<Checkpoint> checkpoint = Checkpoint::Open(directory);
  ASSERT_FALSE(checkpoint);
  EXPECT_EQ(checkpoint.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(checkpoint.error().message(), HasSubstr(directory));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace thimble
