// Training what compression has left of a model, with the model as it was as teacher.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "thimble/base/result.h"
#include "thimble/cli/training_options.h"
#include "thimble/formats/model.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace thimble::cli {

struct RecoveryOptions {
  std::string train;  // empty: no training
  double epochs = 3, rate = 3e-4, dropout = 0.1, token_dropout = 0, temperature = 2;
  double alpha_task = 0.1, alpha_logits = 0.9;
  std::optional<double> alpha_hidden;  // unset: 1, with dropped tokens 0, which cannot be compared
  size_t batch = 32, max_length = 128;
  int threads = 0;  // 0: those of the rest of the command
};

// Declares all of them but --train, which they need.
void AddRecoveryOptions(CLI::App& app, CLI::Option* train, RecoveryOptions& options);

// A call that trains `start` by `teacher`, both files; validation, output and seed are the caller's.
TrainingCall RecoveryCall(const RecoveryOptions& options, const std::string& start,
                          const std::string& teacher, int threads);

// Makes the call with `start` as what is trained. Files beside `path` that it needs are gone afterwards, but for the
// teacher's outputs where call.cache names a folder.
Result<Model> Recover(TrainingCall call, const Model& start, const std::string& path);

}  // namespace thimble::cli
