// One golden: a model built from its folder, inputs, and what the original computed from them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "thimble/graph/graph.h"
#include "thimble/models/architecture.h"

namespace thimble {

// Sequences as executors take them: `types` and `mask` as long as `ids`.
struct PackedIds {
  std::vector<int32_t> ids, types;
  std::vector<uint8_t> mask;
  std::vector<int32_t> offsets{0};

  PackedBatch batch() const { return {offsets, mask}; }
};

struct ExpectedOutput {
  std::string name;          // as in the file: "logits", "start_logits", "last_hidden_state", ...
  std::string graph_output;  // where the graph has it
  // Which part of that matrix is known: rows (empty: all) and columns [first, first + columns).
  std::vector<size_t> rows;
  size_t first_column = 0, columns = 0;
  std::vector<float> values;  // rows of `columns` each
};

// A padded rectangle.
struct GoldenRun {
  std::string name;  // "run0"
  size_t sequences = 0, length = 0;
  PackedIds inputs;  // every sequence `length` long; the mask says what is padding
  std::vector<ExpectedOutput> outputs;
};

struct GoldenCase {
  Graph graph;
  std::vector<GoldenRun> runs;
  double tolerance = 2e-5;  // times max(1, largest magnitude of the output)
};

// A folder with a checkpoint, imported as a user would, and expected.safetensors.
Result<GoldenCase> LoadGoldenCase(const std::filesystem::path& folder);

// A folder with a recipe: the same with one head of `model_class` over the shared backbone.
Result<GoldenCase> LoadRecipeCase(const std::filesystem::path& folder,
                                  const std::string& model_class);
std::vector<std::string> RecipeModelClasses(const std::filesystem::path& folder);

// The same run with padding cut off, which gives the same rows in every graph that does not look at
// neighbours; nothing where the mask has holes or the graph has a trigram.
std::optional<GoldenRun> WithoutPadding(const Graph& graph, const GoldenRun& run);

}  // namespace thimble
