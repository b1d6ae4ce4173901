#include "thimble/text/tokenizer.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>

#include "thimble/text/basic_tokenizer.h"
#include "thimble/text/unigram_tokenizer.h"

namespace thimble {
namespace {

Status CheckId(const TokenizerSpec& spec, int32_t id, const char* what) {
  if (id < -1 || (id >= 0 && static_cast<size_t>(id) >= spec.pieces.size())) {
    return InvalidData(std::string(what) + " id " + std::to_string(id) + " is not one of the " +
                       std::to_string(spec.pieces.size()) + " pieces");
  }
  return {};
}

// A slice of tokens that becomes part of an input.
struct Slice {
  std::span<const int32_t> ids;
  std::span<const ByteRange> offsets;
};

Slice First(const TokenList& tokens, size_t count) {
  return {std::span(tokens.ids).first(count), std::span(tokens.offsets).first(count)};
}

// How many tokens of two texts stay when both together may have `budget`, as in the library: the longer
// gives way until both are half; then of an odd budget the longer keeps one more, on a tie the second.
struct Lengths {
  size_t first, second;
};
Lengths LongestFirst(const TokenList& a, const TokenList& b, size_t budget) {
  if (a.ids.size() + b.ids.size() <= budget) return {a.ids.size(), b.ids.size()};
  const size_t first = std::min(a.ids.size(), a.count_at_limit);
  const size_t second = std::min(b.ids.size(), b.count_at_limit);
  const size_t less = std::min({first, second, budget / 2});
  return first > second ? Lengths{budget - less, less} : Lengths{less, budget - less};
}

}  // namespace

class Tokenizer::Impl {
 public:
  explicit Impl(TokenizerSpec spec) : spec_(std::move(spec)) {}

  Status Build() {
    if (spec_.pieces.empty()) return InvalidData("the vocabulary is empty");
    TRY_VOID(CheckId(spec_, spec_.cls_id, "the first special token's"));
    TRY_VOID(CheckId(spec_, spec_.sep_id, "the separator's"));
    TRY_VOID(CheckId(spec_, spec_.pad_id, "the padding's"));
    TRY_VOID(CheckId(spec_, spec_.mask_id, "the mask's"));
    for (const AddedToken& token : spec_.added_tokens) {
      if (token.id < 0) {
        return InvalidData("added token '" + token.text + "' has id " + std::to_string(token.id));
      }
    }
    if (spec_.kind == TokenizerKind::kWordPiece) {
      TRY(word_piece_, BasicTokenizer::Create(spec_));
    } else if (spec_.kind == TokenizerKind::kUnigram) {
      TRY(unigram_, UnigramTokenizer::Create(spec_));
    } else {
      return InvalidArgument("the model has no tokenizer");
    }
    return {};
  }

  const TokenizerSpec& spec() const { return spec_; }

  std::optional<int32_t> IdOf(std::string_view piece) const {
    const auto found = std::find(spec_.pieces.rbegin(), spec_.pieces.rend(), piece);
    if (found == spec_.pieces.rend()) return std::nullopt;
    return static_cast<int32_t>(spec_.pieces.rend() - found - 1);
  }

  // Null for kWordPiece.
  const UnigramTokenizer* unigram() const { return unigram_.has_value() ? &*unigram_ : nullptr; }

  Result<TokenList> Tokenize(std::string_view text, size_t limit = SIZE_MAX) const {
    if (unigram_.has_value()) return InvalidArgument("the model reads one text, not a pair");
    if (text.size() > std::numeric_limits<uint32_t>::max()) {
      return InvalidArgument("the text is longer than 4 GiB");
    }
    TokenList tokens;
    tokens.limit = limit;
    const size_t guess = std::min(text.size() / 4 + 8, size_t{1} << 16);
    tokens.ids.reserve(guess);
    tokens.offsets.reserve(guess);
    word_piece_->Tokenize(text, tokens);
    return tokens;
  }

  // [CLS] first [SEP], and second [SEP] of type 1 if there is one.
  size_t SpecialTokens(bool pair, const EncodeOptions& options) const {
    if (!options.add_special_tokens) return 0;
    return static_cast<size_t>(spec_.cls_id >= 0) +
           static_cast<size_t>(spec_.sep_id >= 0) * (pair ? 2 : 1);
  }

  size_t MaxLength(const EncodeOptions& options) const {
    if (options.truncation == Truncation::kNone) return 0;
    return options.max_length != 0
               ? options.max_length
               : static_cast<size_t>(std::max<int64_t>(spec_.model_max_length, 0));
  }

  Encoding Assemble(const Slice& first, const Slice* second, const EncodeOptions& options) const {
    Encoding out;
    const size_t second_size = second != nullptr ? second->ids.size() : 0;
    const size_t length = std::max(first.ids.size() + second_size + 3, options.pad_to);
    out.ids.reserve(length);
    out.offsets.reserve(length);
    out.type_ids.reserve(length);
    out.sequence.reserve(length);
    const auto special = [&](int32_t id, int32_t type) {
      if (options.add_special_tokens && id >= 0) AppendSpecial(out, id, type);
    };
    special(spec_.cls_id, 0);
    AppendText(out, first, 0);
    special(spec_.sep_id, 0);
    if (second != nullptr) {
      AppendText(out, *second, 1);
      special(spec_.sep_id, 1);
    }
    out.attention_mask.assign(out.ids.size(), 1);
    while (out.ids.size() < options.pad_to) AppendSpecial(out, std::max(spec_.pad_id, 0), 0);
    out.attention_mask.resize(out.ids.size(), 0);
    return out;
  }

 private:
  static void AppendSpecial(Encoding& out, int32_t id, int32_t type) {
    out.ids.push_back(id);
    out.type_ids.push_back(type);
    out.offsets.push_back({0, 0});
    out.sequence.push_back(-1);
  }

  static void AppendText(Encoding& out, const Slice& slice, int8_t sequence) {
    out.ids.insert(out.ids.end(), slice.ids.begin(), slice.ids.end());
    out.offsets.insert(out.offsets.end(), slice.offsets.begin(), slice.offsets.end());
    out.type_ids.resize(out.ids.size(), sequence);
    out.sequence.resize(out.ids.size(), sequence);
  }

  TokenizerSpec spec_;
  std::optional<BasicTokenizer> word_piece_;
  std::optional<UnigramTokenizer> unigram_;
};

Result<Tokenizer> Tokenizer::Create(TokenizerSpec spec) {
  auto impl = std::make_unique<Impl>(std::move(spec));
  TRY_VOID(impl->Build());
  return Tokenizer(std::move(impl));
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

const TokenizerSpec& Tokenizer::spec() const { return impl_->spec(); }

std::optional<int32_t> Tokenizer::IdOf(std::string_view piece) const { return impl_->IdOf(piece); }

Result<Encoding> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  if (impl_->unigram() != nullptr) return impl_->unigram()->Encode(text, options);
  TRY(const TokenList tokens, impl_->Tokenize(text));
  size_t count = tokens.ids.size();
  if (const size_t max_length = impl_->MaxLength(options); max_length != 0) {
    const size_t special = impl_->SpecialTokens(false, options);
    if (max_length < special) {
      return InvalidArgument("a length of " + std::to_string(max_length) +
                             " leaves no room for the special tokens");
    }
    if (count > max_length - special && options.truncation == Truncation::kOnlySecond) {
      return InvalidArgument("there is no second text to truncate");
    }
    count = std::min(count, max_length - special);
  }
  Encoding out = impl_->Assemble(First(tokens, count), nullptr, options);
  out.truncated_tokens = tokens.ids.size() - count;
  out.invalid_bytes = tokens.invalid_bytes;
  return out;
}

Result<Encoding> Tokenizer::EncodePair(std::string_view first, std::string_view second,
                                       const EncodeOptions& options) const {
  const size_t max_length = impl_->MaxLength(options);
  const size_t limit = max_length != 0 ? max_length : SIZE_MAX;
  TRY(const TokenList a, impl_->Tokenize(first, limit));
  TRY(const TokenList b, impl_->Tokenize(second, limit));
  Lengths keep{a.ids.size(), b.ids.size()};
  const size_t total = keep.first + keep.second;
  if (max_length != 0) {
    const size_t special = impl_->SpecialTokens(true, options);
    if (max_length < special) {
      return InvalidArgument("a length of " + std::to_string(max_length) +
                             " leaves no room for the special tokens");
    }
    const size_t budget = max_length - special;
    if (options.truncation == Truncation::kLongestFirst) {
      keep = LongestFirst(a, b, budget);
    } else if (total > budget) {
      const size_t excess = total - budget;
      size_t& cut = options.truncation == Truncation::kOnlyFirst ? keep.first : keep.second;
      if (cut <= excess) {
        return InvalidArgument("the text to truncate has " + std::to_string(cut) + " tokens, " +
                               std::to_string(excess) + " would have to go");
      }
      cut -= excess;
    }
  }
  const Slice second_slice = First(b, keep.second);
  Encoding out = impl_->Assemble(First(a, keep.first), &second_slice, options);
  out.truncated_tokens = total - keep.first - keep.second;
  out.invalid_bytes = a.invalid_bytes + b.invalid_bytes;
  return out;
}

Result<std::vector<Encoding>> Tokenizer::EncodeWindows(std::string_view question,
                                                       std::string_view context, size_t max_length,
                                                       size_t stride) const {
  TRY(const TokenList a, impl_->Tokenize(question));
  TRY(const TokenList b, impl_->Tokenize(context));
  const EncodeOptions options;
  const size_t special = impl_->SpecialTokens(true, options);
  if (max_length < special) {
    return InvalidArgument("a length of " + std::to_string(max_length) +
                           " leaves no room for the special tokens");
  }
  const size_t room = max_length - special;
  // As the library's only_second with a stride; where the question leaves the context no more than the
  // overlap, which the library refuses, the question is cut to half of the window.
  const bool fits = a.ids.size() + b.ids.size() <= room;
  const bool cut = !fits && a.ids.size() + stride >= room;
  const size_t asked = cut ? std::min(a.ids.size(), room / 2) : a.ids.size();
  const size_t part = room - std::min(asked, room);
  if (!fits && part <= stride) {
    return InvalidArgument("windows of " + std::to_string(max_length) +
                           " tokens cannot overlap by " + std::to_string(stride));
  }
  std::vector<Encoding> windows;
  for (size_t begin = 0;; begin += part - stride) {
    const size_t end = std::min(begin + part, b.ids.size());
    const Slice slice{std::span(b.ids).subspan(begin, end - begin),
                      std::span(b.offsets).subspan(begin, end - begin)};
    windows.push_back(impl_->Assemble(First(a, asked), &slice, options));
    if (end == b.ids.size()) break;
  }
  windows[0].truncated_tokens = a.ids.size() - asked;
  windows[0].invalid_bytes = a.invalid_bytes + b.invalid_bytes;
  return windows;
}

}  // namespace thimble
