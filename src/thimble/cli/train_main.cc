// thimble-train: the verbs that need gradients, with libtorch inside. `thimble` starts it for them, as git does
// with programs of its own, so that everything else starts in milliseconds.
#include "thimble/cli/command.h"
#include "thimble/cli/program.h"
#include "thimble/train/libraries.h"

namespace {

constexpr thimble::cli::Verb kVerbs[] = {
#define VERB(function, name, summary, example) {name, summary, example, thimble::cli::function},
#include "thimble/cli/train_verbs.inc"
#undef VERB
    // thimble export starts it for the formats that libtorch writes.
    {"export", "write a model as TorchScript", "thimble export m.thimble -o m.pt",
     thimble::cli::SetupExportTorchScript},
};

}  // namespace

int main(int argc, char** argv) {
  thimble::train::UseOneThreadPerCall();
  return thimble::cli::RunProgram(kVerbs, argc, argv);
}
