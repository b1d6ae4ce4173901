#include "thimble/formats/huggingface/head_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thimble {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<HeadConfig> Read(const char* json, const StoredTensors& tensors = {},
                        std::optional<Task> task = {}) {
  return ReadHeadConfig(*ParseJsonObject(json), tensors, task);
}

Task TaskOf(const char* json, const StoredTensors& tensors = {}) {
  const Result<HeadConfig> head = Read(json, tensors);
  EXPECT_TRUE(head) << json;
  return head ? head->task : Task::kFeatures;
}

std::string ErrorOfHead(const char* json, const StoredTensors& tensors = {}) {
  const Result<HeadConfig> head = Read(json, tensors);
  return head ? "accepted" : head.error().message();
}

TEST(HeadConfig, ArchitectureDecidesTheTask) {
  EXPECT_EQ(TaskOf(R"({"architectures":["BertForSequenceClassification"]})"), Task::kSingleLabel);
  EXPECT_EQ(TaskOf(R"({"architectures":["BertForTokenClassification"]})"), Task::kTokenLabels);
  EXPECT_EQ(TaskOf(R"({"architectures":["DistilBertForQuestionAnswering"]})"), Task::kAnswers);
  EXPECT_EQ(TaskOf(R"({"architectures":["BertForMaskedLM"]})"), Task::kMaskedLm);
  EXPECT_EQ(TaskOf(R"({"architectures":["MobileBertForPreTraining"]})"), Task::kPretraining);
  EXPECT_EQ(TaskOf(R"({"architectures":["BertModel"]})"), Task::kFeatures);
  EXPECT_THAT(ErrorOfHead(R"({"architectures":["BertLMHeadModel"]})"),
              HasSubstr("BertLMHeadModel"));
  EXPECT_THAT(ErrorOfHead(R"({"architectures":["BertForNextSentencePrediction"]})"),
              HasSubstr("BertForNextSentencePrediction"));
  EXPECT_THAT(ErrorOfHead(R"({"architectures":"BertModel"})"), HasSubstr("must be a list"));
  EXPECT_THAT(ErrorOfHead(R"({"architectures":[]})"), HasSubstr("must be a list"));
}

TEST(HeadConfig, WithoutArchitectureTheTensorsDecide) {
  EXPECT_EQ(TaskOf("{}"), Task::kFeatures);
  EXPECT_EQ(TaskOf("{}", {{"qa_outputs.weight", {}}}), Task::kAnswers);
  EXPECT_EQ(TaskOf("{}", {{"cls.predictions.bias", {}}}), Task::kMaskedLm);
  EXPECT_EQ(TaskOf("{}", {{"cls.predictions.bias", {}}, {"cls.seq_relationship.weight", {}}}),
            Task::kPretraining);
  EXPECT_THAT(ErrorOfHead("{}", {{"classifier.weight", {}}}), HasSubstr("names no architecture"));
}

TEST(HeadConfig, ProblemTypeDecidesAmongClassifiers) {
  const std::string start = R"({"architectures":["BertForSequenceClassification"],"problem_type":)";
  EXPECT_EQ(TaskOf((start + R"("regression"})").c_str()), Task::kRegression);
  EXPECT_EQ(TaskOf((start + R"("multi_label_classification"})").c_str()), Task::kMultiLabel);
  EXPECT_EQ(TaskOf((start + R"("single_label_classification"})").c_str()), Task::kSingleLabel);
  EXPECT_FALSE(
      Read((start + R"("single_label_classification"})").c_str())->one_label_is_regression);
  EXPECT_TRUE(Read((start + "null}").c_str())->one_label_is_regression);
  EXPECT_THAT(ErrorOfHead((start + R"("ranking"})").c_str()), HasSubstr("\"ranking\""));
  EXPECT_THAT(ErrorOfHead((start + "1}").c_str()), HasSubstr("must be a text"));
}

TEST(HeadConfig, LabelsComeInTheOrderOfTheirIds) {
  const Result<HeadConfig> head = Read(
      R"({"architectures":["BertForTokenClassification"],"num_labels":7,
          "id2label":{"10":"k","2":"c","0":"a","1":"b","3":"d","4":5,"5":"f","6":"g","7":"h","8":"i","9":"j"}})");
  ASSERT_TRUE(head) << head.error().message();
  EXPECT_THAT(head->label_names,
              ElementsAre("a", "b", "c", "d", "5", "f", "g", "h", "i", "j", "k"));
  EXPECT_EQ(head->labels, 11);
}

TEST(HeadConfig, CountOfLabels) {
  const std::string start = R"({"architectures":["BertForSequenceClassification"])";
  EXPECT_EQ(Read((start + "}").c_str())->labels, std::nullopt);
  EXPECT_EQ(Read((start + R"(,"num_labels":3})").c_str())->labels, 3);
  EXPECT_THAT(ErrorOfHead((start + R"(,"num_labels":-3})").c_str()), HasSubstr("\"num_labels\""));
  // Question answering always has its two outputs.
  EXPECT_EQ(Read(R"({"architectures":["BertForQuestionAnswering"],"num_labels":3})")->labels,
            std::nullopt);
}

TEST(HeadConfig, RefusesLabelsThatDoNotFitTogether) {
  const std::string start = R"({"architectures":["BertForTokenClassification"],"id2label":)";
  for (const char* labels :
       {R"({"0":"a","2":"b"})", R"({"0":"a","00":"b"})", R"({"x":"a"})", R"({"-1":"a"})", "{}",
        "[]", R"({"0":["a"]})", R"({"99999999999999999999":"a"})"}) {
    EXPECT_THAT(ErrorOfHead((start + labels + "}").c_str()), HasSubstr("\"id2label\"")) << labels;
  }
}

TEST(HeadConfig, CallerCanChooseTheTask) {
  const Result<HeadConfig> head =
      Read(R"({"architectures":["BertForMaskedLM"]})", {}, Task::kFeatures);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->task, Task::kFeatures);
}

}  // namespace
}  // namespace thimble
