#include "thimble/text/unigram_tokenizer.h"

#include <algorithm>
#include <limits>

#include "thimble/text/nfkc.h"

namespace thimble {
namespace {

constexpr std::string_view kMark = "\u2581";

// The mark in front of the text, and in place of every space.
NormalizedText WithMarks(const NormalizedText& plain) {
  NormalizedText marked;
  marked.text.reserve(plain.text.size() + plain.text.size() / 2 + kMark.size());
  marked.source.reserve(marked.text.capacity());
  const auto append_mark = [&](ByteRange source) {
    marked.text += kMark;
    marked.source.insert(marked.source.end(), kMark.size(), source);
  };
  append_mark({0, 0});
  for (size_t i = 0; i < plain.text.size(); ++i) {
    if (plain.text[i] == ' ') {
      append_mark(plain.source[i]);
    } else {
      marked.text += plain.text[i];
      marked.source.push_back(plain.source[i]);
    }
  }
  return marked;
}

}  // namespace

Result<UnigramTokenizer> UnigramTokenizer::Create(const TokenizerSpec& spec) {
  TRY(UnigramModel model, UnigramModel::Create(spec));
  return UnigramTokenizer(std::move(model), spec);
}

Result<Encoding> UnigramTokenizer::Encode(std::string_view text,
                                          const EncodeOptions& options) const {
  // Marks make three bytes of one, and some characters normalize to eleven times their bytes.
  if (text.size() > std::numeric_limits<uint32_t>::max() / 16) {
    return InvalidArgument("a text of " + std::to_string(text.size()) +
                           " bytes is too long for one input; split it");
  }
  const NormalizedText plain = NormalizeNfkc(text);
  Encoding out;
  out.invalid_bytes = plain.invalid_bytes;
  if (!plain.text.empty()) {
    const NormalizedText marked = WithMarks(plain);
    for (const UnigramModel::Piece& piece : model_.Segment(marked.text)) {
      out.ids.push_back(piece.id);
      // A piece that begins with the mark in front begins where the text does.
      out.offsets.push_back({marked.source[piece.begin].begin, marked.source[piece.end - 1].end});
    }
  }
  const size_t limit =
      options.max_length != 0 ? options.max_length : static_cast<size_t>(model_max_length_);
  if (limit != 0 && options.truncation != Truncation::kNone && out.ids.size() > limit) {
    if (options.truncation == Truncation::kOnlySecond) {
      return InvalidArgument("only the second text may be cut, and there is none");
    }
    out.truncated_tokens = out.ids.size() - limit;
    out.ids.resize(limit);
    out.offsets.resize(limit);
  }
  const size_t tokens = out.ids.size(), size = std::max(tokens, options.pad_to);
  out.attention_mask.assign(tokens, 1);
  out.attention_mask.resize(size, 0);
  out.sequence.assign(tokens, 0);
  out.sequence.resize(size, -1);
  out.type_ids.resize(size, 0);
  out.ids.resize(size, std::max(pad_id_, 0));
  out.offsets.resize(size);
  return out;
}

}  // namespace thimble
