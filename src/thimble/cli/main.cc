// thimble: everything but what needs libtorch, for which it starts thimble-train.
#include "thimble/cli/command.h"
#include "thimble/cli/program.h"

namespace {

constexpr thimble::cli::Verb kVerbs[] = {
#define VERB(function, name, summary, example) {name, summary, example, thimble::cli::function},
#include "thimble/cli/verbs.inc"
#undef VERB
#define VERB(function, name, summary, example) {name, summary, example, nullptr},
#include "thimble/cli/train_verbs.inc"
#undef VERB
};

}  // namespace

int main(int argc, char** argv) { return thimble::cli::RunProgram(kVerbs, argc, argv); }
