// A verb of the command line: one row in verbs.inc (train_verbs.inc for what needs libtorch) and one file that defines its Setup function.
//
//   Action SetupGreet(CLI::App& app) {
//     auto name = std::make_shared<std::string>();
//     app.add_option("NAME", *name, "whom to greet")->required();
//     return [name]() -> Status { ... };
//   }
//
// Setup only declares the options; the action runs after the whole command line was understood,
// prints its results to standard output and returns errors, which main prints and turns into an
// exit code. An error without text is one that another process of the same run has told.
#pragma once

#include <functional>

#include "thimble/base/result.h"

namespace CLI {
class App;
}

namespace thimble::cli {

using Action = std::function<Status()>;

#define VERB(function, name, summary, example) Action function(CLI::App& app);
#include "thimble/cli/train_verbs.inc"
#include "thimble/cli/verbs.inc"
#undef VERB

// thimble-train's part of `thimble export`.
Action SetupExportTorchScript(CLI::App& app);

}  // namespace thimble::cli
