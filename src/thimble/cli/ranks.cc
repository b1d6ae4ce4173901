#include "thimble/cli/ranks.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace thimble::cli {
namespace {

using Clock = std::chrono::steady_clock;

// So long the others have, once one has failed, to notice and to say so.
constexpr auto kGrace = std::chrono::seconds(10);
constexpr auto kPoll = std::chrono::milliseconds(50);

// What is passed on to all. SIGINT asks them to stop at a good place, the others end them.
constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
volatile std::sig_atomic_t caught = 0;
void OnSignal(int signal) { caught = signal; }

std::string RankText(size_t rank, size_t size) {
  return "rank " + std::to_string(rank) + " of " + std::to_string(size);
}

// The parent's side: its children by rank, until all have ended.
class Family {
 public:
  void Add(pid_t child) { children_.push_back({.pid = child}); }

  void Signal(int signal) {
    for (const Child& child : children_) {
      if (!child.ended) kill(child.pid, signal);
    }
  }

  // Passes signals on until all children have ended.
  void Watch() {
    std::optional<Clock::time_point> deadline;  // for the others, once one has failed
    int last_signal = SIGTERM;
    while (Running()) {
      std::this_thread::sleep_for(kPoll);
      if (const int signal = std::exchange(caught, 0); signal != 0) {
        Signal(signal);
        if (signal != SIGINT) ended_by_ = signal;
      }
      Reap();
      if (!first_failure_.has_value()) continue;
      if (!deadline.has_value()) deadline = Clock::now() + kGrace;
      if (Clock::now() < *deadline) continue;
      Signal(last_signal);
      last_signal = SIGKILL;
      deadline = Clock::now() + kGrace;
    }
  }

  // For the parent: ends it, or says what no child could.
  Error Conclude() const {
    if (ended_by_ != 0) {
      // As if the signal had found one process.
      std::signal(ended_by_, SIG_DFL);
      std::raise(ended_by_);
    }
    if (!first_failure_.has_value()) std::exit(0);
    // A child that ends by itself with an error is one of those of which the first has told it.
    const auto told = std::find_if(children_.begin(), children_.end(), [](const Child& c) {
      return WIFEXITED(c.status) && WEXITSTATUS(c.status) != 0;
    });
    const int status = children_[*first_failure_].status;
    if (told != children_.end()) {
      std::exit(WIFEXITED(status) ? WEXITSTATUS(status) : WEXITSTATUS(told->status));
    }
    return IoError(RankText(*first_failure_, children_.size()) + " was ended by signal " +
                   std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) +
                   "); start again with --resume");
  }

 private:
  struct Child {
    pid_t pid = 0;
    bool ended = false;
    int status = 0;
  };

  bool Running() const {
    return std::any_of(children_.begin(), children_.end(), [](const Child& c) { return !c.ended; });
  }

  void Reap() {
    for (size_t rank = 0; rank < children_.size(); ++rank) {
      Child& child = children_[rank];
      if (child.ended || waitpid(child.pid, &child.status, WNOHANG) != child.pid) continue;
      child.ended = true;
      if (child.status != 0 && !first_failure_.has_value()) first_failure_ = rank;
    }
  }

  std::vector<Child> children_;
  std::optional<size_t> first_failure_;  // a rank
  int ended_by_ = 0;                     // a signal that was meant for all
};

// Returns in each of `count` new processes; in the parent only with an error.
Result<train::RankPlace> StartRanks(int count) {
  std::string folder = (std::filesystem::temp_directory_path() / "thimble-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return IoError(folder + ": " + std::strerror(errno));
  sigset_t signals, before;
  sigemptyset(&signals);
  for (const int signal : kSignals) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  const pid_t parent = getpid();
  Family family;
  std::optional<Error> error;
  for (int rank = 0; rank < count; ++rank) {
    const pid_t child = fork();
    if (child == 0) {
      // A group of its own: a terminal's Ctrl-C comes from the parent, once.
      setpgid(0, 0);
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (getppid() != parent) _exit(1);
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      return train::RankPlace{.rank = rank, .size = count, .file = folder + "/ranks"};
    }
    if (child < 0) {
      error = ResourceExhausted("cannot start " + std::to_string(count) +
                                " processes: " + std::strerror(errno));
      family.Signal(SIGKILL);
      break;
    }
    family.Add(child);
  }
  for (const int signal : kSignals) std::signal(signal, OnSignal);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  family.Watch();
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  if (error.has_value()) return *std::move(error);
  return family.Conclude();
}

}  // namespace

Result<std::unique_ptr<train::ProcessGroup>> JoinRanks(int processes, double timeout_seconds) {
  TRY(std::optional<train::RankPlace> place, train::RankPlaceFromEnvironment());
  if (place.has_value() && processes > 1) {
    return InvalidArgument(
        "--processes is for runs that are not started by mpirun, torchrun or srun; this is " +
        RankText(static_cast<size_t>(place->rank), static_cast<size_t>(place->size)));
  }
  if (!place.has_value() && processes > 1) {
    TRY(place, StartRanks(processes));
  }
  if (!place.has_value()) return std::unique_ptr<train::ProcessGroup>();
  return train::ProcessGroup::Join(*place, timeout_seconds);
}

Status OneVoice(Status status, train::ProcessGroup& group) {
  if (status.has_value()) return status;
  const Error& error = status.error();
  // An interrupted run is rank 0's to tell: it knows of the checkpoint.
  const bool quiet =
      error.code() == ErrorCode::kInterrupted ? group.rank() != 0 : !group.FirstToFail();
  if (quiet) return Error(error.code(), "");
  if (group.rank() == 0) return status;
  return std::move(status).error().In(
      RankText(static_cast<size_t>(group.rank()), static_cast<size_t>(group.size())));
}

}  // namespace thimble::cli
