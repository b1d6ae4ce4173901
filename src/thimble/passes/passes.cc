#include "thimble/passes/passes.h"

#include <string>

namespace thimble {
namespace {

constexpr Pass kPasses[] = {
#define PASS(name, function, description) {name, description, function},
#include "thimble/passes/passes.inc"
#undef PASS
};

}  // namespace

std::span<const Pass> AllPasses() { return kPasses; }

const Pass* FindPass(std::string_view name) {
  for (const Pass& pass : kPasses) {
    if (pass.name == name) return &pass;
  }
  return nullptr;
}

Result<Graph> RunPass(const Pass& pass, const Graph& graph) {
  Result<Graph> result = pass.run(graph);
  if (!result) return std::move(result).error().In(pass.name);
  const Status verified = Verify(*result);
  if (!verified) return Error(verified.error()).In(pass.name);
  return result;
}

}  // namespace thimble
