#include "thimble/text/wordpiece.h"

#include <algorithm>
#include <bit>

namespace thimble {
namespace {

uint32_t Fingerprint(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

}  // namespace

Result<WordPieceModel> WordPieceModel::Create(const TokenizerSpec& spec) {
  if (spec.unknown_id < 0 || static_cast<size_t>(spec.unknown_id) >= spec.pieces.size()) {
    return InvalidData("the vocabulary has no unknown token");
  }
  if (spec.max_word_chars < 1) return InvalidData("max_word_chars is not positive");
  WordPieceModel model;
  model.pieces_ = &spec.pieces;
  model.prefix_ = &spec.continuing_prefix;
  model.max_word_chars_ = static_cast<size_t>(spec.max_word_chars);
  model.unknown_id_ = spec.unknown_id;
  model.slots_.resize(std::bit_ceil(spec.pieces.size() * 4 + 8));  // at most half full
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    const std::string_view piece = spec.pieces[id];
    model.longest_bytes_ = std::max(model.longest_bytes_, piece.size());
    model.Insert(kWhole, piece, static_cast<int32_t>(id));
    if (piece.size() > spec.continuing_prefix.size() && piece.starts_with(spec.continuing_prefix)) {
      model.Insert(kContinuation, piece.substr(spec.continuing_prefix.size()),
                   static_cast<int32_t>(id));
    }
  }
  return model;
}

std::string_view WordPieceModel::PieceIn(Domain domain, int32_t id) const {
  const std::string_view piece = (*pieces_)[static_cast<size_t>(id)];
  if (domain == kWhole) return piece;
  return piece.starts_with(*prefix_) ? piece.substr(prefix_->size()) : std::string_view();
}

void WordPieceModel::Insert(Domain domain, std::string_view text, int32_t id) {
  uint64_t hash = domain;
  for (const char c : text) hash = Extend(hash, c);
  const size_t mask = slots_.size() - 1;
  for (size_t i = Fingerprint(hash) & mask;; i = (i + 1) & mask) {
    Slot& slot = slots_[i];
    const bool same = slot.id >= 0 && slot.fingerprint == Fingerprint(hash) &&
                      PieceIn(domain, slot.id) == text;
    if (slot.id >= 0 && !same) continue;
    slot = {Fingerprint(hash), id};
    return;
  }
}

int32_t WordPieceModel::LookupHashed(Domain domain, uint64_t hash, std::string_view text) const {
  const size_t mask = slots_.size() - 1;
  for (size_t i = Fingerprint(hash) & mask;; i = (i + 1) & mask) {
    const Slot& slot = slots_[i];
    if (slot.id < 0) return -1;
    if (slot.fingerprint == Fingerprint(hash) && PieceIn(domain, slot.id) == text) return slot.id;
  }
}

int32_t WordPieceModel::Lookup(Domain domain, std::string_view text) const {
  uint64_t hash = domain;
  for (const char c : text) hash = Extend(hash, c);
  return LookupHashed(domain, hash, text);
}

void WordPieceModel::Segment(const Word& word, std::vector<int32_t>& ids,
                             std::vector<ByteRange>& offsets) const {
  const size_t chars = word.starts.size();
  const ByteRange whole{word.ranges.front().begin, word.ranges.back().end};
  if (chars > max_word_chars_) {
    ids.push_back(unknown_id_);
    offsets.push_back(whole);
    return;
  }
  const size_t first_id = ids.size();
  const auto byte_of = [&](size_t c) { return c < chars ? word.starts[c] : word.text.size(); };
  std::vector<uint64_t> hashes;  // of the text from `begin` to each following character
  for (size_t begin = 0; begin < chars;) {
    const Domain domain = begin == 0 ? kWhole : kContinuation;
    const size_t begin_byte = byte_of(begin);
    hashes.clear();
    uint64_t hash = domain;
    size_t end = begin;
    while (end < chars && byte_of(end + 1) - begin_byte <= longest_bytes_) {
      for (size_t b = byte_of(end); b < byte_of(end + 1); ++b) hash = Extend(hash, word.text[b]);
      hashes.push_back(hash);
      ++end;
    }
    int32_t id = -1;
    for (; end > begin; --end) {
      const std::string_view text(word.text.data() + begin_byte, byte_of(end) - begin_byte);
      id = LookupHashed(domain, hashes[end - begin - 1], text);
      if (id >= 0) break;
    }
    if (id < 0) {  // the rest does not divide: forget what was found
      ids.resize(first_id);
      offsets.resize(first_id);
      ids.push_back(unknown_id_);
      offsets.push_back(whole);
      return;
    }
    ids.push_back(id);
    offsets.push_back({word.ranges[begin].begin, word.ranges[end - 1].end});
    begin = end;
  }
}

}  // namespace thimble
