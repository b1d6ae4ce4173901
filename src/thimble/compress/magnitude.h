// Structured magnitude pruning, the baseline that other methods are measured against: units leave in the order of the
// norm of their weights (Han et al. 2015, for whole units), and nothing makes up for them.
#pragma once

#include <cstdint>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/compress/gram.h"
#include "thimble/compress/removal.h"
#include "thimble/graph/graph.h"
#include "thimble/passes/structures.h"

namespace thimble::compress {

// Per unit: the Euclidean norm of its rows in the producers (biases too), its columns in the consumer and what lies
// between. Weights that layers share count once.
std::vector<double> UnitNorms(const Graph& graph, const Structure& structure);

// `gram`: moments of the consumer's inputs, for the errors; null: none are computed, nor the energy. `counts`: of units
// left, for which snapshots are wanted. Ties leave in the order of the units. kInvalidArgument: counts or moments
// that do not fit.
Result<RemovalPath> PruneByMagnitude(const Graph& graph, const Structure& structure,
                                     const Gram* gram, const std::vector<int64_t>& counts);

}  // namespace thimble::compress
