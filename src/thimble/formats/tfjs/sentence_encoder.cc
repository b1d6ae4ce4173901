#include "thimble/formats/tfjs/sentence_encoder.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "thimble/base/quote.h"

namespace thimble {
namespace {

using nlohmann::json;

// Folding of constants left the published names in two places: weights under kApplied and kStored,
// operations under kApplied + "TransformerStack/".
constexpr std::string_view kApplied = "module_apply_default/Encoder_en/KonaTransformer/Encode/";
constexpr std::string_view kStored = "module/Encoder_en/KonaTransformer/Encode/";
constexpr std::string_view kStack = "TransformerStack/";
constexpr std::string_view kJoined = "/ConcatPartitions/concat";

constexpr std::string_view kWords = "module/Embeddings_en";
constexpr std::string_view kTiming =
    "module_apply_default/Encoder_en/KonaTransformer/Encode/TransformerStack/Layer_0/"
    "AddTimingSignal/"
    "TimingSignal/ExpandDims_1";
constexpr std::string_view kClip =
    "module_apply_default/Encoder_en/KonaTransformer/ClipToMaxLength/Less";
// More is not a model's but a broken file's: the position table is computed, no file backs its
// size.
constexpr int64_t kMostPositions = 4096;
constexpr std::string_view kPooler = "module/Encoder_en/hidden_layers/tanh_layer_0/";

constexpr std::string_view kWordTable = "embeddings.word_embeddings.weight";
constexpr std::string_view kPositionTable = "embeddings.position_embeddings.weight";

template <class... Parts>
std::string Join(const Parts&... parts) {
  std::string text;
  (text.append(parts), ...);
  return text;
}

std::string LayerPath(int64_t layer) {
  return "Layer_" + std::to_string(layer) + "/TransformerLayer/";
}

std::string QkvKernel(const std::string& layer) {
  return Join(kStored, layer, "MultiheadAttention/qkv_transform_single/kernel/part_0");
}

// --- From the architecture's names to the published ones

// A weight and its bias; `part` of `parts` equal slices of the outputs.
struct Place {
  std::string weight, bias;
  size_t part = 0, parts = 1;
};

std::optional<Place> PlaceInLayer(const std::string& layer, std::string_view name) {
  const auto norm = [&](std::string_view where) {
    const std::string base =
        Join(kApplied, layer, where, "layer_prepostprocess/layer_norm/layer_norm_");
    return Place{Join(base, "scale", kJoined), Join(base, "bias", kJoined)};
  };
  const auto convolution = [&](std::string_view where, size_t part, size_t parts) {
    const std::string path = Join(layer, "MultiheadAttention/", where);
    return Place{Join(kStored, path, "/kernel/part_0"), Join(kApplied, path, "/bias", kJoined),
                 part, parts};
  };
  const auto feed_forward = [&](std::string_view where) {
    return Place{Join(kApplied, kStack, layer, "FFN/", where, "/Tensordot/Reshape_1"),
                 Join(kApplied, layer, "FFN/", where, "/bias", kJoined)};
  };
  if (name == "attention.layer_norm") return norm("");
  if (name == "attention.query") return convolution("qkv_transform_single", 0, 3);
  if (name == "attention.key") return convolution("qkv_transform_single", 1, 3);
  if (name == "attention.value") return convolution("qkv_transform_single", 2, 3);
  if (name == "attention.output") return convolution("output_transform_single", 0, 1);
  if (name == "widen") {
    return Place{Join(kApplied, layer, "dense/kernel", kJoined),
                 Join(kApplied, layer, "dense/bias", kJoined)};
  }
  if (name == "feed_forward.layer_norm") return norm("FFN/");
  if (name == "feed_forward.intermediate") return feed_forward("conv1");
  if (name == "feed_forward.output") return feed_forward("conv2");
  return std::nullopt;
}

std::optional<Place> FindPlace(std::string_view name) {
  if (name == "pooler.dense") return Place{Join(kPooler, "weights"), Join(kPooler, "bias")};
  constexpr std::string_view kLayers = "encoder.layer.";
  if (!name.starts_with(kLayers)) return std::nullopt;
  name.remove_prefix(kLayers.size());
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  const auto digits = static_cast<size_t>(end - name.data());
  if (error != std::errc() || digits == name.size()) return std::nullopt;
  return PlaceInLayer(LayerPath(layer), name.substr(digits + 1));
}

// The name of the published weight behind "<place>.weight" or "<place>.bias", and its place.
struct Source {
  Place place;
  const std::string& name() const { return bias ? place.bias : place.weight; }
  bool bias = false;
};

std::optional<Source> FindSource(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  std::optional<Place> place = FindPlace(name.substr(0, dot));
  if (!place.has_value()) return std::nullopt;
  return Source{*std::move(place), name.substr(dot) == ".bias"};
}

// Columns [first, first + count) of a matrix [rows, width], as [count, rows].
Tensor TransposedColumns(const std::vector<float>& matrix, size_t rows, size_t width, size_t first,
                         size_t count) {
  std::vector<float> out(rows * count);
  for (size_t c = 0; c < count; ++c) {
    for (size_t r = 0; r < rows; ++r) out[c * rows + r] = matrix[r * width + first + c];
  }
  return Tensor::FromFloats({static_cast<int64_t>(count), static_cast<int64_t>(rows)}, out);
}

// --- Configuration

// The constant that is input `index` of a node.
Result<double> Constant(TfjsModel& model, const std::string& node_name, size_t index) {
  const TfjsNode* node = model.FindNode(node_name);
  if (node == nullptr || node->inputs.size() <= index) {
    return InvalidData("modelTopology: there is no operation " + Quoted(node_name) +
                       " with its constant");
  }
  TRY(const Tensor value, model.Get(node->inputs[index], {}));
  return static_cast<double>(value.ToFloats()[0]);
}

// Operations that compute, and how many of each the encoder has: per layer, and besides.
struct OpCount {
  std::string_view op;
  size_t per_layer, besides;
};
constexpr OpCount kOpCounts[] = {{"Conv2D", 2, 0},  {"MatMul", 2, 2}, {"BatchMatMul", 2, 0},
                                 {"Softmax", 1, 0}, {"Relu", 1, 0},   {"Mean", 4, 0},
                                 {"Square", 2, 1},  {"Rsqrt", 2, 1},  {"Sin", 0, 1},
                                 {"Cos", 0, 1},     {"Tanh", 0, 1},   {"RealDiv", 0, 1}};

Status CheckOperations(const TfjsModel& model, int64_t depth) {
  for (const OpCount& row : kOpCounts) {
    const size_t expected = row.per_layer * static_cast<size_t>(depth) + row.besides;
    if (model.CountOps(row.op) != expected) {
      return Unsupported("modelTopology: a Universal Sentence Encoder Lite with " +
                         std::to_string(depth) + " layers has " + std::to_string(expected) + " " +
                         std::string(row.op) + " operations, this graph has " +
                         std::to_string(model.CountOps(row.op)));
    }
  }
  return {};
}

// The scores are scaled by what we compute ourselves: 1 / sqrt(head width).
Status CheckAttentionScale(TfjsModel& model, const std::string& layer, int64_t heads) {
  TRY(const Shape kernel, model.ShapeOf(QkvKernel(layer)));
  if (kernel.size() != 4 || heads <= 0) return InvalidData("the attention of " + layer + " is odd");
  TRY(const double scale,
      Constant(model, Join(kApplied, kStack, layer, "MultiheadAttention/mul"), 1));
  const double expected = std::sqrt(static_cast<double>(heads) / static_cast<double>(kernel[2]));
  if (std::abs(scale - expected) <= 1e-6 * expected) return {};
  return Unsupported("the attention scores of " + layer + " are scaled by " +
                     std::to_string(scale) + ", not by 1 / sqrt(head width)");
}

// A size that the graph holds as a constant.
Result<int64_t> SizeConstant(TfjsModel& model, const std::string& node, size_t index,
                             int64_t most) {
  TRY(const double value, Constant(model, node, index));
  if (!(value >= 1 && value <= static_cast<double>(most))) {
    return InvalidData("modelTopology: the constant of " + Quoted(node) + " is not a size up to " +
                       std::to_string(most));
  }
  return static_cast<int64_t>(value);
}

}  // namespace

Result<json> ReadSentenceEncoderConfig(TfjsModel& model) {
  int64_t depth = 0;
  while (model.Has(QkvKernel(LayerPath(depth)))) ++depth;
  Result<Shape> words = model.ShapeOf(kWords);
  if (depth == 0 || !words.has_value() || words->size() != 2) {
    return Unsupported(
        "this TensorFlow.js graph is not known here; Universal Sentence Encoder Lite is the one "
        "that is");
  }
  TRY_VOID(CheckOperations(model, depth));
  const std::string first = Join(kApplied, kStack, LayerPath(0));
  TRY(const int64_t heads,
      SizeConstant(model,
                   first + "MultiheadAttention/split_heads/split_last_dimension/Reshape/shape", 2,
                   1024));
  TRY(const int64_t positions, SizeConstant(model, std::string(kClip), 1, kMostPositions));
  TRY(const double epsilon, Constant(model, first + "layer_prepostprocess/layer_norm/add", 1));
  TRY(const Shape conv1,
      model.ShapeOf(PlaceInLayer(LayerPath(0), "feed_forward.intermediate")->weight));
  if (conv1.size() != 2)
    return InvalidData("the feed-forward kernel has rank " + std::to_string(conv1.size()));
  for (int64_t i = 0; i < depth; ++i) {
    TRY_VOID(CheckAttentionScale(model, LayerPath(i), heads));
  }
  return json{{"model_type", "universal_sentence_encoder"},
              {"vocab_size", (*words)[0]},
              {"max_position_embeddings", positions},
              {"embedding_size", (*words)[1]},
              {"hidden_size", conv1[0]},
              {"intermediate_size", conv1[1]},
              {"num_attention_heads", heads},
              {"num_hidden_layers", depth},
              {"layer_norm_eps", epsilon}};
}

bool SentenceEncoderWeights::Has(std::string_view name) const {
  if (name == kWordTable) return model_.Has(kWords);
  if (name == kPositionTable) return model_.Has(kTiming);
  const std::optional<Source> source = FindSource(name);
  return source.has_value() && model_.Has(source->name());
}

Result<Tensor> SentenceEncoderWeights::Get(std::string_view name, const Shape& shape) {
  TRY(Tensor tensor, Load(name));
  const bool fits =
      std::equal(shape.begin(), shape.end(), tensor.shape().begin(), tensor.shape().end(),
                 [](int64_t wanted, int64_t has) { return wanted == -1 || wanted == has; });
  if (fits) return tensor;
  return InvalidData("the weights give " + Quoted(name) + " the shape " +
                     ShapeText(tensor.shape()) + ", the graph needs " + ShapeText(shape));
}

Result<Tensor> SentenceEncoderWeights::Load(std::string_view name) {
  if (name == kWordTable) return WordTable();
  if (name == kPositionTable) return PositionTable();
  const std::optional<Source> source = FindSource(name);
  if (!source.has_value()) return NotFound("there is no weight " + Quoted(name));
  TRY(const Shape shape, model_.ShapeOf(source->name()));
  TRY(const Tensor stored, model_.Get(source->name(), shape));
  const std::vector<float> values = stored.ToFloats();
  if (shape.empty()) return InvalidData("weight " + Quoted(source->name()) + " is a scalar");
  const auto width = static_cast<size_t>(shape.back());
  const size_t count = width / source->place.parts;
  const size_t begin = source->place.part * count;
  if (shape.size() == 1) {
    return Tensor::FromFloats({static_cast<int64_t>(count)},
                              std::span(values).subspan(begin, count));
  }
  // 1 x 1 convolutions have two leading dimensions of 1; anything else fails the caller's shape
  // check.
  const size_t rows = width == 0 ? 0 : values.size() / width;
  return TransposedColumns(values, rows, width, begin, count);
}

Result<Tensor> SentenceEncoderWeights::WordTable() {
  TRY(const Tensor stored, model_.Get(kWords, {-1, -1}));
  std::vector<float> values = stored.ToFloats();
  for (float& x : values) x *= 2.0f;  // exact
  return Tensor::FromFloats(stored.shape(), values);
}

Result<Tensor> SentenceEncoderWeights::PositionTable() {
  TRY(const Shape words, model_.ShapeOf(kWords));
  TRY(const Tensor stored, model_.Get(kTiming, {1, words.back() / 2}));
  const std::vector<float> frequencies = stored.ToFloats();
  const size_t half = frequencies.size();
  std::vector<float> table;
  table.reserve(static_cast<size_t>(positions_) * 2 * half);
  for (int64_t position = 0; position < positions_; ++position) {
    // The product is rounded to float32 before the sine, as the published graph does.
    const auto angle = [&](size_t i) { return static_cast<float>(position) * frequencies[i]; };
    for (size_t i = 0; i < half; ++i) table.push_back(std::sin(angle(i)));
    for (size_t i = 0; i < half; ++i) table.push_back(std::cos(angle(i)));
  }
  return Tensor::FromFloats({positions_, static_cast<int64_t>(2 * half)}, table);
}

}  // namespace thimble
