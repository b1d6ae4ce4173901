// Low-rank adapters as Hugging Face's PEFT library saves them: a directory with adapter_config.json and
// adapter_model.safetensors or adapter_model.bin.
//
// The base is a model that was imported from the checkpoint that the adapter was trained on. What is read: LoRA
// beside linears, all of one rank, and a new head, or new weights of the head that the base has. What would change
// the answers and is not known here (DoRA, trained biases, adapters of embeddings, ...) is kUnsupported.
#pragma once

#include <optional>
#include <string>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"
#include "thimble/graph/task.h"

namespace thimble {

// Whether the directory holds such an adapter.
bool IsPeft(const std::string& directory);

// The base with the adapter beside it (passes/lora.h), float32. `task` stands in for what "task_type" says.
// Labels are called LABEL_0, LABEL_1, ... unless the base has a name for each: PEFT does not keep them.
Result<Model> ImportPeft(const std::string& directory, const Model& base,
                         std::optional<Task> task = std::nullopt);

}  // namespace thimble
