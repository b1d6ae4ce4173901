// Writer and reader of .thimble files together, and everything that can be wrong with a file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "thimble/base/half.h"
#include "thimble/formats/thimble/crc32c.h"
#include "thimble/formats/thimble/example_model.h"
#include "thimble/formats/thimble/file_layout.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/thimble_generated.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/graph/block_sparse.h"

namespace thimble {
namespace {

using testing::HasSubstr;
using testing::Not;

// A file in memory, as the reader wants it.
class Bytes {
 public:
  explicit Bytes(std::string_view text)
      : tensor_(Tensor::Copy(DType::kU8, {static_cast<int64_t>(text.size())},
                             std::as_bytes(std::span(text)))) {}
  std::span<const std::byte> span() const { return tensor_.data(); }

 private:
  Tensor tensor_;  // for its aligned storage
};

Result<Model> Parse(std::string_view file, const ReadOptions& options = {}) {
  auto bytes = std::make_shared<Bytes>(file);
  const std::span<const std::byte> span = bytes->span();
  return ParseThimble(span, std::move(bytes), options);
}

std::string Serialize(const Model& model) {
  Result<std::string> file = SerializeThimble(model);
  EXPECT_TRUE(file.has_value()) << file.error().message();
  return *std::move(file);
}

size_t MetadataBytes(const std::string& file) {
  uint32_t size;
  std::memcpy(&size, file.data(), sizeof(size));
  return size + sizeof(size);
}

// The file with a checksum that fits its metadata again, whatever was done to it.
std::string Resealed(std::string file) {
  const size_t size = MetadataBytes(file);
  const uint32_t checksum = Crc32c(std::as_bytes(std::span(file).first(size)));
  std::memcpy(file.data() + size, &checksum, sizeof(checksum));
  return file;
}

// With the first `from` in the metadata overwritten by `to`.
std::string Patched(std::string file, std::string_view from, std::string_view to) {
  const size_t at = file.find(from);
  EXPECT_LT(at, MetadataBytes(file)) << from;
  return Resealed(file.replace(at, to.size(), to));
}

std::string ErrorOf(const Result<Model>& model) {
  if (model.has_value()) return "no error";
  EXPECT_THAT(model.error().message(), Not(HasSubstr("\n")));
  return model.error().message();
}

const Tensor& WeightOf(const Model& model, std::string_view node, size_t i = 0) {
  return model.graph.FindNode(node)->weights[i].tensor;
}

class RoundTrip : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(MatrixTypes, RoundTrip,
                         testing::Values(DType::kF32, DType::kF16, DType::kI8, DType::kI8Group,
                                         DType::kI4Group),
                         [](const auto& type) { return std::string(DTypeName(type.param)); });

TEST_P(RoundTrip, KeepsTheModel) {
  const Model model = ExampleModel(GetParam());
  const std::string file = Serialize(model);
  const Result<Model> read = Parse(file, {.verify_data = true});
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(read->architecture, model.architecture);
  EXPECT_EQ(read->task, model.task);
  EXPECT_EQ(read->labels, model.labels);
  EXPECT_EQ(read->thresholds, model.thresholds);
  EXPECT_EQ(read->provenance, model.provenance);
  EXPECT_EQ(read->tokenizer, model.tokenizer);
  EXPECT_EQ(read->graph.max_sequence_length, model.graph.max_sequence_length);
  EXPECT_EQ(read->graph.inputs, model.graph.inputs);
  ASSERT_EQ(read->graph.outputs.size(), model.graph.outputs.size());
  for (size_t i = 0; i < model.graph.outputs.size(); ++i) {
    EXPECT_EQ(read->graph.outputs[i].name, model.graph.outputs[i].name);
    EXPECT_EQ(read->graph.outputs[i].value, model.graph.outputs[i].value);
  }
  ASSERT_EQ(read->graph.values.size(), model.graph.values.size());
  for (size_t i = 0; i < model.graph.values.size(); ++i) {
    EXPECT_EQ(read->graph.values[i].name, model.graph.values[i].name);
    EXPECT_EQ(read->graph.values[i].type, model.graph.values[i].type);
  }
  EXPECT_EQ(Serialize(*read), file);
}

TEST_P(RoundTrip, KeepsNodesAndWeights) {
  const Model model = ExampleModel(GetParam());
  const Result<Model> read = Parse(Serialize(model));
  ASSERT_TRUE(read.has_value()) << read.error().message();
  ASSERT_EQ(read->graph.nodes.size(), model.graph.nodes.size());
  for (size_t i = 0; i < model.graph.nodes.size(); ++i) {
    const Node& a = model.graph.nodes[i];
    const Node& b = read->graph.nodes[i];
    EXPECT_EQ(b.op, a.op);
    EXPECT_EQ(b.name, a.name);
    EXPECT_EQ(b.inputs, a.inputs);
    EXPECT_EQ(b.output, a.output);
    EXPECT_EQ(b.attrs.index(), a.attrs.index());
    ASSERT_EQ(b.weights.size(), a.weights.size());
    for (size_t w = 0; w < a.weights.size(); ++w) {
      EXPECT_EQ(b.weights[w].name, a.weights[w].name);
      EXPECT_EQ(b.weights[w].tensor.dtype(), a.weights[w].tensor.dtype());
      EXPECT_EQ(b.weights[w].tensor.shape(), a.weights[w].tensor.shape());
      EXPECT_EQ(b.weights[w].tensor.ToFloats(), a.weights[w].tensor.ToFloats());
    }
  }
}

TEST(Thimble, KeepsAttributes) {
  const Result<Model> read = Parse(Serialize(ExampleModel()));
  ASSERT_TRUE(read.has_value());
  const auto attrs = [&]<class T>(const char* node, T*) {
    return std::get<T>(read->graph.FindNode(node)->attrs);
  };
  const auto position_ids = attrs("position_ids", static_cast<PositionIdsAttrs*>(nullptr));
  EXPECT_EQ(position_ids.offset, 2);
  EXPECT_EQ(position_ids.skip_id, 1);
  const auto attention = attrs("attention", static_cast<AttentionAttrs*>(nullptr));
  EXPECT_EQ(attention.heads, 3);
  EXPECT_EQ(attention.scale, 0.4);
  EXPECT_EQ(attrs("norm", static_cast<LayerNormAttrs*>(nullptr)).epsilon, 1e-5);
  EXPECT_EQ(attrs("activation", static_cast<ActivationAttrs*>(nullptr)).function,
            Activation::kGelu);
  EXPECT_EQ(attrs("pool", static_cast<PoolAttrs*>(nullptr)).kind, PoolKind::kMean);
}

TEST_P(RoundTrip, PlacesTensorsForUseInPlace) {
  const std::string file = Serialize(ExampleModel(GetParam()));
  const Bytes bytes(file);
  const Result<Model> model = ParseThimble(bytes.span(), nullptr);
  ASSERT_TRUE(model.has_value());
  const std::byte* end = bytes.span().data() + bytes.span().size();
  for (const Node& node : model->graph.nodes) {
    for (size_t i = 0; i < node.weights.size(); ++i) {
      const Tensor& tensor = node.weights[i].tensor;
      const bool panels = node.op == OpKind::kLinear && i == 0;
      EXPECT_EQ(tensor.layout(), panels ? Layout::kPanels : Layout::kRowMajor) << node.name;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data().data()) % 64, 0u);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.scales().data()) % 64, 0u);
      EXPECT_GE(tensor.data().data(), bytes.span().data());
      EXPECT_GE(end - (tensor.data().data() + tensor.data().size()),
                static_cast<ptrdiff_t>(kPanelGuardBytes));
    }
  }
}

TEST(Thimble, StoresTiedWeightsOncePerForm) {
  Model model = ExampleModel();
  const size_t before = Serialize(model).size();
  // Another use in a form that is there already costs no data, only metadata.
  Node again = *model.graph.FindNode("decoder");
  again.name = "again";
  again.output = ValueId{static_cast<int32_t>(model.graph.values.size())};
  model.graph.values.push_back(
      {"again", model.graph.value(model.graph.FindNode("decoder")->output).type});
  model.graph.nodes.push_back(again);
  const std::string file = Serialize(model);
  EXPECT_LT(file.size(), before + 512);
  const Result<Model> read = Parse(file);
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_TRUE(WeightOf(*read, "again").SameAs(WeightOf(*read, "decoder")));
  EXPECT_FALSE(WeightOf(*read, "words").SameAs(WeightOf(*read, "decoder")));
  EXPECT_EQ(WeightOf(*read, "words").ToFloats(), WeightOf(*read, "decoder").ToFloats());
  EXPECT_EQ(ComputeCost(read->graph, {}).parameters, ComputeCost(model.graph, {}).parameters);
}

TEST(Thimble, WidensTypesThatNoKernelReads) {
  Model model = ExampleModel();
  Tensor& bias = model.graph.nodes[5].weights[1].tensor;
  ASSERT_EQ(model.graph.nodes[5].name, "query");
  const std::vector<uint16_t> halves(18, FloatToHalf(1.5f));
  bias = Tensor::Copy(DType::kF16, {18}, std::as_bytes(std::span(halves)));
  Tensor& weight = model.graph.nodes[5].weights[0].tensor;
  const std::vector<uint16_t> bf16(18 * 6, FloatToBFloat16(-0.75f));
  weight = Tensor::Copy(DType::kBF16, {18, 6}, std::as_bytes(std::span(bf16)));
  const Result<Model> read = Parse(Serialize(model));
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(WeightOf(*read, "query", 0).dtype(), DType::kF32);
  EXPECT_EQ(WeightOf(*read, "query", 0).ToFloats(), std::vector<float>(18 * 6, -0.75f));
  EXPECT_EQ(WeightOf(*read, "query", 1).dtype(), DType::kF32);
  EXPECT_EQ(WeightOf(*read, "query", 1).ToFloats(), std::vector<float>(18, 1.5f));
}

TEST(Thimble, GoesThroughAFile) {
  const Model model = ExampleModel(DType::kI8);
  const std::string path =
      testing::TempDir() + "thimble-" + std::to_string(::getpid()) + ".thimble";
  const Status written = WriteThimble(model, path);
  ASSERT_TRUE(written.has_value()) << written.error().message();
  const Result<Model> read = ReadThimble(path);
  ::unlink(path.c_str());  // the mapping stays
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(Serialize(*read), Serialize(model));
}

TEST(Thimble, NamesThePathInErrors) {
  EXPECT_THAT(ErrorOf(ReadThimble("/no/such/file")), HasSubstr("/no/such/file"));
  EXPECT_THAT(ErrorOf(ReadThimble(THIMBLE_SOURCE_DIR "/CMakeLists.txt")),
              HasSubstr("CMakeLists.txt: is not a .thimble file"));
  const Status written = WriteThimble(ExampleModel(), "/no/such/folder/m.thimble");
  ASSERT_FALSE(written.has_value());
  EXPECT_THAT(written.error().message(), HasSubstr("/no/such/folder/m.thimble"));
}

TEST(Thimble, RefusesForeignBytes) {
  for (const std::string& text :
       {std::string(), std::string("THMB"), std::string(1000, '\0'), std::string(1000, '\xFF'),
        std::string("\x7F"
                    "ELF and more of it, long enough"),
        "xxxxyyyyTHMB" + std::string(99, 'z')}) {
    EXPECT_NE(ErrorOf(Parse(text)), "no error");
  }
}

TEST(Thimble, RefusesEveryTruncation) {
  const std::string file = Serialize(ExampleModel());
  for (size_t size = 0; size < file.size(); ++size) {
    ASSERT_NE(ErrorOf(Parse(file.substr(0, size))), "no error") << size;
  }
  EXPECT_THAT(ErrorOf(Parse(file + '\0')), HasSubstr("bytes appended"));
}

TEST(Thimble, FindsEveryFlippedBitOfTheMetadata) {
  std::string file = Serialize(ExampleModel());
  const size_t size = MetadataBytes(file) + sizeof(uint32_t);
  for (size_t bit = 0; bit < size * 8; ++bit) {
    const auto mask = static_cast<char>(1 << (bit % 8));
    file[bit / 8] ^= mask;
    ASSERT_NE(ErrorOf(Parse(file)), "no error") << bit;
    file[bit / 8] ^= mask;
  }
}

// Which bits are flipped: all; under AddressSanitizer, which takes minutes for that, one of every byte.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define THIMBLE_BIT_STEP 9
#endif
#endif
#ifndef THIMBLE_BIT_STEP
#define THIMBLE_BIT_STEP 1
#endif
constexpr size_t kBitStep = THIMBLE_BIT_STEP;

// Behind the checksum stand the verifier and our own checks: a flipped bit that a forger has sealed
// again may give another valid model, but never a crash.
void ExpectFlippedBitsSurvived(std::string file) {
  size_t refused = 0;
  for (size_t bit = 32; bit < MetadataBytes(file) * 8; bit += kBitStep) {
    const auto mask = static_cast<char>(1 << (bit % 8));
    file[bit / 8] ^= mask;
    const Result<Model> model = Parse(Resealed(file));
    if (model.has_value()) {
      EXPECT_TRUE(SerializeThimble(*model).has_value()) << bit;
    } else {
      ++refused;
    }
    file[bit / 8] ^= mask;
  }
  EXPECT_GT(refused * kBitStep, size_t{1000});
}

TEST_P(RoundTrip, SurvivesEveryFlippedBitUnderAFittingChecksum) {
  ExpectFlippedBitsSurvived(Serialize(ExampleModel(GetParam())));
}

TEST(Thimble, RefusesGroupsOfAnotherSize) {
  const std::string file = Serialize(ExampleModel(DType::kI4Group));
  const auto* metadata = fbs::GetSizePrefixedMetadata(file.data());
  const fbs::Tensor& entry = *metadata->tensors()->Get(0);
  ASSERT_EQ(entry.dtype()->str(), "i4g");
  ASSERT_EQ(entry.scale_group(), kScaleGroups[0]);
  const auto* table = reinterpret_cast<const flatbuffers::Table*>(&entry);
  const auto at = static_cast<size_t>(table->GetAddressOf(fbs::Tensor::VT_SCALE_GROUP) -
                                      reinterpret_cast<const uint8_t*>(file.data()));
  for (const uint32_t group : {0u, 1u, 15u, 24u, 256u, 0xFFFFFFFFu}) {
    std::string other = file;
    std::memcpy(other.data() + at, &group, sizeof group);
    EXPECT_THAT(ErrorOf(Parse(Resealed(other))), HasSubstr("no size of a group")) << group;
  }
  // Fewer scales than groups of 16 need: those of groups of 128 would be all there is.
  std::string other = file;
  const uint32_t group = 128;
  std::memcpy(other.data() + at, &group, sizeof group);
  EXPECT_TRUE(Parse(Resealed(other)).has_value()) << "fewer are read than there are";
}

TEST(Thimble, FindsDamagedWeightsWhenAsked) {
  std::string file = Serialize(ExampleModel(DType::kI8));
  const size_t data = DataBegin(MetadataBytes(file));
  file[data] ^= 1;
  EXPECT_TRUE(Parse(file).has_value());
  EXPECT_THAT(ErrorOf(Parse(file, {.verify_data = true})), HasSubstr("tensor 0"));
  file[data] ^= 1;
  // The first tensor's scales stand in the next 64 bytes.
  file[data + 64] ^= 1;
  EXPECT_THAT(ErrorOf(Parse(file, {.verify_data = true})), HasSubstr("tensor 0"));
}

TEST(Thimble, SaysWhenANewerProgramIsNeeded) {
  const std::string file = Serialize(ExampleModel());
  EXPECT_THAT(ErrorOf(Parse(Patched(file, "linear", "linexr"))),
              testing::AllOf(HasSubstr("'linexr'"), HasSubstr("newer")));
  EXPECT_THAT(ErrorOf(Parse(Patched(file, "epsilon", "epsilom"))),
              testing::AllOf(HasSubstr("node 'norm'"), HasSubstr("newer")));
  EXPECT_THAT(ErrorOf(Parse(Patched(file, "multi_label", "nulti_label"))), HasSubstr("newer"));
  EXPECT_THAT(ErrorOf(Parse(Patched(file, "f32", "f33"))), HasSubstr("newer"));
  EXPECT_THAT(ErrorOf(Parse(Patched(file, "gelu", "gelx"))), HasSubstr("newer"));
}

// --- Block-sparse weights

TEST(BlockSparseFile, KeepsListsAndValues) {
  const Model model = BlockSparseExample();
  const std::string file = Serialize(model);
  const Result<Model> read = Parse(file, {.verify_data = true});
  ASSERT_TRUE(read.has_value()) << read.error().message();
  for (const char* node : {"query", "down"}) {
    const Tensor& tensor = WeightOf(*read, node);
    EXPECT_EQ(tensor.layout(), Layout::kBlockSparse) << node;
    EXPECT_EQ(tensor.ToFloats(), WeightOf(model, node).ToFloats()) << node;
  }
  EXPECT_DOUBLE_EQ(BlockDensity(WeightOf(*read, "query")), 1.0 / 2);
  EXPECT_DOUBLE_EQ(BlockDensity(WeightOf(*read, "down")), 2.0 / 3);
  EXPECT_EQ(Serialize(*read), file);
}

TEST(BlockSparseFile, IsSharedByAnAdapter) {
  const Model base = *Parse(Serialize(BlockSparseExample()));
  const Result<std::string> file = SerializeAdapter(base, base);
  ASSERT_TRUE(file.has_value()) << file.error().message();
  const Bytes bytes(*file);
  const Result<Model> read = ParseAdapter(bytes.span(), nullptr, base);
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_TRUE(WeightOf(*read, "down").SameAs(WeightOf(base, "down")));
}

// Each word of the lists of `down`, [6, 18]: two panels' ends, blocks 0 and 2.
TEST(BlockSparseFile, RefusesWrongLists) {
  const std::string file = Serialize(BlockSparseExample());
  const Bytes bytes(file);
  const Model model = *ParseThimble(bytes.span(), nullptr);
  const auto at = static_cast<size_t>(WeightOf(model, "down").data().data() - bytes.span().data());
  const auto with = [&](size_t word, uint32_t value) {
    std::string changed = file;
    std::memcpy(changed.data() + at + word * sizeof(value), &value, sizeof(value));
    return ErrorOf(Parse(changed));
  };
  ASSERT_EQ(with(0, 0), "no error");
  EXPECT_THAT(with(0, 1), HasSubstr("do not follow"));
  EXPECT_THAT(with(1, 1), HasSubstr("its 1 blocks need"));
  EXPECT_THAT(with(1, 0xFFFFFFFF), HasSubstr("blocks need"));
  EXPECT_THAT(with(2, 2), HasSubstr("in order")) << "twice the same";
  EXPECT_THAT(with(3, 3), HasSubstr("number 3 of its panel, which has 3")) << "out of range";
  EXPECT_THAT(with(3, 0), HasSubstr("in order"));
  EXPECT_EQ(with(2, 1), "no error") << "another matrix, but one";
}

TEST(BlockSparseFile, SurvivesEveryFlippedBitUnderAFittingChecksum) {
  ExpectFlippedBitsSurvived(Serialize(BlockSparseExample()));
}

TEST(BlockSparseFile, NamesTheLayoutThatAnOlderProgramLacks) {
  // What a 1.1 reader does with this layout, this one does with the next.
  std::string file = Serialize(BlockSparseExample());
  const auto* metadata = fbs::GetSizePrefixedMetadata(file.data());
  bool found = false;
  for (const fbs::Tensor* tensor : *metadata->tensors()) {
    if (tensor->layout() != fbs::Layout::BlockSparse) continue;
    const auto next = static_cast<uint8_t>(fbs::Layout::MAX) + 1;
    auto* field = reinterpret_cast<uint8_t*>(
        const_cast<flatbuffers::Table*>(reinterpret_cast<const flatbuffers::Table*>(tensor))
            ->GetAddressOf(fbs::Tensor::VT_LAYOUT));
    *field = static_cast<uint8_t>(next);
    found = true;
    break;
  }
  ASSERT_TRUE(found);
  EXPECT_THAT(ErrorOf(Parse(Resealed(file))), HasSubstr("its layout is not known"));
}

// --- Adapters

// The example for another task: one bias changed, another head.
Model OtherTask(const Model& base) {
  Model model = base;
  model.task = Task::kSingleLabel;
  model.labels = {"up", "down"};
  model.thresholds.clear();
  model.provenance = {{"source", "an adapter"}};
  Graph& graph = model.graph;
  graph.nodes[5].weights[1].tensor = Tensor::FromFloats({18}, std::vector<float>(18, 0.25f));
  EXPECT_EQ(graph.nodes[5].name, "query");
  Node& head = graph.nodes.back();
  EXPECT_EQ(head.name, "decoder");
  head.weights = {{"head.weight", Tensor::FromFloats({2, 6}, std::vector<float>(12, 0.5f))}};
  graph.values[Index(head.output)].type.width = 2;
  return model;
}

std::string AdapterOf(const Model& model, const Model& base) {
  Result<std::string> file = SerializeAdapter(model, base);
  EXPECT_TRUE(file.has_value()) << file.error().message();
  return *std::move(file);
}

Result<Model> ParseBeside(std::string_view file, const Model& base,
                          const ReadOptions& options = {}) {
  auto bytes = std::make_shared<Bytes>(file);
  const std::span<const std::byte> span = bytes->span();
  return ParseAdapter(span, std::move(bytes), base, options);
}

TEST_P(RoundTrip, KeepsAnAdapter) {
  const Model base = *Parse(Serialize(ExampleModel(GetParam())));
  const Model model = OtherTask(base);
  const std::string file = AdapterOf(model, base);
  const Result<Model> read = ParseBeside(file, base, {.verify_data = true});
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(Serialize(*read), Serialize(model)) << "the same model, whole";
  EXPECT_EQ(AdapterOf(*read, base), file);
  EXPECT_EQ(read->tokenizer, base.tokenizer);
  EXPECT_NE(read->identity, base.identity);
}

TEST_P(RoundTrip, SharesTheWeightsOfTheBase) {
  const std::string whole = Serialize(ExampleModel(GetParam()));
  const Model base = *Parse(whole);
  const Model model = OtherTask(base);
  const std::string file = AdapterOf(model, base);
  const Result<Model> read = ParseBeside(file, base);
  ASSERT_TRUE(read.has_value()) << read.error().message();
  for (const Node& node : read->graph.nodes) {
    for (size_t i = 0; i < node.weights.size(); ++i) {
      const bool own = node.name == "decoder" || (node.name == "query" && i == 1);
      EXPECT_EQ(node.weights[i].tensor.SameAs(WeightOf(base, node.name, i)), !own) << node.name;
    }
  }
  // 18 and 2 x 6 numbers, in panels and padded to 64 bytes, and the guard.
  const size_t data = 128 + 6 * 16 * 4 + 64 + kPanelGuardBytes;
  EXPECT_LE(file.size() - DataBegin(MetadataBytes(file)), data);
}

TEST(Adapter, OutlivesItsBase) {
  const auto read = [] {
    const Model base = *Parse(Serialize(ExampleModel()));
    return *ParseBeside(AdapterOf(OtherTask(base), base), base);
  }();
  EXPECT_EQ(WeightOf(read, "words").ToFloats(), WeightOf(ExampleModel(), "words").ToFloats());
}

TEST(Adapter, MayBeTheBaseOfAnother) {
  const Model base = *Parse(Serialize(ExampleModel()));
  const Model first = *ParseBeside(AdapterOf(OtherTask(base), base), base);
  Model second = first;
  second.labels = {"left", "right"};
  const Result<Model> read = ParseBeside(AdapterOf(second, first), first, {.verify_data = true});
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_EQ(read->labels, second.labels);
  EXPECT_TRUE(WeightOf(*read, "decoder").SameAs(WeightOf(first, "decoder")));
}

TEST(Adapter, IsRefusedWhereItDoesNotBelong) {
  const Model base = *Parse(Serialize(ExampleModel()));
  const std::string file = AdapterOf(OtherTask(base), base);
  EXPECT_THAT(ErrorOf(Parse(file)), HasSubstr("is an adapter"));
  EXPECT_THAT(ErrorOf(ParseBeside(Serialize(base), base)), HasSubstr("is a whole model"));

  // Other weights of the same shapes, and other metadata with the same weights.
  Model weights = ExampleModel();
  weights.graph.nodes[5].weights[1].tensor = Tensor::FromFloats({18}, std::vector<float>(18, 2.0f));
  Model labels = ExampleModel();
  labels.labels[0] = "another";
  for (const Model& other : {weights, labels, ExampleModel(DType::kF16)}) {
    const Model wrong = *Parse(Serialize(other));
    EXPECT_THAT(ErrorOf(ParseBeside(file, wrong)),
                testing::AllOf(HasSubstr("another base"), HasSubstr(base.identity.substr(0, 12)),
                               HasSubstr(wrong.identity.substr(0, 12))));
  }
  EXPECT_EQ(ErrorOf(ParseBeside(file, *Parse(Serialize(ExampleModel())))), "no error");
}

TEST(Adapter, NeedsABaseFromAFileWithItsTokenizer) {
  const Model base = *Parse(Serialize(ExampleModel()));
  EXPECT_FALSE(SerializeAdapter(OtherTask(base), ExampleModel()).has_value());
  Model other = OtherTask(base);
  other.tokenizer.lower_case = !other.tokenizer.lower_case;
  const auto refused = SerializeAdapter(other, base);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message(), HasSubstr("tokenizer"));
}

TEST(Adapter, FindsDamagedWeightsOfItsBase) {
  std::string whole = Serialize(ExampleModel());
  const Model base = *Parse(whole);
  const std::string file = AdapterOf(OtherTask(base), base);
  whole[DataBegin(MetadataBytes(whole))] ^= 1;
  const Model damaged = *Parse(whole);
  EXPECT_EQ(ErrorOf(ParseBeside(file, damaged)), "no error");
  EXPECT_THAT(ErrorOf(ParseBeside(file, damaged, {.verify_data = true})), HasSubstr("tensor 0"));
}

TEST(Adapter, RefusesEveryTruncation) {
  const Model base = *Parse(Serialize(ExampleModel()));
  const std::string file = AdapterOf(OtherTask(base), base);
  for (size_t size = 0; size < file.size(); ++size) {
    ASSERT_NE(ErrorOf(ParseBeside(file.substr(0, size), base)), "no error") << size;
  }
}

TEST(Adapter, SurvivesEveryFlippedBitUnderAFittingChecksum) {
  const Model base = *Parse(Serialize(ExampleModel(DType::kI8)));
  std::string file = AdapterOf(OtherTask(base), base);
  size_t refused = 0;
  for (size_t bit = 32; bit < MetadataBytes(file) * 8; bit += kBitStep) {
    const auto mask = static_cast<char>(1 << (bit % 8));
    file[bit / 8] ^= mask;
    const Result<Model> model = ParseBeside(Resealed(file), base);
    if (model.has_value()) {
      EXPECT_TRUE(SerializeThimble(*model).has_value()) << bit;
    } else {
      ++refused;
    }
    file[bit / 8] ^= mask;
  }
  EXPECT_GT(refused * kBitStep, size_t{1000});
}

// --- Files that our writer does not write

struct Forged {
  uint16_t major = kThimbleMajor, minor = kThimbleMinor;
  size_t node_copies = 1;   // references to one and the same node
  size_t input_copies = 1;  // its inputs, all the same
};

// A model of one table with one number, put together by hand.
std::string Forge(const Forged& forged) {
  flatbuffers::FlatBufferBuilder fbb;
  const std::vector<flatbuffers::Offset<flatbuffers::String>> no_strings;
  const auto ids = fbs::CreateValueDirect(fbb, "input_ids", fbs::Element::Int32, {}, 1);
  const auto words = fbs::CreateValueDirect(fbb, "words", fbs::Element::Float32, {}, 1);
  const std::vector weights{fbs::CreateWeightDirect(fbb, "words.weight", 0)};
  const std::vector<flatbuffers::Offset<fbs::Attribute>> no_attributes;
  const std::vector<int32_t> inputs(forged.input_copies, 0);
  const auto node =
      fbs::CreateNodeDirect(fbb, "embedding", "words", &inputs, &weights, &no_attributes, 1);
  const auto graph = fbs::CreateGraph(
      fbb, fbb.CreateVector(std::vector{ids, words}), fbb.CreateVector(std::vector<int32_t>{0}),
      fbb.CreateVector(std::vector(forged.node_copies, node)),
      fbb.CreateVector(std::vector{fbs::CreateOutputDirect(fbb, "words", 1)}), 16);
  const std::vector<uint32_t> no_ends;
  const std::vector<float> no_thresholds;
  const std::vector<double> no_scores;
  const std::vector<flatbuffers::Offset<fbs::AddedToken>> no_tokens;
  const auto tokenizer =
      fbs::CreateTokenizerDirect(fbb, fbs::TokenizerKind::None, "", &no_ends, &no_scores, true,
                                 true, true, true, {}, &no_strings, "##", 100, &no_tokens);
  const std::vector<flatbuffers::Offset<fbs::Provenance>> no_provenance;
  const std::vector<int64_t> shape = {1, 1};
  const std::vector tensors{fbs::CreateTensorDirect(fbb, "f32", &shape, {}, 0, sizeof(float))};
  constexpr size_t kDataBytes = kDataAlignment + kPanelGuardBytes;
  fbs::FinishSizePrefixedMetadataBuffer(
      fbb, fbs::CreateMetadataDirect(fbb, forged.major, forged.minor, "forged", "features",
                                     &no_strings, &no_thresholds, graph, tokenizer, &no_provenance,
                                     &tensors, kDataBytes, 0));
  std::string file(reinterpret_cast<const char*>(fbb.GetBufferPointer()), fbb.GetSize());
  file.resize(DataBegin(file.size()) + kDataBytes, '\0');
  return Resealed(file);
}

TEST(Thimble, RefusesOtherMajorVersionsAndReadsNewerMinorOnes) {
  EXPECT_EQ(ErrorOf(Parse(Forge({}))), "no error");
  EXPECT_EQ(ErrorOf(Parse(Forge({.minor = kThimbleMinor + 7}))), "no error");
  EXPECT_THAT(ErrorOf(Parse(Forge({.major = kThimbleMajor + 1}))), HasSubstr("a newer thimble"));
  EXPECT_THAT(ErrorOf(Parse(Forge({.major = kThimbleMajor - 1}))), HasSubstr("import it again"));
}

// 44 KB that would become 40 MB.
TEST(Thimble, RefusesToMultiplyItsBytes) {
  EXPECT_THAT(ErrorOf(Parse(Forge({.node_copies = 1000, .input_copies = 10000}))),
              HasSubstr("the same bytes many times"));
}

}  // namespace
}  // namespace thimble
