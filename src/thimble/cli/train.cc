#include <CLI/CLI.hpp>
#include <memory>

#include "thimble/cli/command.h"
#include "thimble/cli/training_options.h"
#include "thimble/cli/training_run.h"

namespace thimble::cli {

Action SetupTrain(CLI::App& app) {
  auto call = std::make_shared<TrainingCall>();
  AddTrainingOptions(app, *call);
  return [call] { return RunTraining(*call); };
}

}  // namespace thimble::cli
