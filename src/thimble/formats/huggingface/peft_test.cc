#include "thimble/formats/huggingface/peft.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "thimble/base/random.h"
#include "thimble/formats/safetensors/safetensors.h"
#include "thimble/models/architecture.h"
#include "thimble/passes/lora.h"

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensor Noise(const Shape& shape, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(*ElementCount(shape));
  for (float& v : values) v = static_cast<float>(random.Normal());
  return Tensor::FromFloats(shape, values);
}

class Invented final : public WeightSource {
 public:
  Result<Tensor> Get(std::string_view, const Shape& shape) override {
    Shape known = shape;
    for (int64_t& dim : known) dim = dim == -1 ? 3 : dim;
    return Noise(known, next_++);
  }
  bool Has(std::string_view) const override { return true; }

 private:
  uint64_t next_ = 1;
};

Model Base(Task task = Task::kFeatures) {
  const auto config = nlohmann::json::parse(
      R"({"model_type":"bert","hidden_size":8,"num_attention_heads":2,"num_hidden_layers":2,
          "intermediate_size":12,"vocab_size":6,"max_position_embeddings":16})");
  Invented weights;
  Model model;
  model.task = task;
  model.graph = *BuildGraph(config, {.task = task, .labels = 3}, weights);
  if (task == Task::kSingleLabel) model.labels = {"a", "b", "c"};
  return model;
}

class Peft : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "/thimble_peft_" +
            testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(path_);
    std::filesystem::create_directory(path_);
    for (int layer = 0; layer < 2; ++layer) {
      for (const char* role : {"query", "value"}) {
        const std::string name = "base_model.model.bert.encoder.layer." + std::to_string(layer) +
                                 ".attention.self." + role + ".lora_";
        tensors_.push_back({name + "A.weight", Noise({2, 8}, 50 + tensors_.size())});
        tensors_.push_back({name + "B.weight", Noise({8, 2}, 50 + tensors_.size())});
      }
    }
    Config(R"("r": 2, "lora_alpha": 6, "task_type": "SEQ_CLS")");
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  void Config(const std::string& keys) {
    std::ofstream(path_ + "/adapter_config.json")
        << R"({"peft_type": "LORA", "bias": "none", "rank_pattern": {}, )" << keys << "}";
  }
  void Head(const std::string& name, int64_t labels) {
    tensors_.push_back({"base_model.model." + name + ".weight", Noise({labels, 8}, 90)});
    tensors_.push_back({"base_model.model." + name + ".bias", Noise({labels}, 91)});
  }
  Result<Model> Import(const Model& base, std::optional<Task> task = std::nullopt) {
    const Status written = WriteSafetensors(path_ + "/adapter_model.safetensors", tensors_);
    EXPECT_TRUE(written.has_value());
    return ImportPeft(path_, base, task);
  }
  std::string ErrorOf(const Model& base) {
    const Result<Model> model = Import(base);
    return model.has_value() ? "no error" : model.error().message();
  }

  std::string path_;
  std::vector<NamedTensor> tensors_;
};

TEST_F(Peft, StandsBesideTheBase) {
  Head("classifier", 4);
  const Model base = Base();
  const Result<Model> model = Import(base);
  ASSERT_TRUE(model.has_value()) << model.error().message();
  EXPECT_EQ(model->task, Task::kSingleLabel);
  EXPECT_THAT(model->labels, ElementsAre("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"));
  ASSERT_EQ(FindLora(model->graph).size(), 4u);
  const auto weight = [&](const std::string& node) {
    return model->graph.FindNode(node)->weights[0].tensor.ToFloats();
  };
  EXPECT_EQ(weight("bert.encoder.layer.1.value.lora_A"), tensors_[6].tensor.ToFloats());
  std::vector<float> up = tensors_[7].tensor.ToFloats();
  for (float& v : up) v *= 3;  // alpha / rank
  EXPECT_EQ(weight("bert.encoder.layer.1.value.lora_B"), up);
  EXPECT_EQ(weight("classifier"), tensors_[8].tensor.ToFloats());
  EXPECT_TRUE(
      model->graph.FindNode("bert.encoder.layer.0.query")
          ->weights[0]
          .tensor.SameAs(base.graph.FindNode("bert.encoder.layer.0.query")->weights[0].tensor));
}

TEST_F(Peft, KeepsTheLabelsOfAHeadThatTheBaseHas) {
  Head("classifier", 3);
  const Result<Model> model = Import(Base(Task::kSingleLabel));
  ASSERT_TRUE(model.has_value()) << model.error().message();
  EXPECT_THAT(model->labels, ElementsAre("a", "b", "c"));
  EXPECT_EQ(model->graph.FindNode("classifier")->weights[1].tensor.ToFloats(),
            tensors_.back().tensor.ToFloats());
}

TEST_F(Peft, FindsModulesOfAModelWithoutItsFirstPart) {
  for (NamedTensor& t : tensors_) t.name.erase(t.name.find("bert."), 5);
  Config(R"("r": 2, "task_type": "FEATURE_EXTRACTION")");
  const Result<Model> model = Import(Base());
  ASSERT_TRUE(model.has_value()) << model.error().message();
  EXPECT_EQ(model->task, Task::kFeatures);
  EXPECT_EQ(FindLora(model->graph).size(), 4u);
  std::vector<float> up = tensors_[1].tensor.ToFloats();
  for (float& v : up) v *= 4;  // the library's default alpha is 8
  EXPECT_EQ(
      model->graph.FindNode("bert.encoder.layer.0.query.lora_B")->weights[0].tensor.ToFloats(), up);
}

TEST_F(Peft, TakesTheTaskThatIsAskedFor) {
  Head("classifier", 2);
  EXPECT_EQ(Import(Base(), Task::kMultiLabel)->task, Task::kMultiLabel);
  Config(R"("r": 2, "lora_alpha": 6, "task_type": "TOKEN_CLS")");
  EXPECT_EQ(Import(Base())->task, Task::kTokenLabels);
}

TEST_F(Peft, RefusesWhatWouldChangeTheAnswers) {
  const Model base = Base();
  for (const char* keys :
       {R"("r": 2, "use_dora": true)", R"("r": 2, "bias": "all")",
        R"("r": 2, "fan_in_fan_out": true)", R"("r": 2, "rank_pattern": {"query": 4})",
        R"("r": 2, "peft_type": "IA3")"}) {
    Config(keys);
    const Result<Model> model = Import(base);
    ASSERT_FALSE(model.has_value()) << keys;
    EXPECT_EQ(model.error().code(), ErrorCode::kUnsupported) << keys;
  }
}

TEST_F(Peft, SaysWhatIsMissing) {
  const Model base = Base();
  Config(R"("r": 3)");
  EXPECT_THAT(ErrorOf(base), HasSubstr("another size"));
  Config(R"("r": 2)");
  const NamedTensor last = tensors_.back();
  tensors_.pop_back();
  EXPECT_THAT(ErrorOf(base), HasSubstr("layer.1.value"));
  tensors_.push_back({"base_model.model.bert.encoder.layer.7.query.lora_A.weight", last.tensor});
  EXPECT_THAT(ErrorOf(base), HasSubstr("layer.7.query"));
  tensors_.back() = last;
  Head("classifier.dense", 8);
  EXPECT_THAT(ErrorOf(base), HasSubstr("head"));
  std::filesystem::remove(path_ + "/adapter_config.json");
  EXPECT_FALSE(IsPeft(path_));
  EXPECT_THAT(ErrorOf(base), HasSubstr("adapter_config.json"));
}

}  // namespace
}  // namespace thimble
