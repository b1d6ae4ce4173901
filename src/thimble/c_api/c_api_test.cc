// Every function and every error of thimble.h, as a program that links the library meets them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "thimble.h"
#include "thimble/base/result.h"
#include "thimble/c_api/boundary.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/runtime/decisions.h"
#include "thimble/runtime/test_models.h"

namespace thimble {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StrEq;

template <auto kFree>
struct Freed {
  template <class T>
  void operator()(T* handle) const {
    kFree(handle);
  }
};
using ModelHandle = std::unique_ptr<thimble_model, Freed<thimble_model_free>>;
using PredictorHandle = std::unique_ptr<thimble_predictor, Freed<thimble_predictor_free>>;
using ResultsHandle = std::unique_ptr<thimble_results, Freed<thimble_results_free>>;
using TokensHandle = std::unique_ptr<thimble_tokens, Freed<thimble_tokens_free>>;

std::string FileOf(const Model& model) {
  Result<std::string> file = SerializeThimble(model);
  EXPECT_TRUE(file.has_value()) << file.error().message();
  return *std::move(file);
}

ModelHandle Load(const std::string& file) {
  thimble_model* model = nullptr;
  EXPECT_EQ(thimble_model_load_bytes(file.data(), file.size(), THIMBLE_COPY, &model), THIMBLE_OK)
      << thimble_error();
  return ModelHandle(model);
}

ModelHandle Load(Task task, int64_t outputs) { return Load(FileOf(TestModel(task, outputs))); }

PredictorHandle Create(const ModelHandle& model, thimble_options options = {}) {
  options.struct_size = sizeof(options);
  thimble_predictor* predictor = nullptr;
  EXPECT_EQ(thimble_predictor_create(model.get(), &options, &predictor), THIMBLE_OK)
      << thimble_error();
  return PredictorHandle(predictor);
}

ResultsHandle Predict(const PredictorHandle& predictor, const char* text,
                      const char* pair = nullptr) {
  thimble_results* results = nullptr;
  EXPECT_EQ(thimble_predict_text(predictor.get(), text, pair, &results), THIMBLE_OK)
      << thimble_error();
  return ResultsHandle(results);
}

thimble_input TextInput(std::string_view text) {
  thimble_input input{};
  input.struct_size = sizeof(input);
  input.text = text.data();
  input.text_size = text.size();
  return input;
}

template <class Struct>
Struct Sized() {
  Struct s{};
  s.struct_size = sizeof(s);
  return s;
}

// What the C++ library says, which the C interface must repeat.
Prediction Expected(Task task, int64_t outputs, PredictorInput input,
                    PredictorOptions options = {}) {
  const Model model = TestModel(task, outputs);
  Result<Predictor> predictor = Predictor::Create(model, std::move(options));
  return (*predictor->Predict({&input, 1}))[0];
}

// --- Version, errors, structures

TEST(CApi, NamesItsVersionAndInstructionSet) {
  EXPECT_EQ(thimble_version(), THIMBLE_VERSION);
  const std::string expected = std::to_string(THIMBLE_VERSION_MAJOR) + "." +
                               std::to_string(THIMBLE_VERSION_MINOR) + "." +
                               std::to_string(THIMBLE_VERSION_PATCH);
  EXPECT_EQ(thimble_version_text(), expected);
  EXPECT_EQ(thimble_instruction_set(), BestKernels().name);
}

TEST(CApi, ErrorsBelongToTheirThread) {
  thimble_model* model = nullptr;
  EXPECT_EQ(thimble_model_load("/no/such/file", &model), THIMBLE_NOT_FOUND);
  EXPECT_THAT(thimble_error(), HasSubstr("/no/such/file"));
  std::thread([] { EXPECT_STREQ(thimble_error(), ""); }).join();
  EXPECT_THAT(thimble_error(), HasSubstr("/no/such/file"));
}

TEST(CApi, CutsLongErrorsBetweenCharacters) {
  std::string path = "/x";
  while (path.size() < 3000) path += "\xC3\xA9";
  thimble_model* model = nullptr;
  EXPECT_NE(thimble_model_load(path.c_str(), &model), THIMBLE_OK);
  const std::string text = thimble_error();
  EXPECT_EQ(text.size(), 1022u) << "1023 would be half a character";
  EXPECT_EQ(text.back(), '\xA9');
}

TEST(CApi, TranslatesEveryErrorCode) {
  using c_api::StatusOf;
  EXPECT_EQ(StatusOf(ErrorCode::kInvalidArgument), THIMBLE_INVALID_ARGUMENT);
  EXPECT_EQ(StatusOf(ErrorCode::kNotFound), THIMBLE_NOT_FOUND);
  EXPECT_EQ(StatusOf(ErrorCode::kIo), THIMBLE_IO);
  EXPECT_EQ(StatusOf(ErrorCode::kInvalidData), THIMBLE_INVALID_DATA);
  EXPECT_EQ(StatusOf(ErrorCode::kUnsupported), THIMBLE_UNSUPPORTED);
  EXPECT_EQ(StatusOf(ErrorCode::kResourceExhausted), THIMBLE_RESOURCE_EXHAUSTED);
  for (const auto code : {ErrorCode::kLimitNotMet, ErrorCode::kMismatch, ErrorCode::kInterrupted}) {
    EXPECT_EQ(StatusOf(code), THIMBLE_INTERNAL);
  }
}

TEST(CApi, LetsNoExceptionOut) {
  const auto thrown = [](const auto& exception) {
    return c_api::Guard([&]() -> Status { throw exception; });
  };
  EXPECT_EQ(thrown(std::bad_alloc()), THIMBLE_RESOURCE_EXHAUSTED);
  EXPECT_EQ(thrown(std::length_error("")), THIMBLE_RESOURCE_EXHAUSTED);
  EXPECT_EQ(thrown(std::system_error(EAGAIN, std::generic_category())), THIMBLE_RESOURCE_EXHAUSTED);
  EXPECT_EQ(thrown(7), THIMBLE_INTERNAL);
  EXPECT_STRNE(thimble_error(), "");
}

TEST(CApi, AnswersNothingAboutNothing) {
  EXPECT_EQ(thimble_model_task(nullptr), THIMBLE_FEATURES);
  EXPECT_EQ(thimble_model_architecture(nullptr), nullptr);
  EXPECT_EQ(thimble_model_label_count(nullptr), 0u);
  EXPECT_EQ(thimble_model_label(nullptr, 0), nullptr);
  EXPECT_EQ(thimble_model_max_tokens(nullptr), 0u);
  EXPECT_EQ(thimble_model_reads_text(nullptr), 0);
  EXPECT_EQ(thimble_model_output_count(nullptr), 0u);
  EXPECT_EQ(thimble_model_output_name(nullptr, 0), nullptr);
  EXPECT_EQ(thimble_tokens_count(nullptr), 0u);
  EXPECT_EQ(thimble_tokens_ids(nullptr), nullptr);
  EXPECT_EQ(thimble_tokens_types(nullptr), nullptr);
  EXPECT_EQ(thimble_tokens_begin(nullptr, 0), 0u);
  EXPECT_EQ(thimble_tokens_end(nullptr, 0), 0u);
  EXPECT_EQ(thimble_results_count(nullptr), 0u);
  EXPECT_EQ(thimble_results_label_count(nullptr, 0), 0u);
  EXPECT_EQ(thimble_results_token_count(nullptr, 0), 0u);
  EXPECT_EQ(thimble_results_answer_count(nullptr, 0), 0u);
  EXPECT_EQ(thimble_results_masked_count(nullptr, 0), 0u);
  EXPECT_EQ(thimble_results_candidate_count(nullptr, 0, 0), 0u);
  size_t count = 7;
  EXPECT_EQ(thimble_results_scores(nullptr, 0, &count), nullptr);
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(thimble_results_embedding(nullptr, 0, nullptr), nullptr);
  thimble_model_free(nullptr);
  thimble_predictor_free(nullptr);
  thimble_tokens_free(nullptr);
  thimble_results_free(nullptr);
}

// Expects THIMBLE_INVALID_ARGUMENT with that text.
#define EXPECT_INVALID(call, text)                 \
  do {                                             \
    EXPECT_EQ((call), THIMBLE_INVALID_ARGUMENT);   \
    EXPECT_THAT(thimble_error(), HasSubstr(text)); \
  } while (false)

TEST(CApi, RefusesNullWhereItNeedsSomething) {
  const ModelHandle model = Load(Task::kSingleLabel, 3);
  const PredictorHandle predictor = Create(model);
  thimble_model* no_model = model.get();
  EXPECT_INVALID(thimble_model_load(nullptr, &no_model), "path");
  EXPECT_EQ(no_model, nullptr);
  EXPECT_INVALID(thimble_model_load("x", nullptr), "the place for the result is NULL");
  EXPECT_INVALID(thimble_model_load_bytes(nullptr, 1, THIMBLE_COPY, &no_model), "bytes");
  EXPECT_INVALID(thimble_adapter_load(nullptr, "x", &no_model), "base");
  EXPECT_INVALID(thimble_adapter_load(model.get(), nullptr, &no_model), "path");
  EXPECT_INVALID(thimble_adapter_load_bytes(nullptr, "x", 1, THIMBLE_COPY, &no_model), "base");
  EXPECT_INVALID(thimble_adapter_load_bytes(model.get(), nullptr, 1, THIMBLE_COPY, &no_model),
                 "bytes");
  thimble_predictor* no_predictor = nullptr;
  EXPECT_INVALID(thimble_predictor_create(nullptr, nullptr, &no_predictor), "model is NULL");
  EXPECT_INVALID(thimble_predictor_create(model.get(), nullptr, nullptr), "place");
  thimble_results* no_results = nullptr;
  const thimble_input input = TextInput("a film");
  EXPECT_INVALID(thimble_predict(nullptr, &input, 1, &no_results), "predictor is NULL");
  EXPECT_INVALID(thimble_predict(predictor.get(), nullptr, 1, &no_results), "inputs are NULL");
  EXPECT_INVALID(thimble_predict_text(predictor.get(), nullptr, nullptr, &no_results),
                 "text is NULL");
  EXPECT_INVALID(thimble_predict_text(nullptr, "a", nullptr, &no_results), "predictor is NULL");
  EXPECT_INVALID(thimble_predict_text(predictor.get(), "a", nullptr, nullptr), "place");
  thimble_tokens* no_tokens = nullptr;
  EXPECT_INVALID(thimble_tokenize(nullptr, &input, &no_tokens), "predictor is NULL");
  EXPECT_INVALID(thimble_tokenize(predictor.get(), nullptr, &no_tokens), "inputs are NULL");
  thimble_label label = Sized<thimble_label>();
  EXPECT_INVALID(thimble_results_label(nullptr, 0, 0, &label), "results are NULL");
  const ResultsHandle results = Predict(predictor, "a film");
  EXPECT_INVALID(thimble_results_label(results.get(), 0, 0, nullptr), "place");
  EXPECT_INVALID(thimble_results_reading(results.get(), 0, nullptr), "place");
}

// A structure as a later version of thimble.h may have it.
template <class Struct>
struct Longer {
  Struct known;
  size_t added;
};

TEST(CApi, StructuresOfOtherVersionsWork) {
  const ModelHandle model = Load(Task::kSingleLabel, 3);
  thimble_predictor* made = nullptr;
  Longer<thimble_options> options{};
  options.known.struct_size = sizeof(options);
  ASSERT_EQ(thimble_predictor_create(model.get(), &options.known, &made), THIMBLE_OK);
  const PredictorHandle predictor(made);
  options.added = 1;
  EXPECT_EQ(thimble_predictor_create(model.get(), &options.known, &made), THIMBLE_UNSUPPORTED);
  EXPECT_EQ(made, nullptr);
  EXPECT_THAT(thimble_error(), HasSubstr(thimble_version_text()));

  // An older caller has fewer members; what lies behind them is not looked at.
  thimble_options older{};
  older.struct_size = offsetof(thimble_options, max_tokens);
  older.output_count = 5;
  ASSERT_EQ(thimble_predictor_create(model.get(), &older, &made), THIMBLE_OK) << thimble_error();
  thimble_predictor_free(made);
  older.struct_size = 0;
  EXPECT_INVALID(thimble_predictor_create(model.get(), &older, &made), "struct_size");

  std::array<Longer<thimble_input>, 2> inputs{};
  for (auto& input : inputs) {
    input.known = TextInput("a fine film");
    input.known.struct_size = sizeof(input);
  }
  thimble_results* results = nullptr;
  ASSERT_EQ(thimble_predict(predictor.get(), &inputs[0].known, 2, &results), THIMBLE_OK);
  const ResultsHandle owner(results);
  EXPECT_EQ(thimble_results_count(results), 2u);

  Longer<thimble_label> label{};
  label.known.struct_size = sizeof(label);
  label.added = 9;
  ASSERT_EQ(thimble_results_label(results, 1, 0, &label.known), THIMBLE_OK);
  EXPECT_EQ(label.added, 0u);
  EXPECT_EQ(label.known.struct_size, sizeof(label));
  thimble_label short_label{};
  short_label.struct_size = offsetof(thimble_label, name);
  short_label.score = -1;
  ASSERT_EQ(thimble_results_label(results, 1, 0, &short_label), THIMBLE_OK);
  EXPECT_EQ(short_label.label, label.known.label);
  EXPECT_EQ(short_label.score, -1) << "behind what the caller has";
  short_label.struct_size = 0;
  EXPECT_INVALID(thimble_results_label(results, 1, 0, &short_label), "struct_size");

  inputs[1].known.struct_size = sizeof(thimble_input);
  EXPECT_INVALID(thimble_predict(predictor.get(), &inputs[0].known, 2, &results), "input 1");
}

// --- Models

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes)
      : path_(testing::TempDir() + "c_api_test_" + std::to_string(::getpid())) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const char* path() const { return path_.c_str(); }

 private:
  std::string path_;
};

TEST(CApi, LoadsModelsFromAFileAndFromBytes) {
  const std::string file = FileOf(TestModel(Task::kTokenLabels, 5));
  const TemporaryFile on_disk(file);
  thimble_model* model = nullptr;
  ASSERT_EQ(thimble_model_load(on_disk.path(), &model), THIMBLE_OK) << thimble_error();
  const ModelHandle mapped(model);
  // Bytes at an odd address are copied, and need not live on.
  auto odd = std::make_unique<std::string>("x" + file);
  ASSERT_EQ(thimble_model_load_bytes(odd->data() + 1, file.size(), THIMBLE_COPY, &model),
            THIMBLE_OK);
  const ModelHandle copied(model);
  odd.reset();
  const size_t room = (file.size() + 63) / 64 * 64;
  const std::unique_ptr<void, decltype(&std::free)> place(std::aligned_alloc(64, room + 64),
                                                          &std::free);
  std::memcpy(place.get(), file.data(), file.size());
  ASSERT_EQ(thimble_model_load_bytes(place.get(), file.size(), THIMBLE_IN_PLACE, &model),
            THIMBLE_OK);
  const ModelHandle in_place(model);
  for (const ModelHandle* handle : {&mapped, &copied, &in_place}) {
    const thimble_model* m = handle->get();
    EXPECT_EQ(thimble_model_task(m), THIMBLE_TOKEN_LABELS);
    EXPECT_STREQ(thimble_model_architecture(m), "");
    ASSERT_EQ(thimble_model_label_count(m), 5u);
    EXPECT_STREQ(thimble_model_label(m, 4), "L4");
    EXPECT_EQ(thimble_model_label(m, 5), nullptr);
    EXPECT_EQ(thimble_model_max_tokens(m), 24u);
    EXPECT_EQ(thimble_model_reads_text(m), 1);
    ASSERT_EQ(thimble_model_output_count(m), 2u);
    EXPECT_STREQ(thimble_model_output_name(m, 1), "logits");
    EXPECT_EQ(thimble_model_output_name(m, 2), nullptr);
    EXPECT_EQ(thimble_results_token_count(Predict(Create(*handle), "a fine film").get(), 0), 3u);
  }
}

TEST(CApi, SaysWhatIsWrongWithAFile) {
  std::string file = FileOf(TestModel(Task::kSingleLabel, 3));
  thimble_model* model = nullptr;
  EXPECT_EQ(thimble_model_load_bytes("nonsense", 8, THIMBLE_COPY, &model), THIMBLE_INVALID_DATA);
  EXPECT_THAT(thimble_error(), HasSubstr("is not a .thimble file"));
  EXPECT_EQ(thimble_model_load_bytes("", 0, THIMBLE_COPY, &model), THIMBLE_INVALID_DATA);
  EXPECT_EQ(thimble_model_load_bytes(file.data(), file.size() - 1, THIMBLE_COPY, &model),
            THIMBLE_INVALID_DATA);
  alignas(64) std::array<char, 128> place{};
  EXPECT_INVALID(thimble_model_load_bytes(&place[1], 64, THIMBLE_IN_PLACE, &model),
                 "multiple of 64");
  EXPECT_EQ(thimble_model_load(testing::TempDir().c_str(), &model), THIMBLE_IO);
  file[16] = static_cast<char>(file[16] ^ 1);
  EXPECT_NE(thimble_model_load_bytes(file.data(), file.size(), THIMBLE_COPY, &model), THIMBLE_OK);
  EXPECT_EQ(model, nullptr);
}

TEST(CApi, NamesEveryTask) {
  const std::pair<Task, thimble_task> tasks[] = {
      {Task::kFeatures, THIMBLE_FEATURES},        {Task::kSingleLabel, THIMBLE_SINGLE_LABEL},
      {Task::kMultiLabel, THIMBLE_MULTI_LABEL},   {Task::kRegression, THIMBLE_REGRESSION},
      {Task::kTokenLabels, THIMBLE_TOKEN_LABELS}, {Task::kAnswers, THIMBLE_ANSWERS},
      {Task::kMaskedLm, THIMBLE_MASKED_LM},       {Task::kPretraining, THIMBLE_PRETRAINING}};
  for (const auto& [task, expected] : tasks) {
    const ModelHandle model = Load(task, 2);
    EXPECT_EQ(thimble_model_task(model.get()), expected);
    const bool labels = task == Task::kSingleLabel || task == Task::kMultiLabel ||
                        task == Task::kRegression || task == Task::kTokenLabels;
    EXPECT_EQ(thimble_model_label_count(model.get()), labels ? 2u : 0u) << TaskName(task);
  }
}

TEST(CApi, NamesLabelsThatTheModelDoesNot) {
  Model unnamed = TestModel(Task::kSingleLabel, 2);
  unnamed.labels.clear();
  EXPECT_STREQ(thimble_model_label(Load(FileOf(unnamed)).get(), 1), "LABEL_1");
}

TEST(CApi, AnAdapterOutlivesItsBase) {
  const std::string base_file = FileOf(TestModel(Task::kSingleLabel, 2));
  ModelHandle base = Load(base_file);
  const auto bytes = Tensor::Copy(DType::kU8, {static_cast<int64_t>(base_file.size())},
                                  std::as_bytes(std::span(base_file)));
  const Model read = *ParseThimble(bytes.data(), nullptr);
  Model changed = read;
  changed.graph.nodes.back().weights[1].tensor =
      Tensor::FromFloats({2}, std::vector<float>{100, 0});
  const std::string adapter = *SerializeAdapter(changed, read);
  const TemporaryFile on_disk(adapter);
  thimble_model* made = nullptr;
  ASSERT_EQ(thimble_adapter_load(base.get(), on_disk.path(), &made), THIMBLE_OK) << thimble_error();
  const ModelHandle from_file(made);
  ASSERT_EQ(
      thimble_adapter_load_bytes(base.get(), adapter.data(), adapter.size(), THIMBLE_COPY, &made),
      THIMBLE_OK);
  const ModelHandle from_bytes(made);
  EXPECT_EQ(thimble_adapter_load_bytes(Load(Task::kSingleLabel, 3).get(), adapter.data(),
                                       adapter.size(), THIMBLE_COPY, &made),
            THIMBLE_INVALID_DATA);
  EXPECT_THAT(thimble_error(), HasSubstr("another base"));
  base.reset();
  for (const ModelHandle* model : {&from_file, &from_bytes}) {
    const ResultsHandle results = Predict(Create(*model), "a film");
    EXPECT_NEAR(thimble_results_scores(results.get(), 0, nullptr)[0], 1.0f, 1e-6f);
  }
}

// --- Predictors

TEST(CApi, RefusesOptionsOutOfRange) {
  const ModelHandle model = Load(Task::kSingleLabel, 3);
  thimble_predictor* predictor = nullptr;
  auto options = Sized<thimble_options>();
  options.threads = 1025;
  EXPECT_INVALID(thimble_predictor_create(model.get(), &options, &predictor), "threads is 1025");
  options.threads = -1;
  EXPECT_INVALID(thimble_predictor_create(model.get(), &options, &predictor), "threads is -1");
  options.threads = 0;
  options.output_count = 1;
  EXPECT_INVALID(thimble_predictor_create(model.get(), &options, &predictor), "outputs is NULL");
  const char* names[] = {nullptr};
  options.outputs = names;
  EXPECT_INVALID(thimble_predictor_create(model.get(), &options, &predictor), "name in outputs");
  names[0] = "nothing";
  EXPECT_NE(thimble_predictor_create(model.get(), &options, &predictor), THIMBLE_OK);
  EXPECT_THAT(thimble_error(), HasSubstr("nothing"));
}

TEST(CApi, GivesOneLabelOfSeveral) {
  ModelHandle model = Load(Task::kSingleLabel, 3);
  const char* const names[] = {"logits", "last_hidden_state"};
  PredictorHandle predictor = Create(model, {.threads = 2, .outputs = names, .output_count = 2});
  const ResultsHandle results = Predict(predictor, "a fine film");
  // Results need neither.
  model.reset();
  predictor.reset();
  const Prediction expected =
      Expected(Task::kSingleLabel, 3, {.text = "a fine film"}, {.raw_outputs = {"logits"}});
  size_t count = 0;
  const float* scores = thimble_results_scores(results.get(), 0, &count);
  EXPECT_EQ(std::vector<float>(scores, scores + count), expected.scores);
  ASSERT_EQ(thimble_results_label_count(results.get(), 0), 1u);
  auto label = Sized<thimble_label>();
  ASSERT_EQ(thimble_results_label(results.get(), 0, 0, &label), THIMBLE_OK);
  EXPECT_EQ(label.score, *std::max_element(scores, scores + count));
  EXPECT_EQ(label.score, scores[label.label]);
  EXPECT_EQ(label.name, "L" + std::to_string(label.label));
  EXPECT_INVALID(thimble_results_label(results.get(), 0, 1, &label), "no label 1");
  EXPECT_INVALID(thimble_results_label(results.get(), 1, 0, &label), "no result 1");

  auto matrix = Sized<thimble_matrix>();
  ASSERT_EQ(thimble_results_output(results.get(), 0, 0, &matrix), THIMBLE_OK);
  EXPECT_EQ(matrix.rows, 1u);
  EXPECT_EQ(std::vector<float>(matrix.values, matrix.values + matrix.width),
            expected.raw[0].values);
  ASSERT_EQ(thimble_results_output(results.get(), 0, 1, &matrix), THIMBLE_OK);
  EXPECT_EQ(matrix.rows, 5u);
  EXPECT_EQ(matrix.width, 16u);
  EXPECT_INVALID(thimble_results_output(results.get(), 0, 2, &matrix), "no output 2");

  auto reading = Sized<thimble_reading>();
  ASSERT_EQ(thimble_results_reading(results.get(), 0, &reading), THIMBLE_OK);
  EXPECT_EQ(reading.tokens, 5u);
  EXPECT_EQ(reading.truncated_tokens, 0u);
  EXPECT_INVALID(thimble_results_reading(results.get(), 1, &reading), "no result 1");
  // What other tasks have, this one has not.
  EXPECT_EQ(thimble_results_token_count(results.get(), 0), 0u);
  EXPECT_EQ(thimble_results_answer_count(results.get(), 0), 0u);
  EXPECT_EQ(thimble_results_embedding(results.get(), 0, &count), nullptr);
}

TEST(CApi, GivesTheLabelsThatReachTheirThresholds) {
  Model with_thresholds = TestModel(Task::kMultiLabel, 3);
  with_thresholds.thresholds = {0.0f, 1.1f, 0.0f};
  const ResultsHandle results = Predict(Create(Load(FileOf(with_thresholds))), "a fine film");
  ASSERT_EQ(thimble_results_label_count(results.get(), 0), 2u);
  auto label = Sized<thimble_label>();
  ASSERT_EQ(thimble_results_label(results.get(), 0, 1, &label), THIMBLE_OK);
  EXPECT_STREQ(label.name, "L2");
  size_t count = 0;
  thimble_results_scores(results.get(), 0, &count);
  EXPECT_EQ(count, 3u);
}

TEST(CApi, GivesValues) {
  const ResultsHandle results = Predict(Create(Load(Task::kRegression, 1)), "a film");
  const Prediction expected = Expected(Task::kRegression, 1, {.text = "a film"});
  EXPECT_EQ(thimble_results_scores(results.get(), 0, nullptr)[0], expected.scores[0]);
  EXPECT_EQ(thimble_results_label_count(results.get(), 0), 0u);
}

TEST(CApi, LabelsTokens) {
  const ResultsHandle results = Predict(Create(Load(Task::kTokenLabels, 5)), "A badly film");
  const Prediction expected = Expected(Task::kTokenLabels, 5, {.text = "A badly film"});
  ASSERT_EQ(thimble_results_token_count(results.get(), 0), 4u);
  auto token = Sized<thimble_token>();
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_EQ(thimble_results_token(results.get(), 0, i, &token), THIMBLE_OK);
    const TokenLabel& t = expected.tokens[i];
    EXPECT_EQ(token.token, i + 1);
    EXPECT_EQ(token.id, t.id);
    EXPECT_EQ(token.sequence, 0);
    EXPECT_EQ(token.begin, t.range.begin);
    EXPECT_EQ(token.end, t.range.end);
    EXPECT_EQ(token.label, t.best.label);
    EXPECT_EQ(token.name, "L" + std::to_string(t.best.label));
    EXPECT_EQ(token.score, t.best.score);
  }
  EXPECT_INVALID(thimble_results_token(results.get(), 0, 4, &token), "no token 4");
}

TEST(CApi, AnswersQuestions) {
  const ModelHandle model = Load(Task::kAnswers, 2);
  const char* question = "where is it?";
  const char* context = "it is in Paris.";
  const Prediction expected =
      Expected(Task::kAnswers, 2, {.text = question, .pair = context}, {.answers = 3});
  for (const int32_t no_answer : {0, 1}) {
    const ResultsHandle results =
        Predict(Create(model, {.no_answer = no_answer, .answers = 3}), question, context);
    std::vector<Answer> answers = expected.answers;
    const Answer best = DecidedAnswer(expected, no_answer != 0);
    if (best.end == 0) answers.insert(answers.begin(), best);
    ASSERT_EQ(thimble_results_answer_count(results.get(), 0), answers.size());
    auto answer = Sized<thimble_answer>();
    for (size_t i = 0; i < answers.size(); ++i) {
      ASSERT_EQ(thimble_results_answer(results.get(), 0, i, &answer), THIMBLE_OK);
      EXPECT_EQ(answer.begin, answers[i].begin);
      EXPECT_EQ(answer.end, answers[i].end);
      EXPECT_EQ(answer.score, answers[i].score);
    }
    EXPECT_INVALID(thimble_results_answer(results.get(), 0, answers.size(), &answer), "no answer");
  }
  thimble_results* none = nullptr;
  EXPECT_INVALID(thimble_predict_text(Create(model).get(), question, nullptr, &none),
                 "input 0: the model answers questions");
}

TEST(CApi, AnswersNothingFirstWhereTheModelPrefersThat) {
  Model model = TestModel(Task::kAnswers, 2);
  // Every start and end is as likely as the other: "no answer" ties, and a tie is no reason to be silent.
  model.graph.nodes.back().weights[0].tensor =
      Tensor::FromFloats({2, 16}, std::vector<float>(32, 0.0f));
  const auto first = [&] {
    const ResultsHandle results =
        Predict(Create(Load(FileOf(model)), {.no_answer = 1}), "where is it?", "in Paris");
    auto answer = Sized<thimble_answer>();
    EXPECT_EQ(thimble_results_answer(results.get(), 0, 0, &answer), THIMBLE_OK);
    return answer;
  };
  EXPECT_GT(first().end, 0u);
  // Towards [CLS], which stands where "no answer" does.
  std::vector<float> table = model.graph.nodes[0].weights[0].tensor.ToFloats();
  for (size_t c = 0; c < 16; ++c) table[2 * 16 + c] = 100;
  model.graph.nodes[0].weights[0].tensor = Tensor::FromFloats({17, 16}, table);
  model.graph.nodes.back().weights[0].tensor =
      Tensor::FromFloats({2, 16}, std::vector<float>(32, 1.0f));
  EXPECT_EQ(first().end, 0u);
  EXPECT_NEAR(first().score, 1.0f, 1e-6f);
}

TEST(CApi, ProposesTokensForMaskedOnes) {
  const char* text = "a [MASK] film";
  const ResultsHandle results = Predict(Create(Load(Task::kMaskedLm, 17)), text);
  const Prediction expected = Expected(Task::kMaskedLm, 17, {.text = text});
  ASSERT_EQ(thimble_results_masked_count(results.get(), 0), 1u);
  ASSERT_EQ(thimble_results_candidate_count(results.get(), 0, 0), 5u);
  EXPECT_EQ(thimble_results_candidate_count(results.get(), 0, 1), 0u);
  auto candidate = Sized<thimble_candidate>();
  for (size_t i = 0; i < 5; ++i) {
    ASSERT_EQ(thimble_results_candidate(results.get(), 0, 0, i, &candidate), THIMBLE_OK);
    EXPECT_EQ(candidate.token, 2u);
    EXPECT_EQ(candidate.id, expected.masked_tokens[0].candidates[i].id);
    EXPECT_EQ(candidate.score, expected.masked_tokens[0].candidates[i].score);
    EXPECT_EQ(candidate.piece, TestVocabulary().pieces[static_cast<size_t>(candidate.id)]);
  }
  EXPECT_INVALID(thimble_results_candidate(results.get(), 0, 0, 5, &candidate), "no candidate 5");
  EXPECT_INVALID(thimble_results_candidate(results.get(), 0, 1, 0, &candidate),
                 "no masked token 1");
}

TEST(CApi, EmbedsText) {
  const ResultsHandle results = Predict(Create(Load(Task::kFeatures, 0)), "a film");
  size_t count = 0;
  const float* embedding = thimble_results_embedding(results.get(), 0, &count);
  EXPECT_EQ(std::vector<float>(embedding, embedding + count),
            Expected(Task::kFeatures, 0, {.text = "a film"}).embedding);
}

TEST(CApi, RunsIds) {
  Model without_tokenizer = TestModel(Task::kSingleLabel, 3);
  without_tokenizer.tokenizer = {};
  const ModelHandle model = Load(FileOf(without_tokenizer));
  EXPECT_EQ(thimble_model_reads_text(model.get()), 0);
  const PredictorHandle predictor = Create(model);
  const std::array<int32_t, 4> ids = {2, 5, 6, 3}, types = {0, 0, 1, 1};
  const std::array<uint8_t, 4> mask = {1, 1, 1, 0};
  auto input = Sized<thimble_input>();
  input.ids = ids.data();
  input.types = types.data();
  input.mask = mask.data();
  input.id_count = 4;
  thimble_results* results = nullptr;
  ASSERT_EQ(thimble_predict(predictor.get(), &input, 1, &results), THIMBLE_OK) << thimble_error();
  const ResultsHandle owner(results);
  const Prediction expected = Expected(
      Task::kSingleLabel, 3, {.ids = {2, 5, 6, 3}, .type_ids = {0, 0, 1, 1}, .mask = {1, 1, 1, 0}});
  EXPECT_EQ(thimble_results_scores(results, 0, nullptr)[0], expected.scores[0]);

  thimble_results* none = nullptr;
  const int32_t unknown[] = {2, 99};
  input.ids = unknown;
  input.id_count = 2;
  EXPECT_INVALID(thimble_predict(predictor.get(), &input, 1, &none), "99");
  input.ids = nullptr;
  EXPECT_INVALID(thimble_predict(predictor.get(), &input, 1, &none), "ids is NULL");
  EXPECT_INVALID(thimble_predict_text(predictor.get(), "a film", nullptr, &none), "no tokenizer");
  thimble_tokens* tokens = nullptr;
  const thimble_input text = TextInput("a film");
  EXPECT_INVALID(thimble_tokenize(predictor.get(), &text, &tokens), "no tokenizer");
}

TEST(CApi, RunsBatches) {
  const PredictorHandle predictor = Create(Load(Task::kSingleLabel, 3));
  const std::string film = "a fine film";
  thimble_input inputs[] = {TextInput(film), TextInput(""), TextInput("bad \xFF")};
  inputs[1].text = nullptr;
  inputs[2].pair = film.data();
  inputs[2].pair_size = 1;
  thimble_results* results = nullptr;
  ASSERT_EQ(thimble_predict(predictor.get(), inputs, 3, &results), THIMBLE_OK) << thimble_error();
  const ResultsHandle owner(results);
  ASSERT_EQ(thimble_results_count(results), 3u);
  auto reading = Sized<thimble_reading>();
  std::vector<size_t> tokens, invalid;
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(thimble_results_reading(results, i, &reading), THIMBLE_OK);
    tokens.push_back(reading.tokens);
    invalid.push_back(reading.invalid_bytes);
  }
  EXPECT_THAT(tokens, ElementsAre(5, 2, 5));
  EXPECT_THAT(invalid, ElementsAre(0, 0, 1));
  EXPECT_EQ(thimble_results_scores(results, 0, nullptr)[0],
            thimble_results_scores(Predict(predictor, film.c_str()).get(), 0, nullptr)[0]);
  thimble_results* none = nullptr;
  ASSERT_EQ(thimble_predict(predictor.get(), nullptr, 0, &none), THIMBLE_OK);
  EXPECT_EQ(thimble_results_count(ResultsHandle(none).get()), 0u);
  inputs[1].text_size = 3;
  EXPECT_INVALID(thimble_predict(predictor.get(), inputs, 3, &none), "input 1: text is NULL");
}

TEST(CApi, Tokenizes) {
  const PredictorHandle predictor = Create(Load(Task::kSingleLabel, 3), {.max_tokens = 6});
  thimble_input input = TextInput("A badly");
  thimble_tokens* made = nullptr;
  ASSERT_EQ(thimble_tokenize(predictor.get(), &input, &made), THIMBLE_OK) << thimble_error();
  const TokensHandle tokens(made);
  ASSERT_EQ(thimble_tokens_count(made), 5u);
  const int32_t* ids = thimble_tokens_ids(made);
  EXPECT_THAT(std::vector<int32_t>(ids, ids + 5), ElementsAre(2, 5, 8, 9, 3));
  EXPECT_EQ(thimble_tokens_begin(made, 3), 5u);
  EXPECT_EQ(thimble_tokens_end(made, 3), 7u);
  EXPECT_EQ(thimble_tokens_end(made, 4), 0u) << "[SEP]";
  EXPECT_EQ(thimble_tokens_end(made, 5), 0u) << "there is none";

  input.pair = "fine film";
  input.pair_size = 9;
  ASSERT_EQ(thimble_tokenize(predictor.get(), &input, &made), THIMBLE_OK);
  const TokensHandle pair(made);
  ASSERT_EQ(thimble_tokens_count(made), 6u) << "cut to max_tokens";
  const int32_t* types = thimble_tokens_types(made);
  EXPECT_EQ(types[0], 0);
  EXPECT_EQ(types[5], 1);

  const int32_t id = 2;
  input.ids = &id;
  input.id_count = 1;
  EXPECT_INVALID(thimble_tokenize(predictor.get(), &input, &made), "token ids already");
  EXPECT_EQ(made, nullptr);
}

TEST(CApi, PredictorsOfSeveralThreadsShareAModel) {
  const ModelHandle model = Load(Task::kSingleLabel, 3);
  const float expected = Expected(Task::kSingleLabel, 3, {.text = "a fine film"}).scores[0];
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const PredictorHandle predictor = Create(model, {.threads = 2});
      for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(thimble_results_scores(Predict(predictor, "a fine film").get(), 0, nullptr)[0],
                  expected);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace thimble
