#include "thimble/data/plain_text.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "thimble/base/utf8.h"
#include "thimble/data/line_stream.h"
#include "thimble/data/rows.h"

namespace thimble {
namespace {

namespace fs = std::filesystem;

bool IsPlainName(const std::string& name) {
  return name.ends_with(".txt") || name.ends_with(".txt.gz");
}

// The files below a folder, by name.
Result<std::vector<std::string>> FilesBelow(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    std::error_code ignored;
    if (at->is_regular_file(ignored) && IsPlainName(at->path().filename().string())) {
      files.push_back(at->path().string());
    }
  }
  if (error) return IoError(folder + ": cannot list: " + error.message());
  if (files.empty()) {
    return NotFound(folder +
                    ": there is no .txt or .txt.gz file in this folder; name files of another "
                    "kind one by one");
  }
  std::sort(files.begin(), files.end());
  return files;
}

double SizeOf(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? static_cast<double>(info.st_size) : 0;
}

}  // namespace

class PlainText::Impl {
 public:
  Impl(std::vector<std::string> files, PlainTextOptions options)
      : options_{.text_column = std::move(options.text_column)}, files_(std::move(files)) {
    for (const std::string& file : files_) total_ += SizeOf(file);
  }

  Result<bool> Next(std::string& line) {
    for (;;) {
      if (!open_) {
        if (next_file_ == files_.size()) return false;
        TRY_VOID(OpenNext());
      }
      TRY(const bool more, stream_ ? NextLine(line) : NextRow(line));
      if (!more) {
        done_ += SizeOf(files_[next_file_ - 1]);
        open_ = false;
        stream_.reset();
        continue;
      }
      if (line.find_first_not_of(" \t\r\n") == std::string::npos) continue;
      if (!IsUtf8(line) || line.find('\0') != std::string::npos) {
        ++invalid_;
        continue;
      }
      ++lines_;
      return true;
    }
  }

  void Rewind() {
    stream_.reset();
    texts_.clear();
    open_ = false;
    next_file_ = lines_ = invalid_ = 0;
    done_ = 0;
  }

  double bytes_read() const { return done_ + (stream_ ? stream_->source().bytes_read() : 0); }

  DatasetOptions options_;
  std::vector<std::string> files_;
  size_t lines_ = 0, invalid_ = 0;
  double total_ = 0;

 private:
  Status OpenNext() {
    const std::string& path = files_[next_file_++];
    open_ = true;
    next_text_ = 0;
    texts_.clear();
    if (!FormatOfName(path)) {
      TRY(ByteSource source, ByteSource::Open(path));
      stream_.emplace(std::move(source));
      return {};
    }
    // Data sets are small beside corpora: their texts are read as a whole.
    RowSink sink(options_, false);
    TRY_VOID(ReadRows(path, sink));
    invalid_ +=
        sink.report.Count(RowProblem::kInvalidUtf8) + sink.report.Count(RowProblem::kNulByte);
    for (Row& row : sink.rows) {
      texts_.push_back(std::move(row.text));
      if (row.pair) texts_.push_back(*std::move(row.pair));
    }
    return {};
  }

  Result<bool> NextLine(std::string& line) {
    std::string_view found;
    Result<bool> more = stream_->Next(found);
    if (!more.has_value()) return std::move(more).error().In(files_[next_file_ - 1]);
    if (*more) line.assign(found);
    return *more;
  }

  Result<bool> NextRow(std::string& line) {
    if (next_text_ == texts_.size()) return false;
    line = std::move(texts_[next_text_++]);
    std::replace(line.begin(), line.end(), '\n', ' ');
    return true;
  }

  size_t next_file_ = 0;
  bool open_ = false;
  std::optional<LineStream> stream_;  // of plain text; without it texts_ count
  std::vector<std::string> texts_;
  size_t next_text_ = 0;
  double done_ = 0;  // bytes of the files that are finished
};

PlainText::PlainText(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PlainText::PlainText(PlainText&&) noexcept = default;
PlainText& PlainText::operator=(PlainText&&) noexcept = default;
PlainText::~PlainText() = default;

Result<PlainText> PlainText::Open(const std::vector<std::string>& paths, PlainTextOptions options) {
  if (paths.empty()) return InvalidArgument("no file or folder of text is given");
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) return NotFound(path + ": there is no such file or folder");
    if (fs::is_directory(status)) {
      TRY(const std::vector<std::string> below, FilesBelow(path));
      files.insert(files.end(), below.begin(), below.end());
    } else {
      files.push_back(path);
    }
  }
  return PlainText(std::make_unique<Impl>(std::move(files), std::move(options)));
}

Result<bool> PlainText::Next(std::string& line) { return impl_->Next(line); }
Status PlainText::Rewind() {
  impl_->Rewind();
  return {};
}
const std::vector<std::string>& PlainText::files() const { return impl_->files_; }
size_t PlainText::lines() const { return impl_->lines_; }
size_t PlainText::invalid_lines() const { return impl_->invalid_; }
double PlainText::bytes_read() const { return impl_->bytes_read(); }
double PlainText::bytes_total() const { return impl_->total_; }

}  // namespace thimble
