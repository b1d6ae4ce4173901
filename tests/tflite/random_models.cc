#include "tests/tflite/random_models.h"

#include <nlohmann/json.hpp>

#include "thimble/formats/safetensors/safetensors.h"
#include "thimble/models/architecture.h"

namespace thimble {
namespace {

constexpr int64_t kVocabulary = 23;

// In [-1, 1)
float NextNumber() {
  static uint32_t state = 1;
  state = state * 1664525 + 1013904223;
  return static_cast<float>(state >> 8) * 0x1p-23f - 1;
}

// Matrices whose products keep the size of numbers; norms close to 1.
Tensor RandomTensor(const Shape& shape, bool around_one) {
  std::vector<float> numbers(*ElementCount(shape));
  const float size = shape.size() == 2 ? 1.5f / std::sqrt(static_cast<float>(shape[1])) : 0.3f;
  for (float& number : numbers) number = NextNumber() * size + (around_one ? 1.0f : 0.0f);
  return Tensor::FromFloats(shape, numbers);
}

class RandomWeights : public WeightSource {
 public:
  Result<Tensor> Get(std::string_view name, const Shape& shape) override {
    const auto made = tensors_.find(name);
    if (made != tensors_.end()) return made->second;
    Shape whole = shape;
    for (int64_t& dim : whole) dim = dim == -1 ? 3 : dim;
    const bool is_norm = name.ends_with("Norm.weight") || name.ends_with("norm.weight");
    return tensors_.emplace(name, RandomTensor(whole, is_norm)).first->second;
  }
  bool Has(std::string_view) const override { return true; }

 private:
  std::map<std::string, Tensor, std::less<>> tensors_;
};

Weight RandomWeight(const std::string& name, Shape shape) {
  return {name, RandomTensor(shape, false)};
}

NamedTensor Named(const std::string& name, DType dtype, Shape shape,
                  std::span<const std::byte> bytes) {
  return {name, Tensor::Copy(dtype, std::move(shape), bytes)};
}

NamedTensor Column(const std::string& name, const std::vector<float>& pairs, size_t column,
                   int64_t length) {
  std::vector<float> values;
  for (size_t i = column; i < pairs.size(); i += 2) values.push_back(pairs[i]);
  return Named(name, DType::kF32, {static_cast<int64_t>(values.size()) / length, length},
               std::as_bytes(std::span(values)));
}

}  // namespace

Model RandomModel(const nlohmann::json& config, Task task) {
  const std::string type = config.at("model_type");
  nlohmann::json whole = {{"vocab_size", kVocabulary},
                          {"hidden_size", 32},
                          {"num_hidden_layers", 2},
                          {"num_attention_heads", 4},
                          {"intermediate_size", 48},
                          {"max_position_embeddings", 40},
                          {"embedding_size", 16},
                          {"intra_bottleneck_size", 16},
                          {"true_hidden_size", 16},
                          {"dim", 32},
                          {"n_layers", 2},
                          {"n_heads", 4},
                          {"hidden_dim", 48}};
  whole.update(config);
  RandomWeights weights;
  Result<Graph> graph = BuildGraph(whole, {.task = task, .labels = 3}, weights);
  THIMBLE_CHECK(graph.has_value());
  Model model;
  model.architecture = type;
  model.task = task;
  model.graph = *std::move(graph);
  if (task == Task::kSingleLabel || task == Task::kMultiLabel) model.labels = {"a", "b", "c"};
  return model;
}

Model EveryOperation() {
  Builder b;
  constexpr int64_t kWidth = 8;
  const auto linear = [&](const std::string& name, ValueId x, int64_t width) {
    return b.Add(OpKind::kLinear, name, {x},
                 {RandomWeight(name + ".weight", {width, b.type(x).width}),
                  RandomWeight(name + ".bias", {width})});
  };
  const ValueId ids = b.Input(kInputIds);
  const Weight words = RandomWeight("words", {kVocabulary, kWidth});
  const ValueId places = b.Add(OpKind::kPositionIds, "places", {ids}, {}, PositionIdsAttrs{1, -1});
  ValueId x = b.Add(OpKind::kEmbedding, "words", {ids}, {words});
  x = b.Add(OpKind::kAdd, "add_places",
            {x, b.Add(OpKind::kEmbedding, "place_table", {places},
                      {RandomWeight("place_table", {41, kWidth})})});
  for (const auto& name : {"linear", "relu", "relu6", "relu2", "gelu", "gelu_new", "quick_gelu",
                           "gelu_10", "leaky_relu", "silu", "mish", "sigmoid", "tanh"}) {
    const std::string step = std::string("step.") + name;
    const ValueId active = b.Add(OpKind::kActivation, step, {linear(step + ".dense", x, kWidth)},
                                 {}, ActivationAttrs{*ActivationFromName(name)});
    x = b.Add(OpKind::kLayerNorm, step + ".norm", {b.Add(OpKind::kAdd, step + ".add", {active, x})},
              {RandomWeight(step + ".norm.weight", {kWidth}),
               RandomWeight(step + ".norm.bias", {kWidth})},
              LayerNormAttrs{1e-3});
  }
  x = b.Add(OpKind::kAttention, "attention",
            {linear("query", x, 12), linear("key", x, 12), linear("value", x, 6)}, {},
            AttentionAttrs{3, 0.7});
  x = b.Add(OpKind::kAffine, "affine", {x},
            {RandomWeight("gamma", {6}), RandomWeight("beta", {6})});
  b.Output("last_hidden_state", x);
  b.Output("again", x);
  const ValueId first = b.Add(OpKind::kPool, "first", {x}, {}, PoolAttrs{PoolKind::kFirst});
  const ValueId mean = b.Add(OpKind::kPool, "mean", {x}, {}, PoolAttrs{PoolKind::kMean});
  b.Output("asked", b.Add(OpKind::kAttention, "asked", {first, x, x}, {}, AttentionAttrs{2, 1.5}));
  b.Output("pooler_output", b.Add(OpKind::kL2Normalize, "unit", {mean}));
  b.Output("decoded", b.Add(OpKind::kLinear, "decoder", {linear("widen", x, kWidth)}, {words}));
  Result<Graph> graph = std::move(b).Finish(40);
  THIMBLE_CHECK(graph.has_value());
  Model model;
  model.architecture = "every_operation";
  model.graph = *std::move(graph);
  return model;
}

IdBatch RandomIds(int32_t sequences, int32_t length, int32_t vocabulary) {
  IdBatch batch{sequences, length, {}, {}, {}};
  for (int32_t s = 0; s < sequences; ++s) {
    for (int32_t i = 0; i < length; ++i) {
      batch.ids.push_back(2 + (s * 31 + i * i * 7 + i) % (vocabulary - 2));
      batch.types.push_back(i > length / 2 ? 1 : 0);
      // Padding of later sequences, as RoBERTa counts it, and a hole in the first.
      const bool padding = s > 0 && i >= length - s;
      if (padding) batch.ids.back() = 1;
      batch.mask.push_back(padding || (s == 0 && i == 2) ? 0 : 1);
    }
  }
  return batch;
}

Status WriteRecording(const Model& model, const IdBatch& batch, const std::string& path) {
  std::vector<int32_t> offsets = {0};
  for (int32_t s = 1; s <= batch.sequences; ++s) offsets.push_back(s * batch.length);
  std::vector<std::span<const int32_t>> inputs;
  for (const ValueId id : model.graph.inputs) {
    inputs.push_back(model.graph.value(id).name == kInputIds ? batch.ids : batch.types);
  }
  std::vector<std::string_view> names;
  for (const GraphOutput& output : model.graph.outputs) names.push_back(output.name);
  TRY(const auto values, RunReference(model.graph, {offsets, batch.mask}, inputs, names));
  std::vector<NamedTensor> tensors;
  const auto add_ids = [&](const std::string& name, const auto& ids) {
    const std::vector<int64_t> wide(ids.begin(), ids.end());
    tensors.push_back(Named("run0.input." + name, DType::kI64, {batch.sequences, batch.length},
                            std::as_bytes(std::span(wide))));
  };
  add_ids("input_ids", batch.ids);
  add_ids("token_type_ids", batch.types);
  add_ids("attention_mask", batch.mask);
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string name = "run0.output." + std::string(names[i]);
    const std::vector<float>& floats = values[i].floats;
    if (names[i] == "logits" && model.task == Task::kAnswers) {
      tensors.push_back(Column("run0.output.start_logits", floats, 0, batch.length));
      tensors.push_back(Column("run0.output.end_logits", floats, 1, batch.length));
    } else {
      const int64_t width = values[i].type.width;
      tensors.push_back(Named(name, DType::kF32,
                              {static_cast<int64_t>(floats.size()) / width, width},
                              std::as_bytes(std::span(floats))));
    }
  }
  return WriteSafetensors(path, tensors);
}

}  // namespace thimble
