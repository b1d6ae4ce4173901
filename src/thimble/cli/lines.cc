#include "thimble/cli/lines.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "thimble/cli/console.h"

namespace thimble::cli {
namespace {

constexpr size_t kReadBytes = size_t{1} << 16;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

Error SystemError(const std::string& place) {
  const std::string message = place + ": " + std::strerror(errno);
  return errno == ENOENT ? NotFound(message) : IoError(message);
}

}  // namespace

Result<LineReader> LineReader::Open(const std::string& path) {
  if (path == "-") return LineReader("standard input", STDIN_FILENO);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return SystemError(path);
  return LineReader(path, fd);
}

LineReader::LineReader(std::string name, int fd) : name_(std::move(name)), fd_(fd) {
  interactive_ = isatty(fd) == 1;
  struct stat info;
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
    bytes_total_ = static_cast<double>(info.st_size);
}

LineReader::LineReader(LineReader&& other) noexcept
    : name_(std::move(other.name_)),
      fd_(std::exchange(other.fd_, -1)),
      interactive_(other.interactive_),
      end_(other.end_),
      buffer_(std::move(other.buffer_)),
      begin_(other.begin_),
      line_number_(other.line_number_),
      bytes_read_(other.bytes_read_),
      bytes_total_(other.bytes_total_) {}

LineReader::~LineReader() {
  if (fd_ > STDIN_FILENO) close(fd_);
}

Status LineReader::Fill() {
  buffer_.erase(0, begin_);
  begin_ = 0;
  const size_t had = buffer_.size();
  buffer_.resize(had + kReadBytes);
  ssize_t got;
  do {
    TRY_VOID(CheckInterrupt());
    got = read(fd_, buffer_.data() + had, kReadBytes);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return SystemError(name_);
  buffer_.resize(had + static_cast<size_t>(got));
  end_ = got == 0;
  bytes_read_ += static_cast<double>(got);
  return {};
}

Result<bool> LineReader::Next(std::string& line) {
  TRY_VOID(CheckInterrupt());
  size_t searched = begin_;
  size_t newline;
  while ((newline = buffer_.find('\n', searched)) == std::string::npos && !end_) {
    searched = buffer_.size() - begin_;  // where the new bytes begin once Fill has moved the rest
    if (searched > kMaxLineBytes) {
      return InvalidData(name_ + ": line " + std::to_string(line_number_ + 1) + " is longer than " +
                         BytesText(kMaxLineBytes) + "; is this a text file?");
    }
    TRY_VOID(Fill());
  }
  if (newline == std::string::npos && begin_ == buffer_.size()) return false;
  std::string_view found = std::string_view(buffer_).substr(begin_);
  if (newline != std::string::npos) found = found.substr(0, newline - begin_);
  begin_ += found.size() + (newline != std::string::npos);
  if (found.ends_with('\r')) found.remove_suffix(1);
  if (line_number_ == 0 && found.starts_with(kByteOrderMark)) found.remove_prefix(3);
  line.assign(found);
  ++line_number_;
  return true;
}

Result<nlohmann::json> ParseJsonLine(const std::string& line) {
  nlohmann::json value = nlohmann::json::parse(line, nullptr, false);
  if (value.is_discarded()) return InvalidData("not valid JSON");
  if (!value.is_object()) return InvalidData("not a JSON object");
  return value;
}

Result<std::string> StringOf(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return InvalidData(std::string("there is no \"") + key + "\"");
  if (!found->is_string()) return InvalidData(std::string("\"") + key + "\" is not a string");
  return found->get<std::string>();
}

Result<TextLine> TextLineOf(const nlohmann::json& object) {
  TextLine line;
  if (object.contains("question")) {
    TRY(line.text, StringOf(object, "question"));
    TRY(line.pair, StringOf(object, "context"));
    return line;
  }
  TRY(line.text, StringOf(object, "text"));
  if (object.contains("text_pair")) {
    TRY(line.pair, StringOf(object, "text_pair"));
  }
  return line;
}

std::string DumpJson(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace thimble::cli
