// A recipe of `thimble compress`: what a person writes, as TOML. docs/pipeline.md shows one.
//
//   metric = "accuracy"                      # of the validation set, more is better; unset: the task's main one
//   [files]                                  # what the steps read, by name; paths are relative to the recipe
//   train = "train.tsv"
//   valid = "valid.tsv"                      # required: what every model is judged by
//   [measure]                                # how models are timed
//   seq = 32
//   [limits]                                 # what the result has to keep
//   max-loss = 0.02
//   [values]                                 # other values by name; --set name=VALUE replaces one
//   seed = 1
//   [vary]                                   # tried in this order until the limits are met
//   speedup = [3, 2]
//   [[step]]
//   name = "prune"
//   verb = "prune"
//   max-loss = 0.01                          # of this step; more is rolled back
//   [step.options]                           # of the verb, without the dashes
//   speedup = "{speedup}"                    # {name}: a file, what an earlier step wrote, {model}, or a value
//
// Reading checks everything that can be known without running a step; errors name the line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "thimble/base/result.h"

namespace thimble::pipeline {

enum class StepInput : uint8_t { kOptions, kModel };
enum class StepOutput : uint8_t { kNothing, kFile, kModel, kModels };
inline constexpr int kResumes = 1, kTimes = 2;

// A row of step_verbs.inc.
struct StepVerb {
  std::string_view name;
  StepInput input;
  StepOutput output;
  int flags;
};

// Null where there is none.
const StepVerb* FindStepVerb(std::string_view name);

struct StepOption {
  std::string name;                 // without the dashes
  std::vector<std::string> values;  // empty: a flag
  int line = 0;
};
using StepOptions = std::vector<StepOption>;

struct StepLimits {
  std::optional<double> max_loss;   // relative, against the model before the step
  std::optional<double> max_ms;     // median of a run as [measure] says
  std::optional<double> max_bytes;  // of the file
};

struct Step {
  std::string name;
  const StepVerb* verb = nullptr;
  std::vector<std::string> inputs;  // arguments without a name
  StepOptions options;
  // Options to try instead of each other, in order, until a model keeps the limits; empty: one try.
  std::vector<StepOptions> tries;
  StepLimits limits;
  // The model is a part for later steps, by its name: it is timed, not judged, and does not become {model}.
  bool part = false;
  std::string output;  // name of the file
  int line = 0;
};

struct Measure {
  int64_t seq = 128, batch = 1, threads = 1;
  double seconds = 2;
};

// Of the result; `reference` is the first model that was judged.
struct Limits {
  std::optional<double> max_loss;     // relative, against the reference
  std::optional<double> max_ms;       // median
  std::optional<double> max_bytes;    // of the file
  std::optional<double> min_smaller;  // reference's bytes by the result's
  std::optional<double> min_faster;   // reference's milliseconds by the result's
};

using NamedTexts = std::vector<std::pair<std::string, std::string>>;

struct Recipe {
  std::string path, metric;
  NamedTexts files;  // name, path
  Measure measure;
  Limits limits;
  NamedTexts values;   // name, value
  std::string varied;  // name; empty: nothing is varied
  std::vector<std::string> variants;
  std::vector<Step> steps;

  // Null where there is none.
  const std::string* File(std::string_view name) const;
  const std::string* Value(std::string_view name) const;
};

// `files` replaces files of the recipe, paths taken as they are; `values` replaces values, a varied one by this one alone.
Result<Recipe> ReadRecipe(const std::string& path, const NamedTexts& files = {},
                          const NamedTexts& values = {});

// The text with every {name} replaced by what `value` says, which gets the name without braces. {{ and }} are braces.
template <class Value>
Result<std::string> Substitute(std::string_view text, const Value& value) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool twice = i + 1 < text.size() && text[i + 1] == text[i];
    if ((text[i] == '{' || text[i] == '}') && twice) {
      out += text[i++];
    } else if (text[i] == '{') {
      const size_t end = text.find('}', i);
      if (end == std::string_view::npos) {
        return InvalidArgument("'" + std::string(text) + "': a brace is not closed");
      }
      TRY(const std::string replaced, value(text.substr(i + 1, end - i - 1)));
      out += replaced;
      i = end;
    } else if (text[i] == '}') {
      return InvalidArgument("'" + std::string(text) + "': a brace is not opened");
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace thimble::pipeline
