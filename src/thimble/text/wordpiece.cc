#include "thimble/text/wordpiece.h"

#include <algorithm>
#include <bit>

namespace thimble {
namespace {

uint32_t Fingerprint(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

Result<WordPieceModel> WordPieceModel::Create(const TokenizerSpec& spec) {
  if (spec.unknown_id < 0 || static_cast<size_t>(spec.unknown_id) >= spec.pieces.size()) {
    return InvalidData("the vocabulary has no unknown token");
  }
  if (spec.max_word_chars < 1) return InvalidData("max_word_chars is not positive");
  WordPieceModel model;
  model.pieces_ = &spec.pieces;
  model.prefix_ = spec.continuing_prefix;
  model.max_word_chars_ = static_cast<size_t>(spec.max_word_chars);
  model.unknown_id_ = spec.unknown_id;
  size_t entries = spec.pieces.size();
  for (const std::string& piece : spec.pieces) entries += model.IsContinuation(piece) ? 1 : 0;
  model.slots_.resize(std::bit_ceil(entries + entries / 2 + 1));  // at most two thirds full
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    const std::string_view piece = spec.pieces[id];
    model.longest_bytes_ = std::max(model.longest_bytes_, piece.size());
    model.Insert(kWhole, piece, static_cast<int32_t>(id));
    if (model.IsContinuation(piece)) {
      model.Insert(kContinuation, piece.substr(model.prefix_.size()), static_cast<int32_t>(id));
    }
  }
  return model;
}

uint64_t WordPieceModel::Hash(Domain domain, std::string_view text) {
  uint64_t hash = domain;
  for (const char c : text) hash = Extend(hash, c);
  return hash;
}

bool WordPieceModel::IsContinuation(std::string_view piece) const {
  return piece.size() > prefix_.size() && piece.starts_with(prefix_);
}

// Null where the piece has no place in the domain; it is then another domain's entry.
std::string_view WordPieceModel::PieceIn(Domain domain, int32_t id) const {
  const std::string_view piece = (*pieces_)[static_cast<size_t>(id)];
  if (domain == kWhole) return piece;
  return IsContinuation(piece) ? piece.substr(prefix_.size()) : std::string_view();
}

void WordPieceModel::Insert(Domain domain, std::string_view text, int32_t id) {
  const uint32_t fingerprint = Fingerprint(Hash(domain, text));
  const size_t mask = slots_.size() - 1;
  for (size_t i = fingerprint & mask;; i = (i + 1) & mask) {
    Slot& slot = slots_[i];
    if (slot.id >= 0 && (slot.fingerprint != fingerprint || PieceIn(domain, slot.id) != text)) {
      continue;
    }
    slot = {fingerprint, id};
    return;
  }
}

int32_t WordPieceModel::Lookup(Domain domain, uint64_t hash, std::string_view text) const {
  const uint32_t fingerprint = Fingerprint(hash);
  const size_t mask = slots_.size() - 1;
  for (size_t i = fingerprint & mask;; i = (i + 1) & mask) {
    const Slot& slot = slots_[i];
    if (slot.id < 0) return -1;
    if (slot.fingerprint == fingerprint && PieceIn(domain, slot.id) == text) return slot.id;
  }
}

void WordPieceModel::Segment(const Word& word, TokenList& out,
                             std::vector<uint64_t>& hashes) const {
  const std::string_view text = word.text;
  const size_t first_token = out.ids.size();
  const bool too_long = text.size() > max_word_chars_ && CountCharacters(text) > max_word_chars_;
  for (size_t begin = 0; begin < text.size() && !too_long;) {
    const Domain domain = begin == 0 ? kWhole : kContinuation;
    // Of the text from `begin` to each following byte.
    const size_t longest = std::min(text.size() - begin, longest_bytes_);
    hashes.resize(longest);
    uint64_t hash = domain;
    for (size_t i = 0; i < longest; ++i) hashes[i] = hash = Extend(hash, text[begin + i]);
    size_t length = longest;
    int32_t id = -1;
    for (; length > 0; --length) {
      id = Lookup(domain, hashes[length - 1], text.substr(begin, length));
      if (id >= 0) break;
    }
    if (id < 0) break;
    out.Add(id, word.Original(begin, begin + length));
    begin += length;
    if (begin == text.size()) return out.EndWord();
  }
  // Too long, or the rest does not divide: what was found is forgotten.
  out.ids.resize(first_token);
  out.offsets.resize(first_token);
  out.Add(unknown_id_, word.Original(0, text.size()));
  out.EndWord();
}

}  // namespace thimble
