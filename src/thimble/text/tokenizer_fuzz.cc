// Arbitrary bytes as texts, tokenized in ways that the first bytes choose, and as vocabularies. Whatever
// comes, tokens lie inside their text in order, ids in the vocabulary, and lengths are kept.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/check.h"
#include "thimble/text/tokenizer.h"

namespace thimble {
namespace {

// The first bytes of the input, used up one by one.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  uint8_t Next() {
    if (bytes_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(bytes_[0]);
    bytes_.remove_prefix(1);
    return byte;
  }
  std::string Take(size_t count) {
    const std::string taken(bytes_.substr(0, count));
    bytes_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view rest() const { return bytes_; }

 private:
  std::string_view bytes_;
};

TokenizerSpec SpecFrom(Bytes& bytes) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWordPiece;
  spec.pieces = {
      "[PAD]", "[UNK]",        "[CLS]", "[SEP]", "[MASK]",   "a",          "##a",
      "b",     "##b",          "ab",    "##ab",  "i",        "##i",        ".",
      "!",     "\xE4\xB8\xAD", "e",     "##e",   "\xC3\xA9", "##\xC3\xA9", "##\xE0\xA5\x8D"};
  spec.pad_id = 0, spec.unknown_id = 1, spec.cls_id = 2, spec.sep_id = 3, spec.mask_id = 4;
  spec.added_tokens.push_back({.id = 4, .text = "[MASK]", .special = true});
  const uint8_t how = bytes.Next();
  spec.basic_tokenize = (how & 1) == 0;
  spec.clean_text = (how & 2) == 0;
  spec.lower_case = (how & 4) == 0;
  spec.chinese_chars = (how & 8) == 0;
  if ((how & 16) != 0) spec.strip_accents = (how & 32) != 0;
  if ((how & 64) != 0) {  // hostile: pieces, tokens, ids and limits of the fuzzer's own
    const uint8_t token = bytes.Next();
    spec.added_tokens.push_back({.id = static_cast<int8_t>(bytes.Next()),
                                 .text = bytes.Take(token & 7),
                                 .normalized = (token & 8) != 0,
                                 .single_word = (token & 16) != 0,
                                 .lstrip = (token & 32) != 0,
                                 .rstrip = (token & 64) != 0});
    for (int count = bytes.Next() & 7; count > 0; --count)
      spec.pieces.push_back(bytes.Take(bytes.Next() & 15));
    spec.continuing_prefix = bytes.Take(bytes.Next() & 3);
    spec.never_split.push_back(bytes.Take(bytes.Next() & 7));
    spec.max_word_chars = static_cast<int8_t>(bytes.Next());
    spec.unknown_id = static_cast<int8_t>(bytes.Next());
    spec.cls_id = static_cast<int8_t>(bytes.Next());
    spec.pad_id = static_cast<int8_t>(bytes.Next());
    spec.model_max_length = static_cast<int8_t>(bytes.Next());
  }
  return spec;
}

// Tokens that begin with white space may overlap the one before, as in the library, and reordered marks
// may take places out of order; everything else is in order.
void CheckEncoding(const Tokenizer& tokenizer, const Encoding& e, size_t first_size,
                   size_t second_size) {
  const size_t count = e.ids.size();
  THIMBLE_CHECK(e.type_ids.size() == count && e.attention_mask.size() == count &&
                e.offsets.size() == count && e.sequence.size() == count);
  size_t last_begin[2] = {0, 0};
  const bool ordered = tokenizer.spec().added_tokens.size() == 1;
  for (size_t i = 0; i < count; ++i) {
    const ByteRange range = e.offsets[i];
    THIMBLE_CHECK(e.ids[i] >= 0);
    if (e.sequence[i] < 0) {
      THIMBLE_CHECK((range == ByteRange{0, 0}));
      continue;
    }
    const auto which = static_cast<size_t>(e.sequence[i]);
    THIMBLE_CHECK(which < 2 && range.end <= (which == 0 ? first_size : second_size));
    if (!ordered) continue;
    THIMBLE_CHECK(static_cast<size_t>(e.ids[i]) < tokenizer.spec().pieces.size());
    THIMBLE_CHECK(range.begin <= range.end && last_begin[which] <= range.begin);
    last_begin[which] = range.begin;
  }
}

void Run(std::string_view input) {
  Bytes bytes(input);
  const auto tokenizer = Tokenizer::Create(SpecFrom(bytes));
  if (!tokenizer) return;
  const uint8_t how = bytes.Next();
  EncodeOptions options;
  options.max_length = how & 31;
  options.truncation = static_cast<Truncation>(how >> 5 & 3);
  options.pad_to = bytes.Next() & 63;
  const std::string first = bytes.Take(bytes.Next()), second(bytes.rest());

  const auto one = tokenizer->Encode(first, options), again = tokenizer->Encode(first, options);
  THIMBLE_CHECK(one.has_value() == again.has_value());
  if (one) {
    CheckEncoding(*tokenizer, *one, first.size(), 0);
    THIMBLE_CHECK(one->ids == again->ids && one->offsets == again->offsets);
    THIMBLE_CHECK(one->invalid_bytes <= first.size());
    if (options.max_length != 0 && options.truncation != Truncation::kNone) {
      THIMBLE_CHECK(one->ids.size() <= std::max(options.max_length, options.pad_to));
    }
  }
  if (const auto pair = tokenizer->EncodePair(first, second, options)) {
    CheckEncoding(*tokenizer, *pair, first.size(), second.size());
    if (options.max_length != 0 && options.truncation != Truncation::kNone) {
      THIMBLE_CHECK(pair->ids.size() <= std::max(options.max_length, options.pad_to));
    }
  }
  if (const auto windows = tokenizer->EncodeWindows(first, second, how & 31, how >> 5)) {
    for (const Encoding& window : *windows) {
      CheckEncoding(*tokenizer, window, first.size(), second.size());
      THIMBLE_CHECK(window.ids.size() <= static_cast<size_t>(how & 31));
    }
  }
}

}  // namespace
}  // namespace thimble

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  thimble::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
