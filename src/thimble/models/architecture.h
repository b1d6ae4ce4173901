// Architectures: from a Hugging Face configuration to a graph. One file per architecture, one row in
// models.inc; everything else (training, compression, runtime, export) follows from the graph.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/graph/task.h"

namespace thimble {

// Where an architecture gets its weights: a checkpoint, or an initialiser for training from scratch.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // The tensor called `name`, which must have `shape`; a dimension of -1 takes what is there.
  virtual Result<Tensor> Get(std::string_view name, const Shape& shape) = 0;
  virtual bool Has(std::string_view name) const = 0;
};

struct BuildOptions {
  Task task = Task::kFeatures;
  // Outputs of the head; unset: as many as the checkpoint's classifier has.
  std::optional<int64_t> labels;
};

// `config` is the parsed config.json; it may come from anywhere: sizes that are missing, negative,
// contradictory or absurd are errors that name the key. Unknown keys are ignored.
Result<Graph> BuildGraph(const nlohmann::json& config, const BuildOptions& options,
                         WeightSource& weights);

// The way back: the configuration of which BuildGraph makes a graph with the nodes of `graph`, whatever passes made of its
// weights. Of a pruned graph it is that of the smallest one that it can be cut from (passes/shrink.h): all heads, and
// as many columns as the widest feed-forward network has. Found by the names of nodes; what else the graph holds is not
// looked at, so compare the two. kUnsupported: the names are those of no architecture.
Result<nlohmann::json> DescribeGraph(const Graph& graph);

// How the names of Hugging Face's classes begin ("MobileBert"); empty: it has none for this model_type.
std::string_view HuggingFaceClassPrefix(std::string_view model_type);

// Names of model_type values that BuildGraph knows, for messages.
std::string KnownArchitectures();

}  // namespace thimble
