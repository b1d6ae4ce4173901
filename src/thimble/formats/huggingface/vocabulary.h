// vocab.txt: one piece a line, the number of the line is its id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"

namespace thimble {

// Lines as Python reads them: they end in \n, \r\n or \r. Of a piece that occurs twice the last id
// counts, as in Hugging Face's reader; the earlier id, and that of an empty line, become pieces that no
// text can contain.
Result<std::vector<std::string>> ParseVocabulary(std::string_view text);

// What stands for an id without a piece: it contains a space, which no word does.
std::string UnreachablePiece(size_t id);

}  // namespace thimble
