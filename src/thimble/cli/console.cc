#include "thimble/cli/console.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

namespace thimble::cli {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 16;

volatile std::sig_atomic_t interrupted = 0;
bool notes = true;

void OnInterrupt(int) {
  if (interrupted != 0) _exit(130);
  interrupted = 1;
}

Status WriteAll(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EINTR) {
      TRY_VOID(CheckInterrupt());
    } else {
      return IoError("standard output: " + std::string(std::strerror(errno)));
    }
  }
  return {};
}

// Messages quote what files hold: control characters must neither break the line nor reach a
// terminal.
void PrintLine(std::string_view text) {
  std::string line = "thimble: ";
  for (const char c : text) line += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string WithUnit(double value, double step, const char* const (&units)[5]) {
  size_t unit = 0;
  while (value >= step && unit + 1 < std::size(units)) {
    value /= step;
    ++unit;
  }
  const int decimals = unit == 0 ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f%s", decimals, value, units[unit]);
  return text;
}

}  // namespace

Status Output::Line(std::string_view text) {
  buffer_.append(text).push_back('\n');
  return buffer_.size() < kBufferBytes ? Status() : Flush();
}

Status Output::Flush() {
  const std::string text = std::exchange(buffer_, {});
  return WriteAll(text);
}

Status PrintText(std::string_view text) { return WriteAll(text); }

void PrintError(const Error& error) { PrintLine(error.message()); }
void Note(std::string_view text) {
  if (notes) PrintLine(text);
}
void LeaveNotesToOthers() { notes = false; }

Progress::Progress(std::string label, double total)
    : label_(std::move(label)),
      total_(total),
      enabled_(total > 0 && notes && isatty(STDERR_FILENO) == 1),
      next_(std::chrono::steady_clock::now() + std::chrono::milliseconds(500)) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::Update(double done) {
  if (!enabled_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  shown_ = true;
  constexpr size_t kWidth = 30;
  const double share = std::clamp(done / total_, 0.0, 1.0);
  std::string bar(static_cast<size_t>(share * kWidth), '#');
  bar.resize(kWidth, '.');
  std::fprintf(stderr, "\r\033[K%s [%s] %3.0f %%", label_.c_str(), bar.c_str(), 100 * share);
  std::fflush(stderr);
}

void WatchForInterrupt() {
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;  // no SA_RESTART: a read that waits for lines ends with EINTR
  sigaction(SIGINT, &action, nullptr);
}

Status CheckInterrupt() {
  if (interrupted != 0) return Error(ErrorCode::kInterrupted, "interrupted");
  return {};
}

std::string BytesText(double bytes) {
  return WithUnit(bytes, 1024, {" B", " KiB", " MiB", " GiB", " TiB"});
}

std::string CountText(double count) { return WithUnit(count, 1000, {"", " k", " M", " G", " T"}); }

}  // namespace thimble::cli
