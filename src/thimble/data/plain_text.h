// Unlabelled text as a stream of paragraphs, for pretraining and vocabularies.
//
//   TRY(PlainText corpus, PlainText::Open({"wiki_en", "more.txt.gz"}));
//   std::string line;
//   for (;;) {
//     TRY(const bool more, corpus.Next(line));
//     if (!more) break;
//     ...
//   }
//
// Paths are files (.txt, .txt.gz, or any name given directly) or folders, whose .txt and .txt.gz files are
// read in the order of their names, folders below included. A data set (TSV, CSV, JSON lines by its name) gives
// the texts of its rows, labels not needed. One paragraph a line; blank lines are left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "thimble/base/result.h"

namespace thimble {

struct PlainTextOptions {
  std::string text_column;  // of data sets; empty: the usual names, both texts of a pair
};

class PlainText {
 public:
  static Result<PlainText> Open(const std::vector<std::string>& paths,
                                PlainTextOptions options = {});
  PlainText(PlainText&&) noexcept;
  PlainText& operator=(PlainText&&) noexcept;
  ~PlainText();

  // The next paragraph, without its end of line; false at the end of the last file. Errors name file and line.
  Result<bool> Next(std::string& line);
  // Back to the first line of the first file.
  Status Rewind();

  const std::vector<std::string>& files() const;
  size_t lines() const;          // given out so far
  size_t invalid_lines() const;  // left out because they are not valid UTF-8 or hold a NUL byte
  // For progress: bytes of the files read so far, and in all.
  double bytes_read() const;
  double bytes_total() const;

 private:
  class Impl;
  explicit PlainText(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace thimble
