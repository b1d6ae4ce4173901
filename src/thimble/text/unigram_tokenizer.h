// Text to ids by unigram pieces, as Universal Sentence Encoder Lite is published: normalization
// form KC, a mark in front and in place of every space (U+0020; NFKC makes others into it),
// segmentation. There are no special tokens; line ends and tabs are characters like any other.
#pragma once

#include <string_view>

#include "thimble/base/result.h"
#include "thimble/text/tokenizer.h"
#include "thimble/text/unigram.h"

namespace thimble {

// Immutable; any thread may use it.
class UnigramTokenizer {
 public:
  static Result<UnigramTokenizer> Create(const TokenizerSpec& spec);

  // Offsets: the bytes of `text` that a piece was made of; the mark in front was made of none.
  // Padding gets the padding id, or 0 where the model has none.
  Result<Encoding> Encode(std::string_view text, const EncodeOptions& options = {}) const;

 private:
  UnigramTokenizer(UnigramModel model, const TokenizerSpec& spec)
      : model_(std::move(model)), model_max_length_(spec.model_max_length), pad_id_(spec.pad_id) {}

  UnigramModel model_;
  int64_t model_max_length_ = 0;
  int32_t pad_id_ = -1;
};

}  // namespace thimble
