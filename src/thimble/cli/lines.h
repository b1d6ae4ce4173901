// Lines in, JSON in and out: what the verbs that read text share.
#pragma once

#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "thimble/base/result.h"

namespace thimble::cli {

// Reads a file, or standard input for "-", line by line without holding more than one line and a
// buffer. The end of a line is \n or \r\n; a byte order mark at the start is left out; what else is
// in a line stays, valid UTF-8 or not. A last line without an end counts, an empty rest does not.
class LineReader {
 public:
  static constexpr size_t kMaxLineBytes = size_t{64} << 20;

  static Result<LineReader> Open(const std::string& path);
  LineReader(LineReader&& other) noexcept;
  LineReader& operator=(LineReader&&) = delete;
  ~LineReader();

  // False at the end. Errors: the system's, a line that is too long, kInterrupted.
  Result<bool> Next(std::string& line);

  bool interactive() const { return interactive_; }    // a person types the lines
  size_t line_number() const { return line_number_; }  // of the last line, from 1
  // For progress: bytes read so far, and in all where that is known (0: a pipe).
  double bytes_read() const { return bytes_read_; }
  double bytes_total() const { return bytes_total_; }

 private:
  LineReader(std::string name, int fd);
  Status Fill();

  std::string name_;  // for messages
  int fd_;
  bool interactive_ = false, end_ = false;
  std::string buffer_;
  size_t begin_ = 0;  // of what was not given out yet
  size_t line_number_ = 0;
  double bytes_read_ = 0, bytes_total_ = 0;
};

// A text with, for models that read two, its pair.
struct TextLine {
  std::string text;
  std::optional<std::string> pair;
};

// One JSON object from a line.
Result<nlohmann::json> ParseJsonLine(const std::string& line);

// object[key], which must be a string.
Result<std::string> StringOf(const nlohmann::json& object, const char* key);

// {"text"} | {"text", "text_pair"} | {"question", "context"}
Result<TextLine> TextLineOf(const nlohmann::json& object);

// One line of JSON; bytes that are not valid UTF-8 become U+FFFD, numbers that JSON lacks null.
std::string DumpJson(const nlohmann::ordered_json& value);

}  // namespace thimble::cli
