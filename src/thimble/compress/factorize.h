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

// How often each id stands in texts, special tokens included; [rows of the token table].
Result<std::vector<double>> TokenCounts(const Model& model, const std::vector<std::string>& paths,
                                        const ProgressFn& progress);

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
// decoder of masked words that shares the table reads through U and shares T. The full width is the same function.
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
  std::vector<LinearFactorization> linears;  // that were factorized
};

// Linears of the body as two, W = B A, where that is smaller: of all matrices of a rank the one that loses least of W X, by
// the SVD of W L with X X^T = L L^T (truncation-aware whitening; Wang et al. 2024, SVD-LLM). Each rank is the least whose
// relative error is at most `error`. `grams` are those of `linears`.
Result<LinearsFactorization> FactorizeLinears(const Graph& graph, std::span<const size_t> linears,
                                              std::span<const Gram> grams, double error);
// What FactorizeLinears may be given: float linears that "last_hidden_state" needs, of weights that nothing shares.
std::vector<size_t> FactorizableLinears(const Graph& graph);

}  // namespace thimble::compress
