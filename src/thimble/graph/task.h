// What the outputs of a model mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace thimble {

// The output "logits" has one row per sequence for kSingleLabel, kMultiLabel and kRegression, one per
// token for kTokenLabels, kAnswers ([start, end]) and kMaskedLm ([vocabulary]). kFeatures has none: its
// outputs are "last_hidden_state" and, where the architecture pools, "pooler_output".
// kPretraining is kMaskedLm plus "seq_relationship_logits" per sequence.
enum class Task : uint8_t {
#define TASK(enumerator, name) enumerator,
#include "thimble/graph/tasks.inc"
#undef TASK
};

std::string_view TaskName(Task task);
std::optional<Task> TaskFromName(std::string_view name);

}  // namespace thimble
