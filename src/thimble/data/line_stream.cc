#include "thimble/data/line_stream.h"

namespace thimble {

namespace {

Error Blame(int64_t line, Error error) {
  return std::move(error).In("line " + std::to_string(line));
}

}  // namespace

Result<bool> LineStream::Next(std::string_view& line) {
  size_t searched = begin_;
  size_t newline;
  while ((newline = buffer_.find('\n', searched)) == std::string::npos && !at_end_) {
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    if (searched > kMaxLineBytes) {
      return Blame(line_number_ + 1, InvalidData("is longer than 64 MiB; is this a text file?"));
    }
    Result<bool> more = source_.Read(buffer_);
    if (!more.has_value()) return Blame(line_number_ + 1, std::move(more).error());
    at_end_ = !*more;
  }
  if (newline == std::string::npos && begin_ == buffer_.size()) return false;
  std::string_view found = std::string_view(buffer_).substr(begin_);
  if (newline != std::string::npos) found = found.substr(0, newline - begin_);
  begin_ += found.size() + (newline != std::string::npos);
  end_ = newline == std::string::npos ? "" : "\n";
  if (found.ends_with('\r')) {
    found.remove_suffix(1);
    end_ = "\r\n";
  }
  ++line_number_;
  if (line_number_ == 1) {
    if (found.starts_with("\xFF\xFE") || found.starts_with("\xFE\xFF")) {
      return Blame(1, Unsupported("the file is UTF-16; save it as UTF-8"));
    }
    if (found.starts_with("\xEF\xBB\xBF")) found.remove_prefix(3);
  }
  line = found;
  return true;
}

}  // namespace thimble
