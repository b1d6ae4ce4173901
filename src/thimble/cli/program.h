// A program made of verbs: understands the command line, runs the verb, turns its Status into one line and an
// exit code.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/cli/command.h"

namespace thimble::cli {

inline constexpr const char* kTrainProgram = "thimble-train";

struct Verb {
  std::string_view name, summary, example;
  Action (*setup)(CLI::App&);  // null: the verb is in kTrainProgram
};

// Becomes kTrainProgram, which lies beside this program, with that verb. Returns only if it cannot.
Error RunInTrainProgram(std::string_view verb, std::vector<std::string> arguments);

int RunProgram(std::span<const Verb> verbs, int argc, char** argv);

}  // namespace thimble::cli
