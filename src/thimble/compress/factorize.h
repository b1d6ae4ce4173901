// Matrices as products of two thin ones.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/compress/gram.h"
#include "thimble/formats/model.h"

namespace thimble::compress {

// How often each id stands in texts, special tokens included; one entry per id that the tokenizer may give.
Result<std::vector<double>> TokenCounts(const Model& model, const std::vector<std::string>& paths,
                                        const ProgressFn& progress);
// The share of texts that have an id outside `kept` (rising), which are those that a vocabulary trimmed to it cuts
// differently.
Result<double> ChangedTexts(const Model& model, const std::vector<std::string>& paths,
                            const std::vector<int32_t>& kept, const ProgressFn& progress);

struct TableFactorization {
  Graph graph;
  std::string table;  // node
  int64_t rows = 0, width = 0, rank = 0;
  // Share of the squared size of all looked up rows that is kept.
  double energy = 1;
  bool folded = false;  // the second factor went into the linear that reads the table
};

// How wide the token table shall be: `rank`, or with 0 the least one that keeps `energy`.
struct TableWidth {
  int64_t rank = 0;
  double energy = 0;
};

// The token table E [rows, width] as T [rows, rank] times a matrix U [rank, width] with orthonormal rows: the pair that
// loses least of sum over ids of count * |e - t U|^2 (an SVD weighted by how often a row is looked up; every row counts at
// least once). U becomes a linear behind the table, or goes into the linear that reads it (through a trigram too). A
// decoder of masked words that shares the table reads through U and shares T. The full width is the same function. A table
// that was factorized before gets thinner in place. Weights keep their type.
// kInvalidArgument: a rank outside [1, width]; kUnsupported: no table of tokens, one that is not float, one that
// something else shares.
Result<TableFactorization> FactorizeTokenTable(const Graph& graph, std::span<const double> counts,
                                               const TableWidth& width);

struct LinearFactorization {
  std::string node;
  int64_t rank = 0, outputs = 0, inputs = 0;
  double error = 0;  // |(W - BA) X|^2 / |W X|^2 over the calibration rows
};

struct LinearsFactorization {
  Graph graph;
  std::vector<LinearFactorization> linears;       // that were factorized
  int64_t parameters_before = 0, parameters = 0;  // of the weights of all that might have been
};

// What a linear may become: [outputs, inputs], and what each rank loses of its output.
struct LinearChoice {
  int64_t outputs = 0, inputs = 0;
  std::vector<double> energy;               // per singular value, falling, of sum 1
  int64_t Parameters(int64_t rank) const {  // 0: as it is
    return rank == 0 ? outputs * inputs : rank * (outputs + inputs);
  }
  double Error(int64_t rank) const;
};

// A rank per linear, 0 where it stays as it is: together at most `parameters`. Of all choices that have no more parameters
// than the one given, none has a smaller sum of errors (the ranks minimise errors + lambda * parameters; lambda is the least that
// meets the budget). kInvalidArgument: not even rank 1 everywhere meets it.
Result<std::vector<int64_t>> RanksWithin(std::span<const LinearChoice> linears, int64_t parameters);

// How far linears are factorized; one of the two is above 0.
struct LinearLimit {
  double error = 0;  // each gets the least rank that loses at most this share of its output
  double share = 0;  // of the parameters of all these linears may stay: RanksWithin
};

// Linears of the body as two, W = B A, where that is smaller: of all matrices of a rank the one that loses least of W X, by
// the SVD of W L with X X^T = L L^T (truncation-aware whitening; Wang et al. 2024, SVD-LLM). `grams` are those of `linears`.
// kInvalidArgument: a limit outside (0, 1), a share that cannot be met.
Result<LinearsFactorization> FactorizeLinears(const Graph& graph, std::span<const size_t> linears,
                                              std::span<const Gram> grams,
                                              const LinearLimit& limit);
// What FactorizeLinears may be given: float linears that "last_hidden_state" needs, of weights that nothing shares, and
// not the two of a linear that was factorized before.
std::vector<size_t> FactorizableLinears(const Graph& graph);

}  // namespace thimble::compress
