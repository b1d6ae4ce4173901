// Runs a recipe: every step is a call of thimble, found again by its content.
//
// A call is kept under DIR/steps/VERB-KEY, where KEY hashes the verb, its options, the contents of the files it reads, the
// version of the program and, where time is measured, the machine. A call that is there is not made again, so that a second run
// makes only what changed; an output that was changed since is made again. What was interrupted begins anew, or goes on from
// its own checkpoint with `resume`. Files are written aside, then renamed.
//
// After every step that makes a model, the model is judged on the validation set and timed. One that loses more than the step
// allows is rolled back: the next step starts from the model before. With a varied value the steps are run for one value after
// another until the limits of the recipe are met; what does not depend on the value is kept.
//
// Not thread-safe. Two processes with one DIR wait for each other.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/pipeline/recipe.h"

namespace thimble::pipeline {

// Runs thimble with these arguments, the verb first, and returns its exit code.
using Runner =
    std::function<Result<int>(const std::vector<std::string>& arguments,
                              const std::string& stdout_path, const std::string& stderr_path)>;

struct PipelineOptions {
  std::string folder;            // DIR
  std::string version, machine;  // parts of keys
  bool resume = false;
  bool force = false;  // write the result even if it misses a limit
  Runner run;
  std::function<void(const std::string&)> tell;  // one line for a person
  std::function<Status()> check_interrupt;
};

// The report (docs/pipeline.md), also written to DIR/report.json; where the limits are met, DIR/model.thimble and what export
// steps wrote are there too. `met`: whether they are.
struct PipelineResult {
  nlohmann::ordered_json report;
  bool met = false;
  std::string missed;  // why not, one line
};

Result<PipelineResult> RunPipeline(const Recipe& recipe, const PipelineOptions& options);

}  // namespace thimble::pipeline
