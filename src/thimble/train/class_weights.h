// What a loss needs to know about how often each label occurs.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "thimble/data/dataset.h"

namespace thimble::train {

// Share of the rows (kTokenLabels: of the words) that have each label, never 0: a label without a row counts as
// half a row.
std::vector<float> LabelShares(const Dataset& data);

enum class ClassWeighting : uint8_t {
  kNone,
  kBalanced,  // one label per row: 1 / share; several: the odds against the label, from 1 to 20
  kSqrt,      // the root of that, then bounded
};
std::optional<ClassWeighting> ClassWeightingFromName(
    std::string_view name);  // "none", "balanced", "sqrt"

// One factor per label, of mean 1 over the rows where each has one label. Empty for kNone.
std::vector<float> ClassWeights(const Dataset& data, ClassWeighting weighting);

}  // namespace thimble::train
