#include "thimble/pipeline/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

namespace thimble::pipeline {
namespace {

constexpr int kCannotStart = 127;

bool Redirect(int target, const char* path, int flags) {
  const int fd = open(path, flags, 0666);
  if (fd < 0) return false;
  const bool done = dup2(fd, target) == target;
  if (fd != target) close(fd);
  return done;
}

// In the child, between fork and exec: system calls only.
[[noreturn]] void Become(char* const* argv, const char* out, const char* err, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGINT);
  if (getppid() != parent) _exit(kCannotStart);
  if (Redirect(STDIN_FILENO, "/dev/null", O_RDONLY) &&
      Redirect(STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_TRUNC) &&
      Redirect(STDERR_FILENO, err, O_WRONLY | O_CREAT | O_TRUNC)) {
    execv(argv[0], argv);
  }
  _exit(kCannotStart);
}

}  // namespace

Result<int> RunProcess(const std::vector<std::string>& arguments, const std::string& stdout_path,
                       const std::string& stderr_path, const std::function<Status()>& waiting) {
  std::vector<std::string> copy = arguments;
  std::vector<char*> argv;
  for (std::string& argument : copy) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return IoError(arguments[0] + ": " + std::strerror(errno));
  if (child == 0) Become(argv.data(), stdout_path.c_str(), stderr_path.c_str(), parent);

  bool asked = false;
  int status = 0;
  while (true) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) break;
    if (ended < 0 && errno != EINTR) return IoError(arguments[0] + ": " + std::strerror(errno));
    if (!asked && !waiting().has_value()) {
      kill(child, SIGINT);
      asked = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (WIFSIGNALED(status)) {
    if (asked) return Error(ErrorCode::kInterrupted, "interrupted");
    return ResourceExhausted(arguments[0] + " was ended by signal " +
                             std::to_string(WTERMSIG(status)) +
                             (WTERMSIG(status) == SIGKILL ? " (out of memory?)" : ""));
  }
  if (WEXITSTATUS(status) == kCannotStart) return NotFound(arguments[0] + ": cannot be started");
  return WEXITSTATUS(status);
}

}  // namespace thimble::pipeline
