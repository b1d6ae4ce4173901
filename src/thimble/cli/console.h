// What a verb says: results to standard output, everything else to standard error, one line each.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "thimble/base/result.h"

namespace thimble::cli {

// Results, buffered. An error (a full disk) is returned once and is the error of the verb.
// Not thread-safe; what was not flushed when the object dies is lost.
class Output {
 public:
  Status Line(std::string_view text);  // text and a newline
  Status Flush();

 private:
  std::string buffer_;
};

// Writes a whole text at once.
Status PrintText(std::string_view text);

// "thimble: ..." on standard error, in one line whatever the message holds.
void PrintError(const Error& error);
void Note(std::string_view text);
// From here on notes and progress bars are not shown: another process shows the same.
void LeaveNotesToOthers();

// A progress bar on standard error, drawn only if that is a terminal, a few times a second, and
// wiped when the object dies.
class Progress {
 public:
  // `total` in any unit; 0: unknown, nothing is drawn.
  Progress(std::string label, double total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(double done);

 private:
  std::string label_;
  double total_;
  bool shown_ = false, enabled_;
  std::chrono::steady_clock::time_point next_;
};

// From here on the first Ctrl-C is noted, so that work stops where it leaves nothing half done, and
// the second ends the process at once (130).
void WatchForInterrupt();
// The error kInterrupted after a Ctrl-C. Verbs call it between steps.
Status CheckInterrupt();

// "25.3 MiB", "1.2 GiB": for people; JSON has plain bytes.
std::string BytesText(double bytes);
// "24.6 M", "5.31 G"
std::string CountText(double count);

}  // namespace thimble::cli
