#include "thimble/models/architecture.h"

#include <nlohmann/json.hpp>

#include "thimble/models/builders.h"
#include "thimble/models/config.h"

namespace thimble {
namespace {

struct Row {
  std::string_view model_type;
  Result<Graph> (*build)(const nlohmann::json&, const BuildOptions&, WeightSource&);
  Result<nlohmann::json> (*describe)(const Graph&);
  std::string_view class_prefix;
};

constexpr Row kModels[] = {
#define MODEL(model_type, Build, Describe, class_prefix) \
  {model_type, Build, Describe, class_prefix},
#include "thimble/models/models.inc"
#undef MODEL
};

}  // namespace

std::string KnownArchitectures() {
  std::string names;
  for (const Row& row : kModels) names += (names.empty() ? "" : ", ") + std::string(row.model_type);
  return names;
}

Result<Graph> BuildGraph(const nlohmann::json& config, const BuildOptions& options,
                         WeightSource& weights) {
  ConfigReader read(config);
  const std::string type = read.Text("model_type", "");
  read.Require("position_embedding_type", "absolute");
  read.RequireFlag("is_decoder", false);
  read.RequireFlag("add_cross_attention", false);
  TRY_VOID(read.status());
  for (const Row& row : kModels) {
    if (row.model_type == type) return row.build(config, options, weights);
  }
  return Unsupported(type.empty() ? "there is no \"model_type\"; known are " + KnownArchitectures()
                                  : "\"model_type\" is \"" + type.substr(0, 40) + "\"; known are " +
                                        KnownArchitectures());
}

Result<nlohmann::json> DescribeGraph(const Graph& graph) {
  for (const Row& row : kModels) {
    const std::string words = std::string(row.model_type) + ".embeddings.word_embeddings";
    if (graph.FindNode(words) == nullptr) continue;
    TRY(nlohmann::json config, row.describe(graph));
    config["model_type"] = row.model_type;
    return config;
  }
  return Unsupported("its nodes have the names of no architecture; known are " +
                     KnownArchitectures());
}

std::string_view HuggingFaceClassPrefix(std::string_view model_type) {
  for (const Row& row : kModels) {
    if (row.model_type == model_type) return row.class_prefix;
  }
  return {};
}

}  // namespace thimble
