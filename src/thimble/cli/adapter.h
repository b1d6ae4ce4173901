// MODEL --adapter FILE [--merge-adapter]: how verbs that use a model open it.
#pragma once

#include <string>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"

namespace CLI {
class App;
}

namespace thimble::cli {

struct AdapterOptions {
  std::string file;    // empty: none
  bool merge = false;  // into the weights, once, while loading
};

void AddAdapterOptions(CLI::App& app, AdapterOptions& options);

// The model of a .thimble file, or what its adapter makes of it.
Result<Model> ReadModel(const std::string& path, const AdapterOptions& adapter);

}  // namespace thimble::cli
