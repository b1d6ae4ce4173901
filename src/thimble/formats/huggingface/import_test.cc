#include "thimble/formats/huggingface/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "thimble/formats/safetensors/safetensors.h"
#include "thimble/models/architecture.h"

namespace thimble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kConfig[] = R"("hidden_size":8,"num_attention_heads":2,"num_hidden_layers":1,
  "intermediate_size":12,"vocab_size":6,"max_position_embeddings":16,"type_vocab_size":2)";
constexpr char kVocabulary[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nhello\n##s\n";

// Makes every weight that is asked for, and keeps them: what a checkpoint has to have.
class Inventing final : public WeightSource {
 public:
  Result<Tensor> Get(std::string_view name, const Shape& shape) override {
    Shape known = shape;
    for (int64_t& dim : known) dim = dim == -1 ? 3 : dim;
    const std::vector<float> values(*ElementCount(known), 0.25f);
    const Tensor tensor = Tensor::FromFloats(known, values);
    weights.insert_or_assign(std::string(name), tensor);  // tied ones are asked for twice
    return tensor;
  }
  bool Has(std::string_view) const override { return true; }

  std::map<std::string, Tensor> weights;
};

class ImportDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = ::testing::TempDir() + "/thimble_import_" + test->name();
    std::filesystem::remove_all(path_);
    std::filesystem::create_directory(path_);
    Write("vocab.txt", kVocabulary);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  void Write(const char* name, const std::string& text) {
    std::ofstream(path_ + "/" + name) << text;
  }
  void WriteConfig(const std::string& more) {
    Write("config.json", "{" + std::string(kConfig) + "," + more + "}");
  }
  // A BERT with a classifier of three outputs, and `more`.
  void WriteWeights(const std::vector<NamedTensor>& more = {}, Task task = Task::kSingleLabel) {
    Inventing weights;
    const nlohmann::json config =
        nlohmann::json::parse("{\"model_type\":\"bert\"," + std::string(kConfig) + "}");
    const Result<Graph> graph = BuildGraph(config, {.task = task, .labels = {}}, weights);
    ASSERT_TRUE(graph) << graph.error().message();
    std::vector<NamedTensor> tensors = more;
    for (const auto& [name, tensor] : weights.weights) tensors.push_back({name, tensor});
    const Status written = WriteSafetensors(path_ + "/model.safetensors", tensors);
    ASSERT_TRUE(written) << written.error().message();
  }
  std::string ImportError() {
    const Result<HuggingFaceImport> import = ImportHuggingFace(path_);
    return import ? "accepted" : import.error().message();
  }

  std::string path_;
};

TEST_F(ImportDirectory, BringsEverythingAlong) {
  WriteConfig(R"("model_type":"bert","architectures":["BertForSequenceClassification"],
                 "id2label":{"1":"good","0":"bad","2":"odd"})");
  WriteWeights({{"bert.embeddings.position_ids", Tensor::Scalar(0)}});
  Write("tokenizer_config.json", R"({"model_max_length":12,"do_lower_case":false})");
  const Result<HuggingFaceImport> import = ImportHuggingFace(path_ + "/");
  ASSERT_TRUE(import) << import.error().message();
  const Model& model = import->model;
  EXPECT_EQ(model.architecture, "bert");
  EXPECT_EQ(model.task, Task::kSingleLabel);
  EXPECT_THAT(model.labels, ElementsAre("bad", "good", "odd"));
  EXPECT_EQ(model.tokenizer.pieces.size(), 6u);
  EXPECT_FALSE(model.tokenizer.lower_case);
  EXPECT_EQ(model.tokenizer.model_max_length, 12);
  EXPECT_EQ(model.graph.max_sequence_length, 12);
  ASSERT_EQ(model.provenance.size(), 2u);
  EXPECT_EQ(model.provenance[0].second, "thimble_import_BringsEverythingAlong");
  EXPECT_EQ(model.provenance[1].second.size(), 64u);
  EXPECT_THAT(import->unused_tensors, ElementsAre("bert.embeddings.position_ids"));
  EXPECT_THAT(import->warnings, IsEmpty());
}

TEST_F(ImportDirectory, CountsLabelsInTheCheckpoint) {
  WriteConfig(R"("model_type":"bert","architectures":["BertForSequenceClassification"],
                 "problem_type":"multi_label_classification")");
  WriteWeights();
  const Result<HuggingFaceImport> import = ImportHuggingFace(path_);
  ASSERT_TRUE(import) << import.error().message();
  EXPECT_EQ(import->model.task, Task::kMultiLabel);
  EXPECT_THAT(import->model.labels, ElementsAre("LABEL_0", "LABEL_1", "LABEL_2"));
  EXPECT_EQ(import->model.tokenizer.model_max_length, 16);
}

TEST_F(ImportDirectory, InfersTypeAndTaskOfOldConfigurations) {
  Write("config.json", "{" + std::string(kConfig) + "}");
  WriteWeights({}, Task::kPretraining);
  const Result<HuggingFaceImport> import = ImportHuggingFace(path_);
  ASSERT_TRUE(import) << import.error().message();
  EXPECT_EQ(import->model.architecture, "bert");
  EXPECT_EQ(import->model.task, Task::kPretraining);
}

TEST_F(ImportDirectory, BuildsFeaturesOfAModelWithAHead) {
  WriteConfig(R"("model_type":"bert","architectures":["BertForSequenceClassification"])");
  WriteWeights();
  const Result<HuggingFaceImport> import = ImportHuggingFace(path_, {.task = Task::kFeatures});
  ASSERT_TRUE(import) << import.error().message();
  EXPECT_EQ(import->model.task, Task::kFeatures);
  EXPECT_THAT(import->unused_tensors, ElementsAre("classifier.bias", "classifier.weight"));
}

TEST_F(ImportDirectory, WarnsOfPiecesWithoutEmbeddings) {
  WriteConfig(R"("model_type":"bert","architectures":["BertForSequenceClassification"])");
  WriteWeights();
  Write("vocab.txt", std::string(kVocabulary) + "more\n");
  const Result<HuggingFaceImport> import = ImportHuggingFace(path_);
  ASSERT_TRUE(import);
  EXPECT_THAT(import->warnings, ElementsAre(HasSubstr("7 pieces, the model embeddings for 6")));
}

TEST_F(ImportDirectory, ErrorsSayWhatIsWrongAndWhere) {
  EXPECT_THAT(ImportError(), HasSubstr("config.json: cannot open"));
  Write("config.json", "not json");
  EXPECT_THAT(ImportError(), HasSubstr("config.json: is not valid JSON"));
  WriteConfig(
      R"("model_type":"bert","architectures":["BertForSequenceClassification"],"num_labels":4)");
  EXPECT_THAT(ImportError(), HasSubstr("has neither model.safetensors nor pytorch_model.bin"));
  WriteWeights();
  EXPECT_THAT(ImportError(), HasSubstr("has shape [3, 8], the configuration asks for [4, 8]"));
  WriteConfig(R"("model_type":"bert","architectures":["BertForQuestionAnswering"])");
  EXPECT_THAT(ImportError(), HasSubstr("has no tensor \"qa_outputs.weight\""));
  WriteConfig(R"("model_type":"gpt2","architectures":["GPT2Model"])");
  EXPECT_THAT(ImportError(), HasSubstr("gpt2"));
  WriteConfig(R"("model_type":7,"architectures":["BertModel"])");
  EXPECT_THAT(ImportError(), HasSubstr("model_type"));
}

// Checkpoints written by Hugging Face itself, where they are at hand.
std::filesystem::path Goldens() {
  const char* shared = std::getenv("THIMBLE_SHARED");
  const std::filesystem::path root =
      shared != nullptr ? shared
                        : std::filesystem::path(THIMBLE_SOURCE_DIR).parent_path() / "shared";
  return root / "goldens" / "hf";
}

bool IsTextCase(const std::filesystem::path& directory) {
  const std::string name = directory.filename().string();
  return std::filesystem::exists(directory / "config.json") && !name.starts_with("recipe") &&
         !name.starts_with("preprocess") && !name.starts_with("mobilevit") &&
         !name.starts_with("efficientformer");
}

TEST(ImportGoldens, EveryTextCaseOpens) {
  if (!std::filesystem::exists(Goldens())) GTEST_SKIP() << "no goldens at " << Goldens();
  size_t cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(Goldens())) {
    if (!IsTextCase(entry.path())) continue;
    ++cases;
    SCOPED_TRACE(entry.path().filename().string());
    const Result<HuggingFaceImport> import = ImportHuggingFace(entry.path().string());
    ASSERT_TRUE(import) << import.error().message();
    const std::string name = entry.path().filename().string();
    const bool has_tokenizer = !name.starts_with("roberta") && !name.starts_with("albert");
    EXPECT_EQ(import->model.tokenizer.kind,
              has_tokenizer ? TokenizerKind::kWordPiece : TokenizerKind::kNone);
    EXPECT_EQ(import->model.graph.max_sequence_length, 64);
    EXPECT_THAT(import->warnings, IsEmpty());
    EXPECT_EQ(import->model.tokenizer.mask_id >= 0, has_tokenizer);
  }
  EXPECT_GE(cases, 20u);
}

TEST(ImportGoldens, VocabularyAndTokenizerJsonSayTheSame) {
  if (!std::filesystem::exists(Goldens())) GTEST_SKIP() << "no goldens at " << Goldens();
  const std::filesystem::path from = Goldens() / "bert_seqcls";
  const std::filesystem::path to = ::testing::TempDir() + "/thimble_import_vocabulary_only";
  std::filesystem::remove_all(to);
  std::filesystem::create_directory(to);
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    if (entry.path().filename() == "tokenizer.json") continue;
    std::filesystem::create_symlink(entry.path(), to / entry.path().filename());
  }
  const Result<HuggingFaceImport> json = ImportHuggingFace(from.string());
  const Result<HuggingFaceImport> vocabulary = ImportHuggingFace(to.string());
  ASSERT_TRUE(json && vocabulary);
  EXPECT_EQ(json->model.tokenizer, vocabulary->model.tokenizer);
  std::filesystem::remove_all(to);
}

}  // namespace
}  // namespace thimble
