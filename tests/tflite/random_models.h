// Small models of every architecture with numbers that look random, and what their references give.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "thimble/formats/model.h"

namespace thimble {

// A model of that configuration; the sizes that it leaves out are small.
Model RandomModel(const nlohmann::json& config, Task task);

// Every activation function, shared-width heads of unequal widths, a query per sequence, both ways to pool, and
// a unit vector: what no architecture has.
Model EveryOperation();

// Ids of `sequences` sequences, their types, and a mask with padding and a hole.
struct IdBatch {
  int32_t sequences = 0, length = 0;
  std::vector<int32_t> ids, types;
  std::vector<uint8_t> mask;
};
IdBatch RandomIds(int32_t sequences, int32_t length, int32_t vocabulary);

// Writes what the graph's reference gives for the batch as a recording that tools/check_export.mjs reads; logits of
// answers as start_logits and end_logits.
Status WriteRecording(const Model& model, const IdBatch& batch, const std::string& path);

}  // namespace thimble
