// Calls of thimble, made once: kept under DIR/steps/VERB-KEY and found again by what goes into them (pipeline.h).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/pipeline/pipeline.h"
#include "thimble/pipeline/recipe.h"
#include "thimble/targets/energy.h"

namespace thimble::pipeline {

// A word of a call: as the program gets it, and as its key has it, files by their content.
struct Word {
  std::string text, key;
};

struct Call {
  const StepVerb* verb = nullptr;
  std::vector<Word> words;
  std::string output;  // name of what is written with -o; empty: nothing
};

// A call that was made, now or earlier.
struct Made {
  // verb, command, key, exit_code (0 or 3), error, seconds, cpu_seconds, joules, joules_measured, result, output_sha256
  nlohmann::ordered_json record;
  std::string output;
  bool reused = false;

  int exit_code() const { return record["exit_code"].get<int>(); }
  const nlohmann::ordered_json& result() const { return record["result"]; }
};

// `options` must outlive it.
class Calls {
 public:
  explicit Calls(const PipelineOptions& options) : o_(options) {}

  // Of what a file or folder holds, looked at once.
  Result<std::string> HashOf(const std::string& path);
  Result<Word> FileWord(const std::string& path);

  // The call's record, from before if it was made. Exit codes 0 and 3 are results; everything else is an error, which names the
  // step by `name`.
  Result<Made> Make(const std::string& name, const Call& call);

  // The names of a verb's options, from its help.
  Result<std::vector<std::string>> OptionsOf(const StepVerb& verb);

  // What the calls cost, each once, whenever they were made.
  const Usage& spent() const { return spent_; }

 private:
  std::string KeyOf(const Call& call) const;
  std::optional<nlohmann::ordered_json> Recall(const std::string& folder, const std::string& key,
                                               const std::string& output);
  void Count(const nlohmann::ordered_json& record);

  const PipelineOptions& o_;
  std::map<std::string, std::string> hashes_;  // of contents, by path
  std::set<std::string> counted_;
  Usage spent_;
};

}  // namespace thimble::pipeline
