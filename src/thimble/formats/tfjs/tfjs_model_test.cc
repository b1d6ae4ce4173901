#include "thimble/formats/tfjs/tfjs_model.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kTopology[] = R"("modelTopology": {"node": [
  {"op": "Const", "name": "c"}, {"op": "Add", "name": "sum", "input": ["c", "c"]}]})";

std::string WithWeights(const std::string& paths, const std::string& weights) {
  return std::string("{") + kTopology + R"(, "weightsManifest": [{"paths": [)" + paths +
         "], \"weights\": [" + weights + "]}]}";
}

template <class T>
std::string BytesOf(std::vector<T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

using Files = std::map<std::string, std::string>;

Result<TfjsModel> Parse(const std::string& json, const Files& files) {
  return TfjsModel::Parse(json, [&](const std::string& name) -> Result<TfjsModel::File> {
    const auto found = files.find(name);
    if (found == files.end()) return NotFound(name + ": is not there");
    auto copy = std::make_shared<const std::string>(found->second);
    return TfjsModel::File{std::as_bytes(std::span(*copy)), copy};
  });
}

std::string ErrorOf(const std::string& json, const Files& files = {}) {
  const Result<TfjsModel> model = Parse(json, files);
  return model.has_value() ? "no error" : model.error().message();
}

TEST(TfjsModel, ReadsTensorsAcrossFiles) {
  const std::string bytes = BytesOf<float>({1, 2, 3, 4, 5, 6}) + BytesOf<int32_t>({-7});
  auto model = Parse(WithWeights(R"("a", "b")",
                                 R"({"name": "m", "shape": [2, 3], "dtype": "float32"},
                                    {"name": "n", "shape": [], "dtype": "int32"})"),
                     {{"a", bytes.substr(0, 9)}, {"b", bytes.substr(9)}});
  ASSERT_TRUE(model.has_value()) << model.error().message();
  EXPECT_THAT(model->Get("m", {2, 3})->ToFloats(), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(model->Get("m", {-1, 3})->shape(), (Shape{2, 3}));
  EXPECT_EQ(model->Get("n", {})->dtype(), DType::kI32);
  EXPECT_THAT(model->Get("n", {})->ToFloats(), ElementsAre(-7));
  EXPECT_THAT(model->Get("m", {3, 2}).error().message(), HasSubstr("\"m\" is [2, 3], not [3, 2]"));
  EXPECT_THAT(model->Get("x", {}).error().message(), HasSubstr("no weight \"x\""));
}

TEST(TfjsModel, DecodesQuantizedWeights) {
  const std::string bytes = BytesOf<uint8_t>({0, 255}) + BytesOf<uint16_t>({1, 65535}) +
                            BytesOf<uint16_t>({0x3C00, 0xC000}) + BytesOf<uint8_t>({3});
  auto model = Parse(WithWeights(R"("a")", R"(
        {"name": "u8", "shape": [2], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1}},
        {"name": "u16", "shape": [2], "dtype": "float32", "quantization": {"dtype": "uint16", "scale": 2, "min": 0}},
        {"name": "f16", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}},
        {"name": "int", "shape": [1], "dtype": "int32", "quantization": {"dtype": "uint8", "scale": 0.5, "min": 0}})"),
                     {{"a", bytes}});
  ASSERT_TRUE(model.has_value()) << model.error().message();
  EXPECT_THAT(model->Get("u8", {2})->ToFloats(), ElementsAre(-1, 126.5f));
  EXPECT_THAT(model->Get("u16", {2})->ToFloats(), ElementsAre(2, 131070));
  EXPECT_THAT(model->Get("f16", {2})->ToFloats(), ElementsAre(1, -2));
  EXPECT_THAT(model->Get("int", {1})->ToFloats(), ElementsAre(2));  // 1.5, rounded up
}

TEST(TfjsModel, ReadsTheTopology) {
  auto model = Parse(WithWeights("", ""), {});
  ASSERT_TRUE(model.has_value()) << model.error().message();
  EXPECT_EQ(model->CountOps("Add"), 1u);
  ASSERT_NE(model->FindNode("sum"), nullptr);
  EXPECT_THAT(model->FindNode("sum")->inputs, ElementsAre("c", "c"));
  EXPECT_EQ(model->FindNode("other"), nullptr);
}

TEST(TfjsModel, RefusesPathsOutOfTheFolder) {
  for (const char* path : {"../secret", "/etc/passwd", "a/b", "..", ".", "", "a\\\\b", "C:x"}) {
    EXPECT_THAT(ErrorOf(WithWeights('"' + std::string(path) + '"', "")),
                HasSubstr("is not the name of a file beside model.json"))
        << path;
  }
}

TEST(TfjsModel, RefusesSizesThatTheFilesDoNotHave) {
  const auto weight = [](const std::string& shape, const std::string& dtype = "float32") {
    return R"({"name": "w", "shape": )" + shape + R"(, "dtype": ")" + dtype + "\"}";
  };
  const Files files{{"a", "12345678"}};
  const std::string path = R"("a")";
  EXPECT_EQ(ErrorOf(WithWeights(path, weight("[2]")), files), "no error");
  EXPECT_THAT(ErrorOf(WithWeights(path, weight("[3]")), files), HasSubstr("needs more bytes"));
  EXPECT_THAT(ErrorOf(WithWeights(path, weight("[1]")), files), HasSubstr("have 8 bytes"));
  EXPECT_THAT(ErrorOf(WithWeights(path, weight("[1099511627776, 1099511627776]")), files),
              HasSubstr("needs more bytes"));
  EXPECT_THAT(ErrorOf(WithWeights(path, weight("[-1]")), files), HasSubstr("not a size"));
  EXPECT_THAT(ErrorOf(WithWeights(path, weight("[1,1,1,1,1,1,1,1,2]")), files),
              HasSubstr("more than 8 dimensions"));
  EXPECT_THAT(ErrorOf(WithWeights(path, weight("[2]", "string")), files), HasSubstr("\"string\""));
  EXPECT_THAT(ErrorOf(WithWeights(path, weight("[1]") + "," + weight("[1]")), files),
              HasSubstr("listed twice"));
  EXPECT_THAT(ErrorOf(WithWeights(R"("b")", ""), files), HasSubstr("b: is not there"));
}

TEST(TfjsModel, RefusesWhatIsNotAGraphModel) {
  EXPECT_THAT(ErrorOf("[1"), HasSubstr("not a JSON object"));
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("\"modelTopology\""));
  EXPECT_THAT(ErrorOf(R"({"modelTopology": {"model_config": {}}})"), HasSubstr("layers model"));
  EXPECT_THAT(ErrorOf(std::string("{") + kTopology + "}"), HasSubstr("\"weightsManifest\""));
  EXPECT_THAT(ErrorOf(R"({"modelTopology": {"node": [{"op": 3}]}})"), HasSubstr("\"op\""));
}

TEST(TfjsModel, OpensAFolder) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("thimble_tfjs_test_" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "model.json")
      << WithWeights(R"("w.bin")", R"({"name": "w", "shape": [1], "dtype": "float32"})");
  const auto missing = TfjsModel::Open(folder.string());
  EXPECT_THAT(missing.error().message(), HasSubstr("w.bin"));
  std::ofstream(folder / "w.bin") << BytesOf<float>({0.25f});
  auto model = TfjsModel::Open(folder.string());
  ASSERT_TRUE(model.has_value()) << model.error().message();
  std::filesystem::remove_all(folder);  // the mapping outlives the names
  EXPECT_THAT(model->Get("w", {1})->ToFloats(), ElementsAre(0.25f));
}

}  // namespace
}  // namespace thimble
