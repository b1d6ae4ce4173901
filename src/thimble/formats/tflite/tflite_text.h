// What a .tflite file says about text: the vocabulary and the labels in the archive behind the model.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/text/tokenizer.h"

namespace thimble {

// Files appended to a model, by name; views of its bytes. None where there is no archive.
using AssociatedFiles = std::map<std::string, std::string_view, std::less<>>;
Result<AssociatedFiles> ReadAssociatedFiles(std::span<const std::byte> model);

// The member that is a WordPiece vocabulary: a piece a line, [CLS] and [SEP] among them.
std::optional<std::string> FindVocabulary(const AssociatedFiles& files);
// The member with `count` lines, none of them empty; of several the one whose name speaks of labels.
std::optional<std::string> FindLabels(const AssociatedFiles& files, size_t count);

// The lines of a file of labels.
Result<std::vector<std::string>> ParseLabels(std::string_view text);

// WordPiece with BERT's settings. `lower_case` unset: where no piece has a capital letter A-Z (but for those
// in brackets), text is lowered.
Result<TokenizerSpec> VocabularyTokenizer(std::string_view vocabulary,
                                          std::optional<bool> lower_case);

}  // namespace thimble
