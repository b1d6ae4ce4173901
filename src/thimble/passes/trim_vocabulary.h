// Leaves pieces out of a model's vocabulary: the token table gets fewer rows, and the tokenizer gives the new ids.
#pragma once

#include <cstdint>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/text/tokenizer.h"

namespace thimble {

// Ids that a trimmed WordPiece vocabulary keeps, rising: those with `counts` of at least `least`, special and added tokens,
// and, so that words which lose their piece are still spelt and do not become unknown, every piece of a single character,
// with or without the continuing prefix, and every piece with a character that has no such piece.
// kUnsupported: other tokenizers, whose segmentation would change for texts whose pieces all stay.
Result<std::vector<int32_t>> PiecesToKeep(const TokenizerSpec& tokenizer,
                                          const std::vector<double>& counts, double least);

struct Trimmed {
  Graph graph;
  TokenizerSpec tokenizer;
};

// `kept` are old ids, rising; new ids are their places. Rows of the token table go, and of a decoder of masked words those
// of its weight and bias; what was shared stays shared. Texts of kept pieces alone give the same values bit for bit.
// kInvalidArgument: ids that do not rise or are not there, a special token that is not among them.
Result<Trimmed> TrimVocabulary(const Graph& graph, const TokenizerSpec& tokenizer,
                               const std::vector<int32_t>& kept);

}  // namespace thimble
