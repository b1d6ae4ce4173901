// Exported files of small random models of every architecture: what is in them, and that LiteRT computes
// what the graph's own reference does where Node and the npm package are at hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/judged.h"
#include "tests/tflite/random_models.h"
#include "thimble/formats/tflite/export.h"
#include "thimble/formats/tflite/tflite_generated.h"
#include "thimble/formats/tflite/tflite_import.h"
#include "thimble/formats/tflite/tflite_metadata_generated.h"
#include "thimble/formats/thimble/example_model.h"
#include "thimble/formats/torch/zip.h"
#include "thimble/graph/block_sparse.h"
#include "thimble/graph/panels.h"
#include "thimble/passes/passes.h"
#include "thimble/passes/weights_by_group.h"

namespace thimble {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int32_t kVocabulary = 23;
constexpr int32_t kLength = 13;  // of sequences in recordings

struct Case {
  const char* name;
  json config;
  std::vector<Task> tasks;
};

const std::vector<Task> kAllHeads = {Task::kFeatures,   Task::kSingleLabel, Task::kMultiLabel,
                                     Task::kRegression, Task::kTokenLabels, Task::kAnswers,
                                     Task::kMaskedLm};

std::vector<Case> Cases() {
  std::vector<Task> with_pretraining = kAllHeads;
  with_pretraining.push_back(Task::kPretraining);
  return {
      {"bert", {{"model_type", "bert"}}, with_pretraining},
      {"bert_gelu_new", {{"model_type", "bert"}, {"hidden_act", "gelu_new"}}, {Task::kSingleLabel}},
      {"roberta", {{"model_type", "roberta"}}, kAllHeads},
      {"albert", {{"model_type", "albert"}, {"num_hidden_groups", 2}}, kAllHeads},
      {"distilbert", {{"model_type", "distilbert"}}, kAllHeads},
      {"mobilebert", {{"model_type", "mobilebert"}}, with_pretraining},
      {"mobilebert_layer_norm",
       {{"model_type", "mobilebert"},
        {"normalization_type", "layer_norm"},
        {"use_bottleneck_attention", true},
        {"trigram_input", false},
        {"num_feedforward_networks", 1}},
       {Task::kSingleLabel}},
      {"universal_sentence_encoder",
       {{"model_type", "universal_sentence_encoder"}},
       {Task::kFeatures}},
  };
}

const tfl::Model& Parse(const std::string& file) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(file.data()), file.size());
  EXPECT_TRUE(tfl::VerifyModelBuffer(verifier));
  return *tfl::GetModel(file.data());
}

std::vector<std::string> TensorNames(const tfl::Model& model,
                                     const flatbuffers::Vector<int32_t>& ids) {
  std::vector<std::string> names;
  for (const int32_t id : ids) {
    names.push_back(
        model.subgraphs()->Get(0)->tensors()->Get(static_cast<uint32_t>(id))->name()->str());
  }
  return names;
}

std::vector<std::string> OutputNames(const Model& model, const TfliteOptions& options) {
  const std::string file = *SerializeTflite(model, options);
  const tfl::Model& parsed = Parse(file);
  return TensorNames(parsed, *parsed.subgraphs()->Get(0)->outputs());
}

Model Classifier() { return RandomModel({{"model_type", "bert"}}, Task::kSingleLabel); }

// What the reference gives for the recordings' ids.
std::map<std::string, TfliteRange> RangesOf(Graph graph) {
  const std::vector<ValueId> values = TfliteRangesFor(graph);
  std::vector<std::string> names;
  graph.outputs.clear();
  for (const ValueId id : values) {
    names.push_back(graph.value(id).name);
    graph.outputs.push_back({names.back(), id});
  }
  const IdBatch batch = RandomIds(4, kLength, kVocabulary);
  const std::vector<int32_t> offsets = {0, kLength, 2 * kLength, 3 * kLength, 4 * kLength};
  const std::vector<std::span<const int32_t>> inputs =
      graph.inputs.size() > 1 ? std::vector<std::span<const int32_t>>{batch.ids, batch.types}
                              : std::vector<std::span<const int32_t>>{batch.ids};
  const std::vector<std::string_view> views(names.begin(), names.end());
  const auto run = RunReference(graph, {offsets, batch.mask}, inputs, views);
  EXPECT_TRUE(run.has_value()) << run.error().message();
  std::map<std::string, TfliteRange> ranges;
  for (size_t i = 0; i < names.size(); ++i) {
    const auto [least, most] =
        std::minmax_element((*run)[i].floats.begin(), (*run)[i].floats.end());
    ranges[names[i]] = {*least, *most};
  }
  return ranges;
}

// Logits of the recordings' ids, by the reference.
std::vector<float> Logits(const Graph& graph) {
  const IdBatch batch = RandomIds(2, kLength, kVocabulary);
  const std::vector<int32_t> offsets = {0, kLength, 2 * kLength};
  std::vector<std::span<const int32_t>> inputs = {batch.ids};
  if (graph.inputs.size() > 1) inputs.push_back(batch.types);
  const std::string_view name = "logits";
  const auto run = RunReference(graph, {offsets, batch.mask}, inputs, {&name, 1});
  EXPECT_TRUE(run.has_value()) << run.error().message();
  return run.has_value() ? (*run)[0].floats : std::vector<float>();
}

// --- What is written can be read

TEST(Tflite, ComesBackThroughImport) {
  for (const Case& c : Cases()) {
    for (const Task task : {Task::kSingleLabel, Task::kTokenLabels}) {
      if (std::find(c.tasks.begin(), c.tasks.end(), task) == c.tasks.end()) continue;
      for (const char* pass : {"weights_to_f32", "weights_to_f16", "weights_to_int8"}) {
        SCOPED_TRACE(std::string(c.name) + ", " + std::string(TaskName(task)) + ", " + pass);
        Model model = RandomModel(c.config, task);
        model.graph = *RunPass(*FindPass(pass), model.graph);
        for (const bool free_length : {false, true}) {
          SCOPED_TRACE(free_length ? "of free length" : "of one length");
          const TfliteOptions options{.sequence = free_length ? 0 : kLength,
                                      .resizable = free_length};
          const std::string file = *SerializeTflite(model, options);
          const Tensor aligned = Tensor::Copy(DType::kU8, {static_cast<int64_t>(file.size())},
                                              std::as_bytes(std::span(file)));
          const auto import = ImportTflite({aligned.data().data(), file.size()});
          ASSERT_TRUE(import.has_value()) << import.error().message();
          EXPECT_EQ(import->model.task, task);
          if (free_length) {
            EXPECT_EQ(import->model.graph.max_sequence_length, model.graph.max_sequence_length);
          }
          const std::vector<float> want = Logits(model.graph), got = Logits(import->model.graph);
          ASSERT_EQ(got.size(), want.size());
          for (size_t i = 0; i < want.size(); ++i) {
            ASSERT_NEAR(got[i], want[i], 2e-5 * (1 + std::abs(want[i]))) << i;
          }
        }
      }
    }
  }
}

// --- What is in the files

TEST(Tflite, HasTheInputsOfTaskLibrariesAndWhatTheTaskReads) {
  const std::string file = *SerializeTflite(Classifier(), {.sequence = 12});
  const tfl::Model& model = Parse(file);
  const tfl::SubGraph& graph = *model.subgraphs()->Get(0);
  EXPECT_THAT(TensorNames(model, *graph.inputs()), ElementsAre("ids", "mask", "segment_ids"));
  const tfl::Tensor& ids = *graph.tensors()->Get(static_cast<uint32_t>(graph.inputs()->Get(1)));
  EXPECT_EQ(ids.type(), tfl::TensorType::INT32);
  EXPECT_THAT(*ids.shape(), ElementsAre(1, 12));
  EXPECT_EQ(ids.shape_signature(), nullptr);
  EXPECT_THAT(TensorNames(model, *graph.outputs()), ElementsAre("logits"));
}

TEST(Tflite, NamesOutputsByTask) {
  EXPECT_THAT(OutputNames(Classifier(), {.logits = TfliteLogits::kScores}),
              ElementsAre("probability"));
  EXPECT_THAT(OutputNames(Classifier(), {.hidden = true}),
              testing::UnorderedElementsAre("logits", "last_hidden_state", "pooler_output"));
  EXPECT_THAT(OutputNames(RandomModel({{"model_type", "mobilebert"}}, Task::kAnswers), {}),
              ElementsAre("end_logits", "start_logits"));
}

TEST(Tflite, LeavesTheSequenceFree) {
  const std::string file = *SerializeTflite(Classifier(), {.resizable = true});
  const tfl::Model& model = Parse(file);
  const tfl::SubGraph& graph = *model.subgraphs()->Get(0);
  for (const int32_t id : *graph.inputs()) {
    const tfl::Tensor& tensor = *graph.tensors()->Get(static_cast<uint32_t>(id));
    EXPECT_THAT(*tensor.shape(), ElementsAre(1, 1));
    EXPECT_THAT(*tensor.shape_signature(), ElementsAre(1, -1));
  }
}

TEST(Tflite, ChoosesTheLengthByTheTask) {
  Model model = Classifier();
  EXPECT_EQ(TfliteSequence(model, {}), 40);  // the model's most
  model.graph.max_sequence_length = 512;
  EXPECT_EQ(TfliteSequence(model, {}), 128);
  model.task = Task::kAnswers;
  EXPECT_EQ(TfliteSequence(model, {}), 384);
  EXPECT_EQ(TfliteSequence(model, {.sequence = 7}), 7);
  EXPECT_EQ(TfliteSequence(model, {.resizable = true}), -1);
}

// TensorFlow Lite's specification: weights are symmetric, with a scale per output channel.
TEST(Tflite, QuantizesWeightsSymmetricallyPerChannel) {
  Model model = Classifier();
  model.graph = *RunPass(*FindPass("weights_to_int8"), model.graph);
  const std::string file = *SerializeTflite(model, {.sequence = 8});
  const tfl::Model& parsed = Parse(file);
  int matrices = 0;
  for (const tfl::Tensor* tensor : *parsed.subgraphs()->Get(0)->tensors()) {
    if (tensor->type() != tfl::TensorType::INT8 || tensor->quantization() == nullptr) continue;
    ++matrices;
    const auto rows = static_cast<uint32_t>(tensor->shape()->Get(0));
    ASSERT_EQ(tensor->quantization()->scale()->size(), rows);
    EXPECT_EQ(tensor->quantization()->quantized_dimension(), 0);
    for (uint32_t i = 0; i < rows; ++i) {
      EXPECT_GT(tensor->quantization()->scale()->Get(i), 0);
      EXPECT_EQ(tensor->quantization()->zero_point()->Get(i), 0);
    }
    for (const uint8_t code : *parsed.buffers()->Get(tensor->buffer())->data())
      EXPECT_NE(code, 0x80);
  }
  EXPECT_EQ(matrices, 2 * 6 + 1);  // of two layers, and the pooler's
}

TEST(Tflite, MultipliesIntegersWithinKnownRanges) {
  Model model = Classifier();
  model.graph = *RunPass(*FindPass("weights_to_int8"), model.graph);
  const std::string file = *SerializeTflite(
      model, {.sequence = 8, .ranges = RangesOf(model.graph), .int8_outputs = true});
  const tfl::Model& parsed = Parse(file);
  const auto& tensors = *parsed.subgraphs()->Get(0)->tensors();
  int products = 0;
  for (const tfl::Operator* op : *parsed.subgraphs()->Get(0)->operators()) {
    const auto code = parsed.operator_codes()->Get(op->opcode_index())->builtin_code();
    if (code != tfl::BuiltinOperator::FULLY_CONNECTED) continue;
    const auto tensor = [&](int32_t id) { return tensors.Get(static_cast<uint32_t>(id)); };
    const tfl::Tensor &x = *tensor(op->inputs()->Get(0)), &w = *tensor(op->inputs()->Get(1)),
                      &bias = *tensor(op->inputs()->Get(2)), &y = *tensor(op->outputs()->Get(0));
    if (w.type() != tfl::TensorType::INT8) continue;
    ++products;
    EXPECT_EQ(x.type(), tfl::TensorType::INT8);
    EXPECT_EQ(y.type(), tfl::TensorType::INT8);
    EXPECT_EQ(bias.type(), tfl::TensorType::INT32);
    for (uint32_t i = 0; i < bias.quantization()->scale()->size(); ++i) {
      EXPECT_FLOAT_EQ(bias.quantization()->scale()->Get(i),
                      x.quantization()->scale()->Get(0) * w.quantization()->scale()->Get(i));
    }
  }
  EXPECT_EQ(products, 2 * 6 + 1);
  const auto output = static_cast<uint32_t>(parsed.subgraphs()->Get(0)->outputs()->Get(0));
  EXPECT_EQ(tensors.Get(output)->type(), tfl::TensorType::INT8);
}

TEST(Tflite, StoresTiedWeightsOnce) {
  const Model model = RandomModel({{"model_type", "bert"}, {"vocab_size", 2000}}, Task::kMaskedLm);
  const size_t table_bytes = 2000 * 32 * sizeof(float);
  EXPECT_LT(SerializeTflite(model, {.sequence = 8})->size(), table_bytes * 3 / 2);
}

TEST(Tflite, WritesTheSameFileFromPanels) {
  for (const char* pass : {"weights_to_f32", "weights_to_f16", "weights_to_int8"}) {
    Model model = Classifier();
    model.graph = *RunPass(*FindPass(pass), model.graph);
    const std::string from_rows = *SerializeTflite(model);
    for (Node& node : model.graph.nodes) {
      if (node.op == OpKind::kLinear) node.weights[0].tensor = PackPanels(node.weights[0].tensor);
    }
    EXPECT_EQ(*SerializeTflite(model), from_rows) << pass;
  }
}

TEST(Tflite, CarriesVocabularyLabelsAndTokenizer) {
  Model model = Classifier();
  model.tokenizer.kind = TokenizerKind::kWordPiece;
  model.tokenizer.pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b"};
  model.tokenizer.unknown_id = 1, model.tokenizer.cls_id = 2, model.tokenizer.sep_id = 3;
  const std::string file = *SerializeTflite(model);
  const Result<ZipMembers> members = ReadZip(std::as_bytes(std::span(file)));
  ASSERT_TRUE(members.has_value()) << members.error().message();
  const auto text = [&](const char* name) {
    const ZipMember& member = members->at(name);
    EXPECT_TRUE(CheckCrc(member).has_value());
    return std::string(reinterpret_cast<const char*>(member.data.data()), member.data.size());
  };
  EXPECT_EQ(text("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n");
  EXPECT_EQ(text("labels.txt"), "a\nb\nc\n");

  const tfl::Model& parsed = Parse(file);
  const auto buffer_called = [&](std::string_view name) -> const flatbuffers::Vector<uint8_t>& {
    for (const tfl::Metadata* entry : *parsed.metadata()) {
      if (entry->name()->string_view() == name)
        return *parsed.buffers()->Get(entry->buffer())->data();
    }
    return *parsed.buffers()->Get(0)->data();
  };
  EXPECT_STREQ(reinterpret_cast<const char*>(buffer_called("min_runtime_version").data()), "2.9.0");
  const auto& bytes = buffer_called("TFLITE_METADATA");
  flatbuffers::Verifier verifier(bytes.data(), bytes.size());
  ASSERT_TRUE(tfl::VerifyModelMetadataBuffer(verifier));
  const tfl::SubGraphMetadata& graph =
      *tfl::GetModelMetadata(bytes.data())->subgraph_metadata()->Get(0);
  EXPECT_EQ(graph.input_tensor_metadata()->size(), 3u);
  EXPECT_EQ(graph.input_tensor_metadata()->Get(2)->name()->str(), "segment_ids");
  const tfl::TensorMetadata& output = *graph.output_tensor_metadata()->Get(0);
  EXPECT_EQ(output.name()->str(), "probability");
  EXPECT_EQ(output.associated_files()->Get(0)->name()->str(), "labels.txt");
  const auto* tokenizer = graph.input_process_units()->Get(0)->options_as_BertTokenizerOptions();
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_file()->Get(0)->name()->str(), "vocab.txt");
}

TEST(Tflite, DescribesNoTokenizerThatWouldGiveOtherIds) {
  Model model = Classifier();
  model.tokenizer.kind = TokenizerKind::kWordPiece;
  model.tokenizer.pieces = {"<pad>", "<unk>", "<s>", "</s>", "a"};
  model.tokenizer.unknown_id = 1, model.tokenizer.cls_id = 2, model.tokenizer.sep_id = 3;
  const std::string file = *SerializeTflite(model);
  EXPECT_FALSE(ReadZip(std::as_bytes(std::span(file)))->contains("vocab.txt"));
}

TEST(Tflite, RefusesWhatCannotBe) {
  const auto refusal = [](const Model& model, const TfliteOptions& options) {
    const Result<std::string> file = SerializeTflite(model, options);
    return file.has_value() ? "nothing" : file.error().message();
  };
  EXPECT_THAT(refusal(Classifier(), {.sequence = 41}), HasSubstr("at most 40"));
  EXPECT_THAT(refusal(Classifier(), {.batch = 0}), HasSubstr("at least one sequence"));
  EXPECT_THAT(refusal(Classifier(), {.batch = int64_t{1} << 28}), HasSubstr("2^31"));
  EXPECT_THAT(refusal(Classifier(), {.int8_outputs = true}), HasSubstr("calibration"));
  EXPECT_THAT(refusal(Classifier(), {.ranges = {{"x", {0, 1}}}}), HasSubstr("int8 weights"));
  EXPECT_THAT(refusal(RandomModel({{"model_type", "bert"}}, Task::kRegression),
                      {.logits = TfliteLogits::kScores}),
              HasSubstr("regression"));
}

// --- Against LiteRT

class JudgedTflite : public JudgedByLiteRt {
 protected:
  // Adds what to compare: the file of `exported` with what `reference` gives.
  void Add(const std::string& name, const Model& exported, const Model& reference,
           int32_t batch = 1, std::map<std::string, TfliteRange> ranges = {}) {
    const std::string file = folder_ + "/" + name + ".tflite",
                      recording = folder_ + "/" + name + ".safetensors";
    const Status written = ExportTflite(
        exported, file,
        {.sequence = kLength, .batch = batch, .hidden = true, .ranges = std::move(ranges)});
    ASSERT_TRUE(written.has_value()) << name << ": " << written.error().message();
    const Status recorded =
        WriteRecording(reference, RandomIds(4, kLength, kVocabulary), recording);
    ASSERT_TRUE(recorded.has_value()) << name << ": " << recorded.error().message();
    pairs_ += " " + file + " " + recording;
  }
  // Every architecture with every head; the graph through `pass`.
  void AddAll(const char* pass) {
    for (const Case& c : Cases()) {
      for (const Task task : c.tasks) {
        Model model = RandomModel(c.config, task);
        model.graph = *RunPass(*FindPass(pass), model.graph);
        Add(std::string(c.name) + "-" + std::string(TaskName(task)), model, model);
      }
    }
  }
  std::string pairs_;
};

TEST_F(JudgedTflite, AgreesInFloat32) {
  AddAll("weights_to_f32");
  const Model every = EveryOperation();
  Add("every_operation", every, every);
  Add("batch_of_two", every, every, 2);
  const Model roberta = RandomModel({{"model_type", "roberta"}}, Task::kSingleLabel);
  Add("roberta_batch_of_two", roberta, roberta, 2);
  EXPECT_TRUE(Agrees("--tolerance 1e-4" + pairs_));
}

// The reference widens the same float16 weights: no further rounding is allowed.
TEST_F(JudgedTflite, AgreesWithFloat16Weights) {
  AddAll("weights_to_f16");
  EXPECT_TRUE(Agrees("--tolerance 1e-4" + pairs_));
}

// Of the same int8 weights: LiteRT rounds activations to 8 bits, the reference does not.
TEST_F(JudgedTflite, ComesCloseInInt8) {
  AddAll("weights_to_int8");
  EXPECT_TRUE(Agrees("--tolerance 0.1 --agreement 0.99" + pairs_));
}

// Everything that is multiplied is codes, and the ranges are of the very numbers: an error of 1/255 of
// each range, through about ten products in a row.
TEST_F(JudgedTflite, ComesCloseInIntegers) {
  for (const Case& c : Cases()) {
    Model model = RandomModel(c.config, c.tasks[0]);
    model.graph = *RunPass(*FindPass("weights_to_int8"), model.graph);
    Add(c.name, model, model, 1, RangesOf(model.graph));
  }
  EXPECT_TRUE(Agrees("--tolerance 0.2" + pairs_));
}

// Heads and widths that differ from layer to layer, a block-sparse matrix, groups of int4.
TEST_F(JudgedTflite, TakesCompressedModels) {
  Model model = EveryOperation();
  const Model plain = model;
  for (Node& node : model.graph.nodes) {
    if (node.name == "widen") {
      node.weights[0].tensor = PackBlockSparse(node.weights[0].tensor.InLayout(Layout::kRowMajor));
    }
  }
  Add("block_sparse", model, plain);
  Model groups = Classifier();
  groups.graph = *WeightsByGroup(groups.graph, {DType::kI4Group, 16});
  Add("int4", groups, groups);
  // float16 holds the products of codes and scales to 11 bits.
  EXPECT_TRUE(Agrees("--tolerance 2e-3" + pairs_));
}

}  // namespace
}  // namespace thimble
