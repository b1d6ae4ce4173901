// The processes of one training run, on one machine or several, connected by Gloo, which is part of libtorch
// (c10d::ProcessGroupGloo). MPI is not needed: mpirun and srun serve as launchers, as torchrun does.
//
// A sum is a reduce-scatter and an all-gather, every rank with every other: rank r receives the r-th part of all
// arrays, adds them in the order that Collective promises, and sends the sum to all. Each rank sends 2 (N - 1) / N
// of the array, the least that is possible (Patarasuk and Yuan 2009), in two rounds. Gloo's own all-reduce sends as
// much, but adds in another order for every part, and cannot name the rank that is gone.
//
// A rank that ends or is killed is noticed at once, because its connections close; one that is silent, because it
// is stopped or its network is, after `timeout_seconds`. Ranks trust each other: there is neither encryption nor a
// password, so ports are for networks of one's own.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "thimble/base/result.h"
#include "thimble/train/collective.h"

namespace thimble::train {

// Where a process stands among the others, and where they meet.
struct RankPlace {
  int rank = 0, size = 1;
  // On one machine: a file that does not exist yet, or
  std::string file;
  // the address of rank 0, which listens there unless the launcher does.
  std::string address;
  uint16_t port = 0;
  bool launcher_listens = false;
  std::string prefix;  // of keys in the launcher's store: attempts of one job are apart
};

// As torchrun, Open MPI, MPICH or SLURM have said it in the environment; nothing where none of them started more
// than one process. MASTER_ADDR and MASTER_PORT say where rank 0 is; without them all ranks are on this machine.
Result<std::optional<RankPlace>> RankPlaceFromEnvironment();

class ProcessGroup : public Collective {
 public:
  // Waits for all ranks, `timeout_seconds` at most.
  static Result<std::unique_ptr<ProcessGroup>> Join(const RankPlace& place, double timeout_seconds);
  ~ProcessGroup() override;

  int rank() const override { return place_.rank; }
  int size() const override { return place_.size; }
  Status Sum(at::Tensor& values) override;
  Status Sum(std::span<double> values) override;
  Status Broadcast(std::span<std::byte> bytes) override;
  Status Barrier() override;

  // For a rank that fails, before it goes: whether it is the first one, which tells what went wrong. One line for
  // all ranks is enough, and the first knows the cause.
  bool FirstToFail();

 private:
  struct Connections;

  ProcessGroup(const RankPlace& place, double timeout_seconds);
  at::Tensor PartOf(const at::Tensor& flat, int rank) const;
  Status SumWithin(at::Tensor& flat, std::chrono::milliseconds timeout);
  Status Gather(const at::Tensor& flat, std::chrono::milliseconds timeout);

  RankPlace place_;
  std::chrono::milliseconds timeout_;
  std::unique_ptr<Connections> connections_;
  at::Tensor received_;  // bytes: parts of the others
};

}  // namespace thimble::train
