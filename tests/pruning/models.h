// Every architecture, small, with random weights, and graphs with masks to hold shrunk ones against.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "thimble/base/random.h"
#include "thimble/models/architecture.h"
#include "thimble/passes/shrink.h"
#include "thimble/passes/structures.h"

namespace thimble {

class RandomSource : public WeightSource {
 public:
  Result<Tensor> Get(std::string_view name, const Shape& shape) override {
    const auto made = tensors_.find(name);
    if (made != tensors_.end()) return made->second;
    Shape whole = shape;
    for (int64_t& dim : whole) dim = dim == -1 ? 3 : dim;
    Random random(17, tensors_.size());
    const bool gain = whole.size() == 1 && name.ends_with(".weight");
    std::vector<float> values(*ElementCount(whole));
    for (float& v : values) v = static_cast<float>((gain ? 1.0 : 0.0) + 0.25 * random.Normal());
    return tensors_.emplace(name, Tensor::FromFloats(whole, values)).first->second;
  }
  bool Has(std::string_view) const override { return true; }

 private:
  std::map<std::string, Tensor, std::less<>> tensors_;
};

struct SmallModel {
  const char* name;
  const char* config;
  // What FindStructures gives: of heads, of columns, and places of each (more than one where weights are shared).
  size_t heads, columns, places;
};

inline constexpr SmallModel kSmallModels[] = {
    {"bert",
     R"({"model_type":"bert","vocab_size":40,"hidden_size":24,"num_hidden_layers":2,"num_attention_heads":3,
         "intermediate_size":20,"max_position_embeddings":32})",
     2, 2, 1},
    {"roberta",
     R"({"model_type":"roberta","vocab_size":40,"hidden_size":24,"num_hidden_layers":2,"num_attention_heads":3,
         "intermediate_size":20,"max_position_embeddings":34,"type_vocab_size":1})",
     2, 2, 1},
    {"distilbert",
     R"({"model_type":"distilbert","vocab_size":40,"dim":24,"n_layers":2,"n_heads":3,"hidden_dim":20,
         "max_position_embeddings":32})",
     2, 2, 1},
    {"albert_shared",
     R"({"model_type":"albert","vocab_size":40,"hidden_size":24,"embedding_size":8,"num_hidden_layers":3,
         "num_attention_heads":3,"intermediate_size":20,"max_position_embeddings":32})",
     1, 1, 3},
    {"albert_groups",
     R"({"model_type":"albert","vocab_size":40,"hidden_size":24,"embedding_size":8,"num_hidden_layers":4,
         "num_hidden_groups":2,"num_attention_heads":3,"intermediate_size":20,"max_position_embeddings":32})",
     2, 2, 2},
    {"mobilebert",
     R"({"model_type":"mobilebert","vocab_size":40,"hidden_size":32,"embedding_size":16,"num_hidden_layers":2,
         "intra_bottleneck_size":18,"intermediate_size":20,"num_attention_heads":3,
         "num_feedforward_networks":4,"max_position_embeddings":32})",
     2, 8, 1},
    {"mobilebert_tiny",
     R"({"model_type":"mobilebert","vocab_size":40,"hidden_size":32,"embedding_size":16,"num_hidden_layers":2,
         "intra_bottleneck_size":18,"intermediate_size":20,"num_attention_heads":3,"num_feedforward_networks":2,
         "use_bottleneck_attention":true,"key_query_shared_bottleneck":false,"classifier_activation":false,
         "max_position_embeddings":32})",
     2, 4, 1},
    {"mobilebert_layer_norm",
     R"({"model_type":"mobilebert","vocab_size":40,"hidden_size":32,"embedding_size":16,"num_hidden_layers":2,
         "intra_bottleneck_size":18,"intermediate_size":20,"num_attention_heads":3,"num_feedforward_networks":1,
         "normalization_type":"layer_norm","hidden_act":"gelu","trigram_input":false,
         "max_position_embeddings":32})",
     2, 2, 1},
    {"mobilebert_wide",
     R"({"model_type":"mobilebert","vocab_size":40,"hidden_size":24,"embedding_size":24,"num_hidden_layers":2,
         "use_bottleneck":false,"intermediate_size":20,"num_attention_heads":3,"num_feedforward_networks":2,
         "max_position_embeddings":32})",
     2, 4, 1},
};

inline Graph BuildSmall(const SmallModel& model, Task task = Task::kSingleLabel) {
  RandomSource weights;
  Result<Graph> graph =
      BuildGraph(nlohmann::json::parse(model.config), {.task = task, .labels = 3}, weights);
  EXPECT_TRUE(graph.has_value()) << graph.error().message();
  return *std::move(graph);
}

// What Shrink removes is set to zero instead.
inline Graph Masked(const Graph& graph, const std::vector<Kept>& kept) {
  Graph masked = graph;
  const std::vector<Structure> structures = FindStructures(graph);
  for (const Kept& k : kept) {
    const auto s = std::ranges::find(structures, k.structure, &Structure::name);
    std::vector<size_t> consumers{s->consumer};
    for (const Structure::Place& place : s->tied) consumers.push_back(place.consumer);
    for (const size_t consumer : consumers) {
      Tensor& weight = masked.nodes[consumer].weights[0].tensor;
      std::vector<float> values = weight.ToFloats();
      for (size_t i = 0; i < values.size(); ++i) {
        const int64_t unit = static_cast<int64_t>(i) % weight.dim(1) / s->unit_width;
        if (!std::ranges::binary_search(k.units, unit)) values[i] = 0;
      }
      weight = Tensor::FromFloats(weight.shape(), values);
    }
  }
  return masked;
}

struct SmallBatch {
  std::vector<int32_t> ids{1, 7, 30, 2, 3, 8, 9, 21, 5, 6, 2, 11};
  std::vector<int32_t> types{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  std::vector<int32_t> offsets{0, 4, 11, 12};
};

// "last_hidden_state" and "logits" by the references.
inline std::vector<std::vector<float>> Reference(const Graph& graph) {
  const SmallBatch b;
  std::vector<std::span<const int32_t>> inputs;
  for (const ValueId id : graph.inputs) {
    inputs.emplace_back(graph.value(id).name == kInputIds ? b.ids : b.types);
  }
  constexpr std::array<std::string_view, 2> kOutputs{"last_hidden_state", "logits"};
  const auto values = RunReference(graph, {b.offsets, {}}, inputs, kOutputs);
  EXPECT_TRUE(values.has_value()) << values.error().message();
  return {(*values)[0].floats, (*values)[1].floats};
}

// The largest difference, over the largest value.
inline double Difference(const std::vector<std::vector<float>>& a,
                         const std::vector<std::vector<float>>& b) {
  double difference = 0, largest = 0;
  EXPECT_EQ(a.size(), b.size());
  for (size_t o = 0; o < std::min(a.size(), b.size()); ++o) {
    EXPECT_EQ(a[o].size(), b[o].size());
    for (size_t i = 0; i < std::min(a[o].size(), b[o].size()); ++i) {
      difference = std::max(difference, std::abs(static_cast<double>(a[o][i]) - b[o][i]));
      largest = std::max(largest, std::abs(static_cast<double>(b[o][i])));
    }
  }
  return difference / largest;
}

// Some units of every structure: another choice in each.
inline std::vector<Kept> SomeUnits(const Graph& graph, uint64_t seed) {
  Random random(seed);
  std::vector<Kept> kept;
  for (const Structure& s : FindStructures(graph)) {
    Kept k{s.name, {}, std::nullopt};
    for (int64_t unit = 0; unit < s.units; ++unit) {
      if (random.Below(2) == 0) k.units.push_back(unit);
    }
    if (k.units.empty()) k.units.push_back(s.units - 1);
    kept.push_back(std::move(k));
  }
  return kept;
}

inline std::vector<Kept> Nothing(const Graph& graph) {
  std::vector<Kept> kept;
  for (const Structure& s : FindStructures(graph)) kept.push_back({s.name, {}, std::nullopt});
  return kept;
}

inline Graph Shrunk(const Graph& graph, const std::vector<Kept>& kept) {
  Result<Graph> result = Shrink(graph, kept);
  EXPECT_TRUE(result.has_value()) << result.error().message();
  return *std::move(result);
}

}  // namespace thimble
