// Finding added tokens ("[MASK]", "<e1>") in a text before it is tokenized: leftmost first, of several
// that begin at one place the longest, as Hugging Face's Rust library does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/text/tokenizer.h"

namespace thimble {

class AddedTokenFinder {
 public:
  // A part of the text: an added token, or text (id -1) between them.
  struct Part {
    int32_t id;
    size_t begin, end;  // bytes
  };

  void Add(const AddedToken& token, std::string text_to_find);
  bool empty() const { return tokens_.empty(); }

  // Parts in order, covering the text; none is empty. A token that begins with white space may overlap a
  // token before it that takes white space along, as in the library.
  std::vector<Part> Split(std::string_view text) const;

 private:
  struct Entry {
    std::string text;
    AddedToken token;
  };
  // The longest token that begins at `at`, or null.
  const Entry* LongestAt(std::string_view text, size_t at) const;

  std::vector<Entry> tokens_;        // longest first
  bool begins_with_[256] = {false};  // some token begins with this byte
};

}  // namespace thimble
