// One reader per format: from bytes to rows. Errors are about the file as a whole (or, in strict mode, the first
// bad row) and name the line, not the file.
#pragma once

#include <string_view>

#include "thimble/base/result.h"
#include "thimble/data/line_stream.h"
#include "thimble/data/rows.h"

namespace thimble {

// A header and rows. TSV knows no quotes. CSV is RFC 4180: a quoted field may hold commas, "" for a quote, and
// ends of lines; what follows a closing quote must be a comma or the end of the row.
Status ReadTsv(LineStream& lines, RowSink& sink);
Status ReadCsv(LineStream& lines, RowSink& sink);

// One object a line: texts, questions or words, as docs/data.md has them.
Status ReadJsonl(LineStream& lines, RowSink& sink);

// A whole JSON document: SQuAD as published (1.1 and 2.0), or an array of objects as in JSON lines.
Status ReadJson(std::string_view text, RowSink& sink);

// A word and its tag a line (the first and the last column of those that blanks or tabs set apart), a blank line
// between sentences.
Status ReadConll(LineStream& lines, RowSink& sink);

}  // namespace thimble
