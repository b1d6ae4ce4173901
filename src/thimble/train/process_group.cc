#include "thimble/train/process_group.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <utility>
#include <vector>

// libtorch's header is empty without it.
#ifndef USE_C10D_GLOO
#define USE_C10D_GLOO
#endif
#include <c10/util/Flags.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

C10_DECLARE_int(caffe2_log_level);

namespace thimble::train {
namespace {

using Milliseconds = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Work = c10::intrusive_ptr<c10d::Work>;

// For waits that may take as long as they take: a year.
constexpr Milliseconds kNoLimit = std::chrono::hours(24 * 365);

// What launchers tell their processes.
struct Launcher {
  const char *rank, *size;
  const char* size_here;  // of this machine
};
constexpr Launcher kLaunchers[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"},                                      // torchrun
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"},  // Open MPI
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"},                                     // MPICH
    {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"},           // srun
};

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<int> Number(const char* name, int least, int most) {
  const std::string text = Variable(name);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    return InvalidArgument("the environment has " + std::string(name) + "='" + text +
                           "'; it is a number from " + std::to_string(least) + " to " +
                           std::to_string(most));
  }
  return value;
}

std::string FirstLine(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

std::string RankText(int rank, int size) {
  return "rank " + std::to_string(rank) + " of " + std::to_string(size);
}

// The address of this machine that faces `host`: names that machines give themselves often mean 127.0.1.1.
std::optional<std::string> AddressFacing(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_DGRAM;
  if (getaddrinfo(host.c_str(), "9", &hints, &found) != 0) return std::nullopt;
  std::optional<std::string> address;
  for (const addrinfo* a = found; a != nullptr && !address.has_value(); a = a->ai_next) {
    const int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    char text[NI_MAXHOST];
    // Connecting a datagram socket sends nothing.
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 &&
        getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
        getnameinfo(reinterpret_cast<sockaddr*>(&own), length, text, sizeof text, nullptr, 0,
                    NI_NUMERICHOST) == 0) {
      address = text;
    }
    close(fd);
  }
  freeaddrinfo(found);
  return address;
}

c10::intrusive_ptr<c10d::Store> OpenStore(const RankPlace& place, Milliseconds timeout) {
  if (!place.file.empty()) return c10::make_intrusive<c10d::FileStore>(place.file, place.size);
  c10d::TCPStoreOptions options;
  options.port = place.port;
  options.isServer = place.rank == 0 && !place.launcher_listens;
  if (!place.launcher_listens) options.numWorkers = static_cast<size_t>(place.size);
  options.timeout = timeout;
  c10::intrusive_ptr<c10d::Store> store =
      c10::make_intrusive<c10d::TCPStore>(place.address, options);
  if (place.prefix.empty()) return store;
  return c10::make_intrusive<c10d::PrefixStore>(place.prefix, store);
}

std::shared_ptr<::gloo::transport::Device> OpenDevice(const RankPlace& place) {
  const std::string interface = Variable("GLOO_SOCKET_IFNAME");
  if (!interface.empty()) return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  const std::string peer = place.file.empty() ? place.address : "127.0.0.1";
  return c10d::ProcessGroupGloo::createDeviceForHostname(AddressFacing(peer).value_or(peer));
}

}  // namespace

Result<std::optional<RankPlace>> RankPlaceFromEnvironment() {
  for (const Launcher& launcher : kLaunchers) {
    if (Variable(launcher.rank).empty() || Variable(launcher.size).empty()) continue;
    RankPlace place;
    TRY(place.size, Number(launcher.size, 1, 1 << 16));
    TRY(place.rank, Number(launcher.rank, 0, place.size - 1));
    if (place.size == 1) continue;
    place.address = Variable("MASTER_ADDR");
    if (place.address.empty()) {
      if (Variable(launcher.size_here) != Variable(launcher.size)) {
        return InvalidArgument("started as " + RankText(place.rank, place.size) +
                               " on several machines: set MASTER_ADDR to the one of rank 0");
      }
      place.address = "127.0.0.1";
    }
    place.port = c10d::TCPStoreOptions::kDefaultPort;
    if (!Variable("MASTER_PORT").empty()) {
      TRY(const int port, Number("MASTER_PORT", 1, 65535));
      place.port = static_cast<uint16_t>(port);
    }
    place.launcher_listens = Variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
    if (place.launcher_listens) {
      place.prefix = "/worker/attempt_" + Variable("TORCHELASTIC_RESTART_COUNT");
    }
    return std::optional(place);
  }
  return std::optional<RankPlace>();
}

struct ProcessGroup::Connections {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
};

namespace {

// Messages on their way between this rank and others.
class Exchange {
 public:
  Exchange(c10d::ProcessGroupGloo& gloo, int size, Milliseconds timeout)
      : gloo_(gloo), size_(size), timeout_(timeout), begin_(Clock::now()) {}

  void Send(const at::Tensor& values, int to) {
    Start(values, to, [&](std::vector<at::Tensor>& t) { return gloo_.send(t, to, /*tag=*/0); });
  }
  void Receive(const at::Tensor& into, int from) {
    Start(into, from, [&](std::vector<at::Tensor>& t) { return gloo_.recv(t, from, /*tag=*/0); });
  }

  // Until all have arrived, in the order in which they were started.
  Status Wait() {
    for (const auto& [work, peer] : works_) {
      const auto left = timeout_ - std::chrono::duration_cast<Milliseconds>(Clock::now() - begin_);
      if (lost_.has_value()) break;
      try {
        work->wait(std::max(left, Milliseconds(1)));
      } catch (const std::exception&) {
        lost_ = peer;
      }
    }
    works_.clear();
    if (!lost_.has_value()) return {};
    if (Clock::now() - begin_ >= timeout_) {
      return IoError(
          RankText(*lost_, size_) + " has been silent for " +
          std::to_string(std::chrono::duration_cast<std::chrono::seconds>(timeout_).count()) +
          " s");
    }
    return IoError(RankText(*lost_, size_) +
                   " is gone: it was killed, or its machine or the network failed");
  }

 private:
  template <class Begin>
  void Start(const at::Tensor& values, int peer, const Begin& begin) {
    if (values.numel() == 0 || lost_.has_value()) return;
    std::vector<at::Tensor> tensors{values};
    try {
      works_.emplace_back(begin(tensors), peer);
    } catch (const std::exception&) {
      lost_ = peer;
    }
  }

  c10d::ProcessGroupGloo& gloo_;
  int size_;
  Milliseconds timeout_;
  Clock::time_point begin_;
  std::vector<std::pair<Work, int>> works_;
  std::optional<int> lost_;  // a rank
};

}  // namespace

ProcessGroup::ProcessGroup(const RankPlace& place, double timeout_seconds)
    : place_(place), timeout_(std::llround(1000 * timeout_seconds)) {}
ProcessGroup::~ProcessGroup() = default;

Result<std::unique_ptr<ProcessGroup>> ProcessGroup::Join(const RankPlace& place,
                                                         double timeout_seconds) {
  std::unique_ptr<ProcessGroup> group(new ProcessGroup(place, timeout_seconds));
  FLAGS_caffe2_log_level = 3;  // fatal: what c10d would log is said by the errors it throws
  // Writing to a rank that is gone is an error, not the end.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    auto connections = std::make_unique<Connections>();
    connections->store = OpenStore(place, group->timeout_);
    const auto options = c10d::ProcessGroupGloo::Options::create(group->timeout_);
    options->devices.push_back(OpenDevice(place));
    options->threads = 1;
    connections->gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(connections->store, place.rank,
                                                                    place.size, options);
    group->connections_ = std::move(connections);
  } catch (const std::exception& error) {
    const std::string where =
        place.file.empty() ? place.address + ":" + std::to_string(place.port) : place.file;
    return IoError(RankText(place.rank, place.size) + " cannot meet the others at " + where + ": " +
                   FirstLine(error) +
                   " (MASTER_ADDR and MASTER_PORT say where; start all ranks with the same)");
  }
  return group;
}

// Each rank has one part of an array in its care; the last ones may be short or empty.
at::Tensor ProcessGroup::PartOf(const at::Tensor& flat, int rank) const {
  constexpr int64_t kAlignment = 16;
  const int64_t count = flat.numel(), size = place_.size;
  const int64_t part = (count + size * kAlignment - 1) / (size * kAlignment) * kAlignment;
  const int64_t begin = std::min(count, rank * part);
  return flat.narrow(0, begin, std::min(part, count - begin));
}

Status ProcessGroup::SumWithin(at::Tensor& flat, Milliseconds timeout) {
  const at::Tensor own = PartOf(flat, place_.rank);
  const int64_t bytes = own.numel() * own.element_size() * place_.size;
  if (!received_.defined() || received_.numel() < bytes) received_ = at::empty({bytes}, at::kByte);
  const at::Tensor received =
      received_.narrow(0, 0, bytes).view(flat.scalar_type()).view({place_.size, own.numel()});
  std::vector<at::Tensor> parts;
  Exchange exchange(*connections_->gloo, place_.size, timeout);
  for (int r = 0; r < place_.size; ++r) {
    parts.push_back(r == place_.rank ? own : received[r]);
    if (r != place_.rank) exchange.Receive(parts.back(), r);
  }
  for (int r = 0; r < place_.size; ++r) {
    if (r != place_.rank) exchange.Send(PartOf(flat, r), r);
  }
  TRY_VOID(exchange.Wait());
  const c10::AutoGradMode no_recording(false);
  PairwiseOrder(parts.size(), [&](size_t i, size_t j) { parts[i].add_(parts[j]); });
  if (place_.rank != 0) own.copy_(parts[0]);
  return Gather(flat, timeout);
}

// From the rank that has it in its care, every part to all.
Status ProcessGroup::Gather(const at::Tensor& flat, Milliseconds timeout) {
  Exchange exchange(*connections_->gloo, place_.size, timeout);
  for (int r = 0; r < place_.size; ++r) {
    if (r != place_.rank) exchange.Receive(PartOf(flat, r), r);
  }
  for (int r = 0; r < place_.size; ++r) {
    if (r != place_.rank) exchange.Send(PartOf(flat, place_.rank), r);
  }
  return exchange.Wait();
}

Status ProcessGroup::Sum(at::Tensor& values) {
  at::Tensor flat = values.detach().cpu().contiguous().view({-1});
  TRY_VOID(SumWithin(flat, timeout_));
  if (!flat.is_alias_of(values)) values.copy_(flat.view(values.sizes()));
  return {};
}

Status ProcessGroup::Sum(std::span<double> values) {
  at::Tensor flat =
      at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kDouble);
  return SumWithin(flat, timeout_);
}

Status ProcessGroup::Broadcast(std::span<std::byte> bytes) {
  const at::Tensor flat =
      at::from_blob(bytes.data(), {static_cast<int64_t>(bytes.size())}, at::kByte);
  Exchange exchange(*connections_->gloo, place_.size, timeout_);
  if (place_.rank != 0) exchange.Receive(PartOf(flat, place_.rank), 0);
  for (int r = 1; place_.rank == 0 && r < place_.size; ++r) exchange.Send(PartOf(flat, r), r);
  TRY_VOID(exchange.Wait());
  return Gather(flat, timeout_);
}

Status ProcessGroup::Barrier() {
  at::Tensor nothing = at::zeros({1});
  return SumWithin(nothing, kNoLimit);
}

bool ProcessGroup::FirstToFail() {
  const std::string text = std::to_string(place_.rank);
  const std::vector<uint8_t> mine(text.begin(), text.end());
  try {
    return connections_->store->compareSet("failed", {}, mine) == mine;
  } catch (const std::exception&) {
    return true;  // rank 0 is gone, which keeps the store: better said twice than never
  }
}

}  // namespace thimble::train
