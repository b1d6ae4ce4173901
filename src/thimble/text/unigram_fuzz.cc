// Bytes as a list of pieces (ended by a zero byte each, an empty one ends the list) with scores
// from their own bytes, then the text: segmentation covers the text without gaps, offsets stay
// inside.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thimble/text/unigram_tokenizer.h"

namespace {

void Require(bool condition) {
  if (!condition) __builtin_trap();
}

void CheckSegments(const thimble::TokenizerSpec& spec, std::string_view text) {
  const auto model = thimble::UnigramModel::Create(spec);
  Require(model.has_value());
  uint32_t at = 0;
  for (const auto& piece : model->Segment(text)) {
    Require(piece.begin == at && piece.end > at);
    Require(piece.id == spec.unknown_id ||
            text.substr(at, piece.end - at) == spec.pieces[static_cast<size_t>(piece.id)]);
    at = piece.end;
  }
  Require(at == text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view data(reinterpret_cast<const char*>(bytes), size);
  thimble::TokenizerSpec spec;
  spec.kind = thimble::TokenizerKind::kUnigram;
  spec.pieces = {"?"};
  spec.unknown_id = 0;
  spec.reserved_ids = 1;
  while (!data.empty()) {
    const std::string_view piece = data.substr(0, data.find('\0'));
    data.remove_prefix(std::min(piece.size() + 1, data.size()));
    if (piece.empty()) break;
    spec.pieces.emplace_back(piece);
  }
  for (const std::string& piece : spec.pieces) spec.scores.push_back(-(piece[0] & 7) * 0.25);
  CheckSegments(spec, data);
  const auto encoding = thimble::UnigramTokenizer::Create(spec)->Encode(data);
  Require(encoding.has_value());
  for (const thimble::ByteRange& range : encoding->offsets) {
    Require(range.begin <= range.end && range.end <= data.size());
  }
  return 0;
}
