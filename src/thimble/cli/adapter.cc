#include "thimble/cli/adapter.h"

#include <CLI/CLI.hpp>

#include "thimble/formats/thimble/reader.h"
#include "thimble/passes/passes.h"

namespace thimble::cli {

void AddAdapterOptions(CLI::App& app, AdapterOptions& options) {
  auto* adapter =
      app.add_option("--adapter", options.file,
                     "an adapter of the model (thimble train --adapter-rank): its task is done")
          ->type_name("FILE");
  app.add_flag(
         "--merge-adapter", options.merge,
         "add the adapter into the weights while loading: faster runs, memory for the weights "
         "that it changes")
      ->needs(adapter);
}

Result<Model> ReadModel(const std::string& path, const AdapterOptions& adapter) {
  TRY(Model model, ReadThimble(path));
  if (adapter.file.empty()) return model;
  TRY(model, ReadAdapter(adapter.file, model));
  if (!adapter.merge) return model;
  Result<Graph> merged = MergeLora(model.graph);
  if (!merged) return std::move(merged).error().In(path);
  model.graph = *std::move(merged);
  return model;
}

}  // namespace thimble::cli
