// Runs a model on packed batches.
//
//   Result<Session> session = Session::Create(model, {.threads = 2});
//   Batch batch;
//   batch.Add(encoding.ids, encoding.type_ids);
//   TRY_VOID(session->Run(batch));
//   std::span<const float> logits = session->output(0).row(0);
//
// The model is not copied: its weights must outlive the session (a Model read from a file keeps the file
// mapped as long as any copy of its graph lives, and the session holds such a copy).
// Thread-safety: a session is used by one thread at a time; any number of sessions may share a model.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/graph.h"
#include "thimble/runtime/kernels/kernels.h"

namespace thimble {

// Sequences laid end to end.
class Batch {
 public:
  // Appends one sequence. `type_ids` may be empty (zeros); `mask` may be empty (ones), otherwise tokens
  // with 0 stay in place and are computed but not attended to. Sizes must agree with `ids`.
  void Add(std::span<const int32_t> ids, std::span<const int32_t> type_ids = {},
           std::span<const uint8_t> mask = {});
  void Clear();

  size_t sequences() const { return offsets_.size() - 1; }
  size_t tokens() const { return ids_.size(); }
  // First token of a sequence in the batch; sequences() gives the end.
  size_t offset(size_t sequence) const { return static_cast<size_t>(offsets_[sequence]); }

  std::span<const int32_t> ids() const { return ids_; }
  std::span<const int32_t> type_ids() const { return type_ids_; }
  PackedBatch packed() const { return {offsets_, mask_}; }

 private:
  std::vector<int32_t> ids_, type_ids_;
  std::vector<uint8_t> mask_;  // empty while no token is masked
  std::vector<int32_t> offsets_{0};
};

struct SessionOptions {
  int threads = 1;
  // Which outputs of the graph to compute; empty: "logits", or where there are none the pooled output,
  // or where there is none "last_hidden_state".
  std::vector<std::string> outputs;
  const Kernels* kernels = nullptr;  // null: BestKernels()
  bool profile = false;              // time every step; costs some speed
};

// What empty `outputs` stands for.
std::vector<std::string> DefaultOutputs(const Graph& graph);

// A matrix that a run has produced; valid until the next Run.
struct OutputView {
  std::string name;
  Rows per = Rows::kSequences;
  size_t rows = 0, width = 0, stride = 0;
  const float* data = nullptr;

  std::span<const float> row(size_t i) const { return {data + i * stride, width}; }
};

// Where the time of a run went, summed over runs and threads.
struct StepProfile {
  std::string name;       // node
  std::string_view kind;  // "linear", "attention", ...
  double seconds = 0;
  double macs = 0;
};

class Session {
 public:
  // Fails when the graph has no such output or its weights are not as a .thimble file has them.
  static Result<Session> Create(const Graph& graph, SessionOptions options = {});
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // kInvalidArgument: no sequence, an empty one, one longer than the model allows, an id without a row
  // in its table. The message names sequence and token. Outputs of an earlier run are then gone.
  Status Run(const Batch& batch);

  size_t outputs() const;
  OutputView output(size_t i) const;

  // Multiply-adds that the last run executed, and bytes of activations that the session holds.
  double macs() const;
  size_t arena_bytes() const;
  const Kernels& kernels() const;
  // Per step of the plan; seconds are zero without SessionOptions::profile.
  const std::vector<StepProfile>& profile() const;

 private:
  class Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace thimble
