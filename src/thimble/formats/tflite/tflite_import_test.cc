// Small transformers in the styles of several converters, imported and compared with a plain evaluation of
// the file's operations.
#include "thimble/formats/tflite/tflite_import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "thimble/formats/tflite/test_tflite_interpreter.h"
#include "thimble/formats/tflite/test_tflite_models.h"
#include "thimble/passes/structures.h"

namespace thimble {
namespace {

using testing::HasSubstr;
using T = TestTransformer;

// Bytes that begin at a multiple of 16.
class Aligned {
 public:
  explicit Aligned(const std::string& bytes)
      : tensor_(Tensor::Copy(DType::kU8, {int64_t(bytes.size())},
                             std::as_bytes(std::span(bytes.data(), bytes.size())))) {}
  std::span<const std::byte> bytes() const { return tensor_.data(); }

 private:
  Tensor tensor_;
};

Result<TfliteImport> Import(const std::string& bytes, const TfliteImportOptions& options = {}) {
  const Aligned aligned(bytes);
  return ImportTflite(aligned.bytes(), options);
}

template <class T>
tfl::BuiltinOptionsUnion With(T options) {
  tfl::BuiltinOptionsUnion result;
  result.Set(std::move(options));
  return result;
}

struct Text {
  std::vector<int32_t> ids, types;
};

// What the file itself gives, padded to its length.
std::vector<TestArray> FileOutputs(const std::string& bytes, const T& t, const Text& text) {
  const Aligned aligned(bytes);
  const Result<TfliteFile> file = TfliteFile::Parse(aligned.bytes());
  const size_t length = t.open_length ? text.ids.size() : static_cast<size_t>(t.tokens);
  TestArray ids{{1, int64_t(length)}, std::vector<double>(length, 0.0)}, mask = ids, types = ids;
  for (size_t i = 0; i < text.ids.size(); ++i) {
    ids.values[i] = text.ids[i], types.values[i] = text.types[i], mask.values[i] = 1;
  }
  std::vector<TestArray> inputs = {ids};
  if (t.mask != T::Mask::kNone && t.mask != T::Mask::kFromIds) inputs.push_back(mask);
  if (t.types != T::Types::kNone) inputs.push_back(types);
  return InterpretTflite(*file, inputs);
}

// What the imported model gives for the text alone.
std::vector<float> OurLogits(const Model& model, const Text& text) {
  const std::vector<int32_t> offsets = {0, int32_t(text.ids.size())};
  std::vector<std::span<const int32_t>> inputs = {text.ids};
  if (model.graph.inputs.size() > 1) inputs.push_back(text.types);
  const std::string_view name = "logits";
  const auto values =
      RunReference(model.graph, {.offsets = offsets, .mask = {}}, inputs, {&name, 1});
  EXPECT_TRUE(values.has_value()) << values.error().message();
  return values.has_value() ? (*values)[0].floats : std::vector<float>();
}

void ApplyEnd(T::End end, std::vector<float>& logits, size_t width) {
  for (size_t r = 0; r < logits.size(); r += width) {
    float sum = 0;
    for (size_t i = r; i < r + width && end == T::End::kSoftmax; ++i) {
      sum += logits[i] = std::exp(logits[i]);
    }
    for (size_t i = r; i < r + width; ++i) {
      if (end == T::End::kSoftmax) logits[i] /= sum;
      if (end == T::End::kLogistic) logits[i] = 1 / (1 + std::exp(-logits[i]));
    }
  }
}

struct Style {
  const char* name;
  T transformer;
  Task task;
};
void PrintTo(const Style& style, std::ostream* out) { *out << style.name; }

class Styles : public testing::TestWithParam<Style> {};

TEST_P(Styles, GiveWhatTheFileGives) {
  const T& t = GetParam().transformer;
  const std::string bytes = t.Build();
  const Result<TfliteImport> import = Import(bytes);
  ASSERT_TRUE(import.has_value()) << import.error().message();
  const Model& model = import->model;
  EXPECT_EQ(model.task, GetParam().task);

  std::vector<Text> texts;
  const auto full = static_cast<int32_t>(t.tokens);
  for (const int32_t length : {full, full - 5, 2}) {
    if (length != full && t.mask == T::Mask::kNone) continue;
    Text text;
    for (int32_t i = 0; i < length; ++i) {
      text.ids.push_back(1 + (i * 7 + length) % (t.vocabulary - 1));
      text.types.push_back(t.types != T::Types::kNone && i > length / 2);
    }
    texts.push_back(std::move(text));
  }
  for (const Text& text : texts) {
    const std::vector<TestArray> theirs = FileOutputs(bytes, t, text);
    const bool answers = t.head == T::Head::kAnswers;
    const size_t width = answers ? 2 : static_cast<size_t>(t.labels);
    std::vector<float> ours = OurLogits(model, text);
    ApplyEnd(answers ? T::End::kNothing : t.end, ours, width);
    ASSERT_EQ(ours.size() % width, 0u);
    for (size_t i = 0; i < ours.size(); ++i) {
      // An answer's end stands first among the outputs.
      const double want = answers ? theirs[1 - i % 2].values[i / 2] : theirs[0].values[i];
      ASSERT_NEAR(ours[i], want, 2e-5 * (1 + std::abs(want)))
          << "element " << i << " of " << text.ids.size() << " tokens";
    }
  }
}

// What makes a model more than a list of operations: heads and columns that can be pruned in every layer.
TEST_P(Styles, AreRecognisedAsTransformers) {
  const T& t = GetParam().transformer;
  const Result<TfliteImport> import = Import(t.Build());
  ASSERT_TRUE(import.has_value()) << import.error().message();
  const Graph& graph = import->model.graph;
  size_t heads = 0, columns = 0;
  for (const Structure& s : FindStructures(graph)) {
    heads += s.kind == StructureKind::kHeads ? 1 + s.tied.size() : 0;
    columns += s.kind == StructureKind::kColumns ? 1 + s.tied.size() : 0;
    EXPECT_EQ(s.units, s.kind == StructureKind::kHeads ? t.heads : t.inner) << s.name;
    EXPECT_EQ(s.tied.empty(), !t.shared_layers);
  }
  EXPECT_EQ(heads, size_t(t.layers));
  EXPECT_EQ(columns, size_t(t.layers));
  const OpKind norm = t.norm == T::Norm::kNoNorm ? OpKind::kAffine : OpKind::kLayerNorm;
  const auto norms = std::count_if(graph.nodes.begin(), graph.nodes.end(),
                                   [&](const Node& node) { return node.op == norm; });
  EXPECT_EQ(norms, 1 + t.layers * (t.bottleneck ? 4 : 2));
  for (const Node& node : graph.nodes) {
    EXPECT_TRUE(node.op != OpKind::kAffine || norm == OpKind::kAffine) << node.name;
    if (node.op == OpKind::kLayerNorm) {
      EXPECT_EQ(std::get<LayerNormAttrs>(node.attrs).epsilon,
                t.norm == T::Norm::kFolded ? 1e-12 : 1e-5);
    }
  }
  EXPECT_NE(graph.FindNode("encoder.layer.1.attention.query"), nullptr);
  EXPECT_NE(graph.FindNode("embeddings.word_embeddings"), nullptr);
}

// Each option appears at least once.
INSTANTIATE_TEST_SUITE_P(
    Converters, Styles,
    testing::Values(Style{"Unrolled",
                          {.end = T::End::kLogistic, .weights = T::Weights::kCodes},
                          Task::kMultiLabel},
                    Style{"Einsum",
                          {.attention = T::Attention::kEinsum,
                           .norm = T::Norm::kDirect,
                           .gelu = T::Gelu::kTanhPieces,
                           .mask = T::Mask::kSubtracted},
                          Task::kSingleLabel},
                    Style{"MobileBert",
                          {.attention = T::Attention::kFusedQkv,
                           .norm = T::Norm::kNoNorm,
                           .gelu = T::Gelu::kRelu,
                           .types = T::Types::kOneHot,
                           .weights = T::Weights::kCodesPerRow,
                           .trigram = true,
                           .bottleneck = true,
                           .tokens = 8,
                           .width = 16},
                          Task::kSingleLabel},
                    Style{"DistilBert",
                          {.attention = T::Attention::kSeparateHeads,
                           .norm = T::Norm::kDirect,
                           .gelu = T::Gelu::kErfPieces,
                           .mask = T::Mask::kSelected,
                           .types = T::Types::kNone,
                           .end = T::End::kNothing},
                          Task::kSingleLabel},
                    Style{"Albert",
                          {.attention = T::Attention::kEinsum,
                           .gelu = T::Gelu::kTanhPieces,
                           .mask = T::Mask::kFromIds,
                           .head = T::Head::kTokens,
                           .shared_layers = true},
                          Task::kTokenLabels},
                    Style{"OpenLength",
                          {.attention = T::Attention::kFusedQkv,
                           .mask = T::Mask::kFromIds,
                           .head = T::Head::kAnswers,
                           .open_length = true},
                          Task::kAnswers},
                    Style{"Roberta",
                          {.attention = T::Attention::kEinsum,
                           .norm = T::Norm::kDirect,
                           .types = T::Types::kNone,
                           .head = T::Head::kTokens,
                           .counted_positions = true},
                          Task::kTokenLabels},
                    Style{"PreNorm",
                          {.attention = T::Attention::kEinsum,
                           .norm = T::Norm::kDirect,
                           .mask = T::Mask::kSelected,
                           .head = T::Head::kMean,
                           .weights = T::Weights::kHalf,
                           .pre_norm = true},
                          Task::kSingleLabel},
                    Style{
                        "Unmasked",
                        {.mask = T::Mask::kNone, .types = T::Types::kNone, .head = T::Head::kMean},
                        Task::kSingleLabel}),
    [](const auto& style) { return style.param.name; });

// A width that equals the number of tokens, 16 both, must not confuse one with the other: the default.
TEST(TfliteImport, KeepsCodesAndSaysWhatPaddingDoes) {
  const Result<TfliteImport> import = Import(
      T{.mask = T::Mask::kNone, .head = T::Head::kMean, .weights = T::Weights::kCodes}.Build());
  ASSERT_TRUE(import.has_value()) << import.error().message();
  const Node* query = import->model.graph.FindNode("encoder.layer.0.attention.query");
  ASSERT_NE(query, nullptr);
  EXPECT_EQ(query->weights[0].tensor.dtype(), DType::kI8);
  EXPECT_EQ(import->model.graph.FindNode("embeddings.word_embeddings")->weights[0].tensor.dtype(),
            DType::kI8);
  EXPECT_THAT(import->warnings, testing::Contains(HasSubstr("exactly 16 tokens")));
  EXPECT_EQ(import->model.graph.max_sequence_length, 16);
}

TEST(TfliteImport, TakesTheWholeTableOfPositionsOfAnOpenLength) {
  const Result<TfliteImport> import =
      Import(T{.attention = T::Attention::kFusedQkv, .mask = T::Mask::kFromIds, .open_length = true}
                 .Build());
  ASSERT_TRUE(import.has_value()) << import.error().message();
  EXPECT_EQ(import->model.graph.max_sequence_length, 40);
}

std::string Vocabulary(bool cased) {
  std::string text = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nfilm\ngood\nbad\n##ly\n";
  if (cased) text += "Film\n";
  return text;
}

TEST(TfliteImport, BringsVocabularyAndLabelsFromTheArchive) {
  for (const bool cased : {false, true}) {
    const Result<TfliteImport> import =
        Import(T().Build({{"labels.txt", "no\nyes\nmaybe\n"}, {"words.txt", Vocabulary(cased)}}));
    ASSERT_TRUE(import.has_value()) << import.error().message();
    EXPECT_THAT(import->model.labels, testing::ElementsAre("no", "yes", "maybe"));
    EXPECT_THAT(import->warnings, testing::IsEmpty());
    const TokenizerSpec& tokenizer = import->model.tokenizer;
    EXPECT_EQ(tokenizer.kind, TokenizerKind::kWordPiece);
    EXPECT_EQ(tokenizer.lower_case, !cased);
    EXPECT_EQ(tokenizer.cls_id, 2);
    EXPECT_EQ(tokenizer.model_max_length, 16);
  }
}

TEST(TfliteImport, NamesWhatIsMissing) {
  const Result<TfliteImport> import = Import(T().Build());
  ASSERT_TRUE(import.has_value()) << import.error().message();
  EXPECT_THAT(import->model.labels, testing::ElementsAre("LABEL_0", "LABEL_1", "LABEL_2"));
  EXPECT_THAT(import->warnings, testing::Contains(HasSubstr("--labels")));
  EXPECT_THAT(import->warnings, testing::Contains(HasSubstr("--vocab")));
}

TEST(TfliteImport, TakesTheTaskThatIsAskedFor) {
  const std::string bytes = T{.end = T::End::kNothing}.Build();
  EXPECT_EQ(Import(bytes, {.task = Task::kMultiLabel})->model.task, Task::kMultiLabel);
  const Result<TfliteImport> features = Import(bytes, {.task = Task::kFeatures});
  ASSERT_TRUE(features.has_value()) << features.error().message();
  EXPECT_EQ(features->model.graph.FindOutput("logits"), nullptr);
  EXPECT_NE(features->model.graph.FindOutput("pooler_output"), nullptr);
  EXPECT_THAT(Import(bytes, {.task = Task::kAnswers}).error().message(), HasSubstr("does not fit"));
}

std::string Refusal(const std::string& bytes) {
  const Result<TfliteImport> import = Import(bytes);
  return import.has_value() ? "none" : import.error().message();
}

TEST(TfliteImport, NamesEveryOperationThatItDoesNotRead) {
  TestTfliteFile f;
  const int ids = f.Input("ids", {1, 8});
  const int x =
      f.Op(tfl::BuiltinOperator::GATHER, {f.Floats({4, 2}, std::vector<float>(8, 1)), ids},
           With(tfl::GatherOptionsT()));
  const int y = f.Op(tfl::BuiltinOperator::SVDF, {x});
  f.Output(f.Custom("FlexWhatever", {y}));
  EXPECT_EQ(Refusal(f.Finish()),
            "uses operations that import does not read: CUSTOM FlexWhatever, SVDF");
}

// Positions of tokens are counted up, by one mask, and looked up as they are.
TEST(TfliteImport, RefusesToCountOtherwise) {
  enum class Count { kPlain, kDown, kFromZero, kOtherMask, kMovedFirst, kUnmasked };
  const auto counting = [](Count way) {
    using enum tfl::BuiltinOperator;
    TestTfliteFile f;
    const int ids = f.Input("ids", {1, 8});
    const int table = f.Floats({12, 2}, std::vector<float>(24, 1));
    const auto there = [&](int skipped) {
      return f.Op(CAST, {f.Op(NOT_EQUAL, {ids, f.Int(skipped)})}, With(tfl::CastOptionsT()));
    };
    tfl::CumsumOptionsT sum;
    sum.reverse = way == Count::kDown;
    sum.exclusive = way == Count::kFromZero;
    int places = f.Op(CUMSUM, {there(1), f.Int(1)}, With(std::move(sum)));
    if (way == Count::kMovedFirst) places = f.Op(ADD, {places, f.Int(1)}, With(tfl::AddOptionsT()));
    if (way != Count::kUnmasked) {
      const int mask = there(way == Count::kOtherMask ? 2 : 1);
      places = f.Op(MUL, {places, mask}, With(tfl::MulOptionsT()));
    }
    places = f.Op(ADD, {places, f.Int(1)}, With(tfl::AddOptionsT()));
    const int words = f.Op(GATHER, {table, ids}, With(tfl::GatherOptionsT()));
    const int positions = f.Op(GATHER, {table, places}, With(tfl::GatherOptionsT()));
    f.Output(f.Op(ADD, {words, positions}, With(tfl::AddOptionsT())));
    return Refusal(f.Finish());
  };
  EXPECT_EQ(counting(Count::kPlain), "none");
  EXPECT_THAT(counting(Count::kDown), HasSubstr("counts otherwise than up"));
  EXPECT_THAT(counting(Count::kFromZero), HasSubstr("counts otherwise than up"));
  EXPECT_THAT(counting(Count::kOtherMask), HasSubstr("computes with positions"));
  EXPECT_THAT(counting(Count::kMovedFirst), HasSubstr("computes with positions"));
  EXPECT_THAT(counting(Count::kUnmasked), HasSubstr("positions that it does not skip"));
}

// Sums of numbers that the file has, as a converter leaves them where the length is fixed.
TEST(TfliteImport, SumsUpConstants) {
  using enum tfl::BuiltinOperator;
  for (const bool exclusive : {false, true}) {
    for (const bool reverse : {false, true}) {
      TestTfliteFile f;
      const int ids = f.Input("ids", {1, 3});
      tfl::CumsumOptionsT sum;
      sum.exclusive = exclusive, sum.reverse = reverse;
      const int rows = f.Floats({3, 2}, {1, 10, 2, 20, 4, 40});
      const int sums = f.Op(CUMSUM, {rows, f.Int(0)}, With(std::move(sum)));
      const int table = f.Floats({5, 2}, std::vector<float>(10, 0));
      const int words = f.Op(GATHER, {table, ids}, With(tfl::GatherOptionsT()));
      f.Output(f.Op(ADD, {words, sums}, With(tfl::AddOptionsT())));
      const Result<TfliteImport> import = Import(f.Finish());
      ASSERT_TRUE(import.has_value()) << import.error().message();
      std::vector<float> want = {1, 10, 3, 30, 7, 70};
      if (exclusive) want = {0, 0, 1, 10, 3, 30};
      if (reverse) want = {7, 70, 6, 60, 4, 40};
      if (exclusive && reverse) want = {6, 60, 4, 40, 0, 0};
      EXPECT_EQ(OurLogits(import->model, {.ids = {0, 1, 2}, .types = {}}), want);
    }
  }
}

// What roles inputs have is looked at before anything is computed.
TEST(TfliteImport, TakesADepthThatIsComputed) {
  TestTfliteFile f;
  const int ids = f.Input("ids", {1, 8});
  const int depth = f.Op(tfl::BuiltinOperator::ABS, {f.Int(4)});
  tfl::OneHotOptionsT along;
  along.axis = -1;
  const int hot = f.Op(tfl::BuiltinOperator::ONE_HOT, {ids, depth, f.Float(1), f.Float(0)},
                       With(std::move(along)));
  f.Output(f.Op(tfl::BuiltinOperator::FULLY_CONNECTED,
                {hot, f.Floats({2, 4}, std::vector<float>(8, 1))},
                With(tfl::FullyConnectedOptionsT{})));
  EXPECT_EQ(Refusal(f.Finish()), "none");
}

TEST(TfliteImport, RefusesFilesThatLie) {
  const auto changed = [](auto change) {
    TestTfliteFile f;
    const int ids = f.Input("ids", {1, 8});
    const int table = f.Floats({4, 2}, std::vector<float>(8, 1));
    f.Output(f.Op(tfl::BuiltinOperator::GATHER, {table, ids}, With(tfl::GatherOptionsT())));
    change(f, table);
    return f.Finish();
  };
  EXPECT_EQ(Refusal(changed([](auto&, int) {})), "none");
  EXPECT_THAT(Refusal(changed([](auto& f, int) { f.graph().operators[0]->outputs = {0}; })),
              HasSubstr("has a value already"));
  EXPECT_THAT(Refusal(changed([](auto& f, int) { f.graph().operators[0]->inputs[0] = 2; })),
              HasSubstr("a cycle"));
  EXPECT_THAT(Refusal(changed([](auto& f, int) { f.graph().operators[0]->inputs[0] = 99; })),
              HasSubstr("not there"));
  EXPECT_THAT(Refusal(changed([](auto& f, int) { f.graph().operators[0]->opcode_index = 9; })),
              HasSubstr("not in the file"));
  EXPECT_THAT(Refusal(changed([](auto& f, int t) { f.graph().tensors[size_t(t)]->buffer = 77; })),
              HasSubstr("buffer 77 is not in the file"));
  EXPECT_THAT(Refusal(changed([](auto& f, int t) { f.graph().tensors[size_t(t)]->buffer = 0; })),
              HasSubstr("a constant without its bytes"));
  EXPECT_THAT(Refusal(changed([](auto& f, int t) {
                f.graph().tensors[size_t(t)]->shape = {1 << 30, 1 << 30, 1 << 30};
              })),
              HasSubstr("absurd shape"));
  EXPECT_THAT(Refusal(changed([](auto& f, int t) {
                f.graph().tensors[size_t(t)]->shape = {4, 3};
              })),
              HasSubstr("do not fit [4, 3] FLOAT32"));
  EXPECT_THAT(Refusal(changed([](auto& f, int t) {
                auto& buffer = *f.model().buffers[f.graph().tensors[size_t(t)]->buffer];
                buffer.data.clear(), buffer.offset = 1 << 30, buffer.size = 32;
              })),
              HasSubstr("reaches beyond the file"));
  EXPECT_THAT(Refusal(changed([](auto& f, int) { f.model().version = 4; })),
              HasSubstr("version 4"));
  EXPECT_THAT(Refusal(changed([](auto& f, int) {
                f.graph().tensors[0]->shape = {4, 8};
              })),
              HasSubstr("one sequence"));
  EXPECT_THAT(Refusal(changed([](auto& f, int) {
                f.graph().tensors[0]->shape = {1, 1 << 30};
              })),
              HasSubstr("no sequence of tokens"));
  EXPECT_EQ(Refusal("nothing of the kind"),
            "is not a TensorFlow Lite file (import reads these, .onnx files and directories)");
}

TEST(TfliteImport, RefusesArchivesThatLie) {
  const std::string whole = T().Build({{"labels.txt", "no\nyes\nmaybe\n"}});
  std::string damaged = whole;
  damaged[whole.rfind("maybe")] = 'M';
  EXPECT_THAT(Refusal(damaged), HasSubstr("checksum"));
  damaged = whole;
  damaged[whole.size() - 6] = char(0x7F);  // the offset of the directory
  EXPECT_THAT(Refusal(damaged), HasSubstr("associated files"));
}

// Whatever is cut or flipped, the answer is a line or a model that verifies.
TEST(TfliteImport, SurvivesDamage) {
  const std::string whole = T{.layers = 1}.Build({{"labels.txt", "no\nyes\nmaybe\n"}});
  for (size_t length = 0; length < whole.size(); length += 97)
    (void)Refusal(whole.substr(0, length));
  for (size_t at = 0; at < whole.size(); at += 61) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    const Result<TfliteImport> import = Import(damaged);
    EXPECT_TRUE(!import.has_value() || Verify(import->model.graph).has_value());
  }
}

}  // namespace
}  // namespace thimble
