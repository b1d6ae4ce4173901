#include "thimble/formats/thimble/example_model.h"

#include <utility>

#include "thimble/base/half.h"
#include "thimble/graph/block_sparse.h"
#include "thimble/graph/int4.h"
#include "thimble/graph/panels.h"

namespace thimble {
namespace {

constexpr int64_t kPieces = 7;
constexpr int64_t kWidth = 6;

std::vector<float> Numbers(size_t count, float first) {
  std::vector<float> numbers(count);
  for (size_t i = 0; i < count; ++i) numbers[i] = first + 0.125f * static_cast<float>(i % 11);
  return numbers;
}

// Rows of fewer inputs than a group, of as many, and of more, with the smallest group there is.
Tensor GroupedMatrix(DType dtype, int64_t rows, int64_t columns, float first) {
  const Shape shape = {rows, columns};
  constexpr size_t kGroup = kScaleGroups[0];
  std::vector<std::byte> codes(*RowMajorBytes(dtype, shape));
  const auto width = static_cast<size_t>(columns);
  const size_t row_bytes = codes.size() / static_cast<size_t>(rows);
  for (size_t i = 0; i < static_cast<size_t>(rows) * width; ++i) {
    const auto code = static_cast<int8_t>(static_cast<int>(i % 15) - 7);
    std::byte* row = codes.data() + i / width * row_bytes;
    if (dtype == DType::kI4Group) {
      StoreInt4(row, i % width, code);
    } else {
      row[i % width] = static_cast<std::byte>(code);
    }
  }
  auto scales = std::make_shared<std::vector<float>>(
      Numbers(*ScaleCount(dtype, shape, Layout::kRowMajor, kGroup), first + 1));
  const std::span<const float> view(*scales);
  return Tensor::Copy(dtype, shape, codes).WithScales(view, std::move(scales), kGroup);
}

Tensor Matrix(DType dtype, int64_t rows, int64_t columns, float first) {
  if (HasGroupScales(dtype)) return GroupedMatrix(dtype, rows, columns, first);
  const auto count = static_cast<size_t>(rows * columns);
  const std::vector<float> numbers = Numbers(count, first);
  if (dtype == DType::kF16) {
    std::vector<uint16_t> halves;
    for (const float number : numbers) halves.push_back(FloatToHalf(number));
    return Tensor::Copy(dtype, {rows, columns}, std::as_bytes(std::span(halves)));
  }
  if (dtype == DType::kI8) {
    std::vector<int8_t> bytes;
    for (const float number : numbers) bytes.push_back(static_cast<int8_t>(number * 8));
    auto scales = std::make_shared<std::vector<float>>(Numbers(static_cast<size_t>(rows), 0.5f));
    const std::span<const float> view(*scales);
    return Tensor::Copy(dtype, {rows, columns}, std::as_bytes(std::span(bytes)))
        .WithScales(view, std::move(scales));
  }
  return Tensor::FromFloats({rows, columns}, numbers);
}

Tensor Vector(int64_t size, float first) {
  return Tensor::FromFloats({size}, Numbers(static_cast<size_t>(size), first));
}

Graph ExampleGraph(DType dtype) {
  Builder b;
  const Tensor table = Matrix(dtype, kPieces, kWidth, -0.5f);
  const ValueId ids = b.Input(kInputIds);
  const ValueId words = b.Add(OpKind::kEmbedding, "words", {ids}, {{"words.weight", table}});
  const ValueId positions =
      b.Add(OpKind::kPositionIds, "position_ids", {ids}, {}, PositionIdsAttrs{2, 1});
  const ValueId places = b.Add(OpKind::kEmbedding, "positions", {positions},
                               {{"positions.weight", Matrix(dtype, 20, kWidth, 0.25f)}});
  const ValueId sum = b.Add(OpKind::kAdd, "sum", {words, places});
  const ValueId norm =
      b.Add(OpKind::kLayerNorm, "norm", {sum},
            {{"norm.weight", Vector(kWidth, 1.0f)}, {"norm.bias", Vector(kWidth, 0.0f)}},
            LayerNormAttrs{1e-5});
  const ValueId query = b.Add(
      OpKind::kLinear, "query", {norm},
      {{"query.weight", Matrix(dtype, 18, kWidth, -0.25f)}, {"query.bias", Vector(18, 0.5f)}});
  const ValueId context =
      b.Add(OpKind::kAttention, "attention", {query, query, query}, {}, AttentionAttrs{3, 0.4});
  const ValueId active =
      b.Add(OpKind::kActivation, "activation", {context}, {}, ActivationAttrs{Activation::kGelu});
  const ValueId down = b.Add(OpKind::kLinear, "down", {active},
                             {{"down.weight", Matrix(dtype, kWidth, 18, 0.125f)}});
  const ValueId pooled = b.Add(OpKind::kPool, "pool", {down}, {}, PoolAttrs{PoolKind::kMean});
  // The word embeddings once more, as a linear weight.
  const ValueId logits = b.Add(OpKind::kLinear, "decoder", {pooled}, {{"words.weight", table}});
  b.Output("last_hidden_state", down);
  b.Output("logits", logits);
  Result<Graph> graph = std::move(b).Finish(16);
  THIMBLE_CHECK(graph.has_value());
  return *std::move(graph);
}

TokenizerSpec ExampleTokenizer() {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWordPiece;
  spec.pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "ein", "##e", "\xC3\xA9t\xC3\xA9"};
  spec.lower_case = false;
  spec.strip_accents = true;
  spec.never_split = {"[CLS]", "[SEP]"};
  spec.max_word_chars = 50;
  spec.added_tokens = {{2, "[CLS]", true, false, false, false, false},
                       {4, "ein", false, true, true, true, true}};
  spec.unknown_id = 1;
  spec.cls_id = 2;
  spec.sep_id = 3;
  spec.pad_id = 0;
  spec.model_max_length = 16;
  return spec;
}

// Block-sparse, with zeros from that row on in these columns.
void DropBlocks(Tensor& weight, size_t first_row, size_t first_column, size_t columns) {
  std::vector<float> values = weight.ToFloats();
  const auto width = static_cast<size_t>(weight.dim(1));
  for (size_t i = first_row * width; i < values.size(); ++i) {
    const size_t column = i % width;
    if (column >= first_column && column < first_column + columns) values[i] = 0;
  }
  weight = PackBlockSparse(Tensor::FromFloats(weight.shape(), values));
}

}  // namespace

Model BlockSparseExample() {
  Model model = ExampleModel();
  for (Node& node : model.graph.nodes) {
    if (node.name == "query") DropBlocks(node.weights[0].tensor, kPanelWidth, 0, kWidth);
    if (node.name == "down") DropBlocks(node.weights[0].tensor, 0, kBlockInputs, kBlockInputs);
  }
  return model;
}

Model ExampleModel(DType dtype) {
  Model model;
  model.architecture = "example";
  model.task = Task::kMultiLabel;
  model.labels = {"a", "b", "c", "d", "e", "f", "\xC3\xA9"};
  model.thresholds = {0.5f, 0.25f, 0.5f, 0.5f, 0.5f, 0.5f, 0.75f};
  model.graph = ExampleGraph(dtype);
  model.tokenizer = ExampleTokenizer();
  model.provenance = {{"source", "made up"}, {"created_by", "a test"}, {"empty", ""}};
  return model;
}

}  // namespace thimble
