#include "thimble/data/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace thimble {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 16;

Error SystemError(const std::string& what) {
  const std::string message = what + std::strerror(errno);
  return errno == ENOENT ? NotFound(message) : IoError(message);
}

}  // namespace

class ByteSource::Impl {
 public:
  Impl(std::string name, int fd, std::string_view bytes)
      : name_(std::move(name)), fd_(fd), memory_(bytes) {}
  ~Impl() {
    if (fd_ >= 0) close(fd_);
    if (inflating_) inflateEnd(&stream_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<bool> Read(std::string& out) {
    if (!started_) TRY_VOID(Start());
    if (inflating_) return Inflate(out);
    const bool more = !input_.empty();
    written_ += input_.size();
    out += input_;
    TRY_VOID(Fill());
    return more;
  }

  std::string name_;
  double read_ = 0, total_ = 0;

 private:
  // The next stored bytes into input_; none at the end.
  Status Fill() {
    input_.clear();
    if (fd_ < 0) {
      const size_t count = std::min(kChunkBytes, memory_.size());
      input_.assign(memory_.substr(0, count));
      memory_.remove_prefix(count);
    } else {
      input_.resize(kChunkBytes);
      ssize_t got;
      do {
        got = ::read(fd_, input_.data(), input_.size());
      } while (got < 0 && errno == EINTR);
      input_.resize(got > 0 ? static_cast<size_t>(got) : 0);
      if (got < 0) return SystemError("cannot read: ");
    }
    read_ += static_cast<double>(input_.size());
    return {};
  }

  Status Start() {
    started_ = true;
    TRY_VOID(Fill());
    if (!input_.starts_with("\x1f\x8b")) return {};
    constexpr int kGzip = 16 + MAX_WBITS;
    if (inflateInit2(&stream_, kGzip) != Z_OK) return ResourceExhausted("out of memory");
    inflating_ = true;
    Feed();
    return {};
  }

  void Feed() {
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(input_.size());
  }

  Result<bool> Inflate(std::string& out) {
    const size_t had = out.size();
    while (out.size() == had) {
      if (stream_.avail_in == 0) {
        TRY_VOID(Fill());
        Feed();
        if (input_.empty()) {
          if (!between_members_) return InvalidData("is cut off: its gzip data ends early");
          return false;
        }
      }
      if (between_members_) {
        // Zeros may fill up a block of a tape; what else follows is another member or damage.
        if (*stream_.next_in == 0) {
          ++stream_.next_in;
          --stream_.avail_in;
          continue;
        }
        inflateReset(&stream_);
        between_members_ = false;
      }
      out.resize(had + kChunkBytes);
      stream_.next_out = reinterpret_cast<Bytef*>(out.data() + had);
      stream_.avail_out = static_cast<uInt>(kChunkBytes);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      out.resize(out.size() - stream_.avail_out);
      if (status == Z_STREAM_END) {
        between_members_ = true;
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        return InvalidData(std::string("its gzip data is damaged") +
                           (stream_.msg != nullptr ? std::string(" (") + stream_.msg + ")" : ""));
      }
      written_ += out.size() - had;
      if (written_ > kFreeBytes &&
          static_cast<double>(written_) > read_ * static_cast<double>(kMaxGrowth)) {
        return ResourceExhausted("its gzip data grows more than " + std::to_string(kMaxGrowth) +
                                 " times; this is not a text that somebody wrote");
      }
    }
    return true;
  }

  int fd_;  // -1: memory
  std::string_view memory_;
  std::string input_;
  bool started_ = false, inflating_ = false, between_members_ = false;
  size_t written_ = 0;
  z_stream stream_{};
};

ByteSource::ByteSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ByteSource::ByteSource(ByteSource&&) noexcept = default;
ByteSource& ByteSource::operator=(ByteSource&&) noexcept = default;
ByteSource::~ByteSource() = default;

Result<ByteSource> ByteSource::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return SystemError(path + ": cannot open: ");
  auto impl = std::make_unique<Impl>(path, fd, std::string_view());
  struct stat info;
  if (fstat(fd, &info) == 0) {
    if (S_ISDIR(info.st_mode)) return IoError(path + ": is a folder, not a file");
    if (S_ISREG(info.st_mode)) impl->total_ = static_cast<double>(info.st_size);
  }
  return ByteSource(std::move(impl));
}

ByteSource ByteSource::FromBytes(std::string_view bytes, std::string name) {
  auto impl = std::make_unique<Impl>(std::move(name), -1, bytes);
  impl->total_ = static_cast<double>(bytes.size());
  return ByteSource(std::move(impl));
}

Result<bool> ByteSource::Read(std::string& out) { return impl_->Read(out); }
const std::string& ByteSource::name() const { return impl_->name_; }
double ByteSource::bytes_read() const { return impl_->read_; }
double ByteSource::bytes_total() const { return impl_->total_; }

}  // namespace thimble
