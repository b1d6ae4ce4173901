#include "thimble/runtime/session.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

#include "thimble/base/clock.h"
#include "thimble/base/thread_pool.h"
#include "thimble/graph/panels.h"
#include "thimble/runtime/plan.h"
#include "thimble/runtime/rows.h"

namespace thimble {
namespace {

constexpr size_t kAlignment = 64;

// A block's scratch should stay in the second-level cache beside the weights that stream through it.
constexpr size_t kBlockBytes = 768 * 1024;
// Blocks are multiples of the tallest register tile, unless there are fewer rows.
constexpr size_t kBlockRowMultiple = 16;
constexpr size_t kMaxBlockRows = 512;
// Below this, an attention task costs less than handing it over.
constexpr double kMinTaskMacs = 20000;

// Uninitialised, aligned, grows and never shrinks.
class Arena {
 public:
  // What a processor of 32 bits cannot address is a failed allocation like any other.
  void Reserve(uint64_t wanted) {
    const auto bytes = static_cast<size_t>(std::min<uint64_t>(wanted, PTRDIFF_MAX));
    if (bytes <= bytes_) return;
    memory_.reset();
    memory_.reset(static_cast<std::byte*>(::operator new (bytes, std::align_val_t{kAlignment})));
    bytes_ = bytes;
  }
  std::byte* data() const { return memory_.get(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t bytes_ = 0;
};

}  // namespace

std::vector<std::string> DefaultOutputs(const Graph& graph) {
  for (const std::string_view name : {"logits", "pooler_output", "last_hidden_state"}) {
    if (graph.FindOutput(name) != nullptr) return {std::string(name)};
  }
  std::vector<std::string> all;
  for (const GraphOutput& output : graph.outputs) all.push_back(output.name);
  return all;
}

void Batch::Add(std::span<const int32_t> ids, std::span<const int32_t> type_ids,
                std::span<const uint8_t> mask) {
  THIMBLE_CHECK(type_ids.empty() || type_ids.size() == ids.size());
  THIMBLE_CHECK(mask.empty() || mask.size() == ids.size());
  if (!mask.empty() && mask_.empty()) mask_.assign(ids_.size(), 1);
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  type_ids_.insert(type_ids_.end(), type_ids.begin(), type_ids.end());
  type_ids_.resize(ids_.size(), 0);
  mask_.insert(mask_.end(), mask.begin(), mask.end());
  if (!mask_.empty()) mask_.resize(ids_.size(), 1);
  offsets_.push_back(static_cast<int32_t>(ids_.size()));
}

void Batch::Clear() {
  ids_.clear();
  type_ids_.clear();
  mask_.clear();
  offsets_.assign(1, 0);
}

class Session::Impl {
 public:
  Impl(Plan plan, std::vector<std::string> outputs, const SessionOptions& options)
      : plan_(std::move(plan)),
        output_names_(std::move(outputs)),
        kernels_(options.kernels != nullptr ? *options.kernels : BestKernels()),
        pool_(options.threads),
        timed_(options.profile) {
    for (const Segment& segment : plan_.segments) {
      for (const Step& step : segment.steps) {
        profile_.push_back({step.name, StepKindName(step.kind)});
      }
    }
    const auto threads = static_cast<size_t>(pool_.threads());
    scratch_.resize(threads);
    thread_seconds_.assign(threads, std::vector<double>(timed_ ? profile_.size() : 0, 0.0));
  }

  Status Run(const Batch& batch) {
    ran_ = false;
    packed_ = batch.packed();
    TRY_VOID(CheckLengths());
    sequences_ = packed_.sequences();
    tokens_ = packed_.tokens();
    TRY_VOID(FillIds(batch));
    PlaceBatchSlots();
    macs_ = 0;
    size_t first_step = 0;
    for (const Segment& segment : plan_.segments) {
      if (segment.steps[0].kind == StepKind::kAttention) {
        RunAttention(segment.steps[0], first_step);
      } else {
        RunBlocks(segment, first_step);
      }
      first_step += segment.steps.size();
    }
    if (timed_) SumProfile();
    ran_ = true;
    return {};
  }

  OutputView output(size_t i) const {
    THIMBLE_CHECK(ran_);
    const Operand& operand = plan_.outputs[i];
    OutputView view;
    view.name = output_names_[i];
    view.per = operand.rows;
    view.rows = operand.rows == Rows::kTokens ? tokens_ : sequences_;
    view.width = operand.width;
    view.stride = plan_.batch_slots[operand.slot].stride;
    view.data = BatchMatrix(operand);
    return view;
  }

  size_t outputs() const { return plan_.outputs.size(); }
  double macs() const { return macs_; }
  const Kernels& kernels() const { return kernels_; }
  const std::vector<StepProfile>& profile() const { return profile_; }
  size_t arena_bytes() const {
    size_t bytes = arena_.bytes();
    for (const Arena& arena : scratch_) bytes += arena.bytes();
    return bytes;
  }

 private:
  // --- Checks and ids

  Status CheckLengths() const {
    if (packed_.sequences() == 0) return InvalidArgument("the batch has no sequence");
    const auto limit = plan_.graph.max_sequence_length;
    for (size_t s = 0; s < packed_.sequences(); ++s) {
      const int64_t length = packed_.offsets[s + 1] - packed_.offsets[s];
      if (length == 0) return InvalidArgument(Place(s) + "is empty");
      if (limit > 0 && length > limit) {
        return InvalidArgument(Place(s) + "has " + std::to_string(length) +
                               " tokens, the model takes at most " + std::to_string(limit));
      }
    }
    return {};
  }

  static std::string Place(size_t sequence) {
    return "sequence " + std::to_string(sequence) + " of the batch ";
  }

  Status FillIds(const Batch& batch) {
    ids_.resize(plan_.id_values.size());
    for (size_t i = 0; i < plan_.id_values.size(); ++i) {
      const IdValue& value = plan_.id_values[i];
      if (value.source == IdValue::Source::kPositions) {
        CountPositions(value.positions, ids_[value.input], ids_[i]);
      } else {
        const ValueId input = plan_.graph.inputs[value.input];
        const bool types = plan_.graph.value(input).name == kTokenTypeIds;
        const std::span<const int32_t> source = types ? batch.type_ids() : batch.ids();
        ids_[i].assign(source.begin(), source.end());
      }
      if (value.limit > 0) TRY_VOID(CheckIds(ids_[i], value));
    }
    return {};
  }

  Status CheckIds(const std::vector<int32_t>& ids, const IdValue& value) const {
    const auto bad = std::find_if(ids.begin(), ids.end(),
                                  [&](int32_t id) { return id < 0 || id >= value.limit; });
    if (bad == ids.end()) return {};
    const auto token = static_cast<int32_t>(bad - ids.begin());
    const auto after = std::upper_bound(packed_.offsets.begin(), packed_.offsets.end(), token);
    const auto sequence = static_cast<size_t>(after - packed_.offsets.begin()) - 1;
    std::string what = "position";
    if (value.source == IdValue::Source::kInput) {
      what = plan_.graph.value(plan_.graph.inputs[value.input]).name == kTokenTypeIds
                 ? "token type id"
                 : "token id";
    }
    return InvalidArgument(Place(sequence) + "has " + what + " " + std::to_string(*bad) +
                           " at token " + std::to_string(token - packed_.offsets[sequence]) +
                           ", the model's table ends at " + std::to_string(value.limit - 1));
  }

  void CountPositions(const PositionIdsAttrs& attrs, const std::vector<int32_t>& token_ids,
                      std::vector<int32_t>& positions) const {
    positions.resize(token_ids.size());
    for (size_t s = 0; s < packed_.sequences(); ++s) {
      int64_t next = attrs.offset;
      for (auto t = static_cast<size_t>(packed_.offsets[s]);
           t < static_cast<size_t>(packed_.offsets[s + 1]); ++t) {
        const bool skipped = attrs.skip_id >= 0 && token_ids[t] == attrs.skip_id;
        positions[t] = static_cast<int32_t>(skipped ? attrs.offset - 1 : next++);
      }
    }
  }

  // --- Buffers

  void PlaceBatchSlots() {
    slot_offsets_.clear();
    uint64_t bytes = 0;
    for (const Plan::BatchSlot& slot : plan_.batch_slots) {
      slot_offsets_.push_back(static_cast<size_t>(bytes));
      bytes += uint64_t{packed_.rows(slot.rows)} * slot.stride * sizeof(float);
      bytes += (kAlignment - bytes % kAlignment) % kAlignment;
    }
    arena_.Reserve(bytes);
  }

  float* BatchMatrix(const Operand& operand) const {
    return reinterpret_cast<float*>(arena_.data() + slot_offsets_[operand.slot]);
  }

  // One thread's view of a segment's block buffers.
  struct Block {
    const Segment* segment;
    size_t first_row, rows;
    std::byte* scratch;
    size_t capacity;  // rows that the scratch is laid out for

    float* Matrix(uint32_t slot) const {
      size_t floats = 0;
      for (uint32_t s = 0; s < slot; ++s) floats += segment->block_slots[s] * capacity;
      return reinterpret_cast<float*>(scratch) + floats;
    }
    int8_t* Quantized(uint32_t slot) const {
      const auto all = static_cast<uint32_t>(segment->block_slots.size());
      auto* p = reinterpret_cast<int8_t*>(Matrix(all));
      for (uint32_t s = 0; s < slot; ++s) p += segment->quantized_slots[s] * capacity;
      return p;
    }
    float* Scales(uint32_t slot) const {
      const auto all = static_cast<uint32_t>(segment->quantized_slots.size());
      return reinterpret_cast<float*>(Quantized(all)) + slot * capacity;
    }
  };

  struct Matrix {
    float* data = nullptr;
    size_t stride = 0;
  };

  // The rows of `operand` that a block works on; for values of the other row kind the whole matrix.
  Matrix Resolve(const Operand& operand, const Block& block) const {
    if (operand.home == Operand::Home::kNone) return {};
    if (operand.home == Operand::Home::kBlock) {
      return {block.Matrix(operand.slot), block.segment->block_slots[operand.slot]};
    }
    const size_t stride = plan_.batch_slots[operand.slot].stride;
    const size_t first = operand.rows == block.segment->rows ? block.first_row : 0;
    return {BatchMatrix(operand) + first * stride, stride};
  }

  // --- Row-by-row segments

  size_t BlockRows(const Segment& segment, size_t rows) const {
    const size_t per_row = std::max<size_t>(segment.BlockBytesPerRow(), 1);
    const size_t fit = std::clamp(kBlockBytes / per_row / kBlockRowMultiple * kBlockRowMultiple,
                                  kBlockRowMultiple, kMaxBlockRows);
    const auto threads = static_cast<size_t>(pool_.threads());
    // As few blocks as fit, in equal shares, every thread with the same number of them.
    size_t blocks = (rows + fit - 1) / fit;
    if (threads > 1) blocks = RoundUp(blocks, threads);
    const size_t even = (rows + blocks - 1) / blocks;
    return even > kBlockRowMultiple ? RoundUp(even, kBlockRowMultiple) : even;
  }

  void RunBlocks(const Segment& segment, size_t first_step) {
    const size_t rows = packed_.rows(segment.rows);
    const size_t block_rows = BlockRows(segment, rows);
    for (Arena& arena : scratch_) {
      arena.Reserve(segment.BlockBytesPerRow() * RoundUp(block_rows, kBlockRowMultiple));
    }
    pool_.ParallelFor((rows + block_rows - 1) / block_rows, [&](size_t i, size_t thread) {
      Block block{&segment, i * block_rows, std::min(block_rows, rows - i * block_rows),
                  scratch_[thread].data(), RoundUp(block_rows, kBlockRowMultiple)};
      size_t index = first_step;
      for (const Step& step : segment.steps) {
        Timed(index++, thread, [&] { RunStep(step, block); });
      }
    });
    for (size_t i = 0; i < segment.steps.size(); ++i) {
      CountMacs(first_step + i, segment.steps[i].macs_per_row * static_cast<double>(rows));
    }
  }

  void RunStep(const Step& step, const Block& block) const {
    const Matrix out = Resolve(step.out, block);
    const Matrix in = Resolve(step.in, block);
    const Matrix in2 = Resolve(step.in2, block);
    const RowsArgs rows_args{in.data, in.stride, block.rows, step.in.width, out.data, out.stride};
    switch (step.kind) {
      case StepKind::kEmbedding:
        EmbedRows(*step.weight, std::span(ids_[step.ids]).subspan(block.first_row, block.rows),
                  out.data, out.stride);
        break;
      case StepKind::kTrigram:
        TrigramRows(BatchMatrix(step.in), in.stride, step.in.width, packed_, block.first_row,
                    block.rows, out.data, out.stride);
        break;
      case StepKind::kPoolFirst:
        PoolFirstRows(BatchMatrix(step.in), in.stride, step.in.width, packed_, block.first_row,
                      block.rows, out.data, out.stride);
        break;
      case StepKind::kPoolMean:
        PoolMeanRows(BatchMatrix(step.in), in.stride, step.in.width, packed_, block.first_row,
                     block.rows, out.data, out.stride);
        break;
      case StepKind::kL2Normalize:
        L2NormalizeRows(in.data, in.stride, step.in.width, block.rows, out.data, out.stride);
        break;
      case StepKind::kQuantize:
        kernels_.quantize_rows({.x = in.data,
                                .x_stride = in.stride,
                                .rows = block.rows,
                                .width = step.in.width,
                                .q = block.Quantized(step.quantized),
                                .q_stride = block.segment->quantized_slots[step.quantized],
                                .scales = block.Scales(step.quantized),
                                .scale = step.input_scale});
        break;
      case StepKind::kLinear:
        RunLinear(step, block, in, in2, out);
        break;
      case StepKind::kLayerNorm:
        kernels_.layer_norm({.x = in.data,
                             .x_stride = in.stride,
                             .rows = block.rows,
                             .width = step.in.width,
                             .weight = step.gamma,
                             .bias = step.beta,
                             .epsilon = step.epsilon,
                             .y = out.data,
                             .y_stride = out.stride});
        break;
      case StepKind::kAffine:
        kernels_.affine(rows_args, step.gamma, step.beta);
        break;
      case StepKind::kActivation:
        kernels_.activation(rows_args, step.activation);
        break;
      case StepKind::kAdd:
        kernels_.add(rows_args, in2.data, in2.stride);
        break;
      case StepKind::kAttention:
        THIMBLE_CHECK(false);  // a segment of its own
    }
  }

  void RunLinear(const Step& step, const Block& block, Matrix in, Matrix residual,
                 Matrix out) const {
    const Epilogue epilogue{step.bias,  residual.data, residual.stride,
                            step.gamma, step.beta,     step.activation};
    const Tensor& weight = *step.weight;
    const auto cols = static_cast<size_t>(weight.dim(0));
    const auto inputs = static_cast<size_t>(weight.dim(1));
    const std::byte* const data = weight.data().data();
    if (weight.dtype() == DType::kI8) {
      kernels_.linear_int8({.a = block.Quantized(step.quantized),
                            .a_stride = block.segment->quantized_slots[step.quantized],
                            .a_scales = block.Scales(step.quantized),
                            .weight = reinterpret_cast<const int8_t*>(data),
                            .weight_scales = weight.scales().data(),
                            .rows = block.rows,
                            .cols = cols,
                            .inputs = inputs,
                            .c = out.data,
                            .c_stride = out.stride,
                            .epilogue = epilogue});
      return;
    }
    const LinearArgs args{.a = in.data,
                          .a_stride = in.stride,
                          .weight = data,
                          .rows = block.rows,
                          .cols = cols,
                          .inputs = inputs,
                          .c = out.data,
                          .c_stride = out.stride,
                          .epilogue = epilogue};
    if (HasGroupScales(weight.dtype())) {
      const bool int4 = weight.dtype() == DType::kI4Group;
      (int4 ? kernels_.linear_i4_group
            : kernels_.linear_i8_group)({args, weight.scales().data(), weight.scale_group()});
    } else if (weight.layout() == Layout::kBlockSparse) {
      kernels_.linear_block_sparse(args);
    } else {
      (weight.dtype() == DType::kF16 ? kernels_.linear_f16 : kernels_.linear_f32)(args);
    }
  }

  // --- Attention: every head of every sequence is a task of its own

  void RunAttention(const Step& step, size_t step_index) {
    const auto heads = static_cast<size_t>(step.heads);
    const size_t head_width = step.in.width / heads, value_width = step.in3.width / heads;
    const bool per_sequence = step.in.rows == Rows::kSequences;
    size_t longest = 0;
    double macs = 0;
    for (size_t s = 0; s < packed_.sequences(); ++s) {
      const auto keys = static_cast<size_t>(packed_.offsets[s + 1] - packed_.offsets[s]);
      longest = std::max(longest, keys);
      macs += step.macs_per_row * static_cast<double>(keys) *
              static_cast<double>(per_sequence ? 1 : keys);
    }
    for (Arena& arena : scratch_) {
      arena.Reserve(AttentionScratchFloats(longest, head_width, value_width) * sizeof(float));
    }
    const size_t tasks = packed_.sequences() * heads;
    // Small tasks are handed out in groups.
    const double macs_per_task = macs / static_cast<double>(tasks);
    const auto group =
        static_cast<size_t>(std::max(1.0, kMinTaskMacs / std::max(macs_per_task, 1.0)));
    pool_.ParallelFor((tasks + group - 1) / group, [&](size_t g, size_t thread) {
      Timed(step_index, thread, [&] {
        for (size_t t = g * group; t < std::min(tasks, (g + 1) * group); ++t) {
          AttendHead(step, t / heads, t % heads, head_width, value_width, thread);
        }
      });
    });
    CountMacs(step_index, macs);
  }

  void AttendHead(const Step& step, size_t sequence, size_t head, size_t head_width,
                  size_t value_width, size_t thread) const {
    const auto begin = static_cast<size_t>(packed_.offsets[sequence]);
    const size_t keys = static_cast<size_t>(packed_.offsets[sequence + 1]) - begin;
    const bool per_sequence = step.in.rows == Rows::kSequences;
    const size_t first_query = per_sequence ? sequence : begin;
    const auto at = [&](const Operand& operand, size_t row, size_t column) {
      return BatchMatrix(operand) + row * plan_.batch_slots[operand.slot].stride + column;
    };
    kernels_.attention({.q = at(step.in, first_query, head * head_width),
                        .k = at(step.in2, begin, head * head_width),
                        .v = at(step.in3, begin, head * value_width),
                        .q_stride = plan_.batch_slots[step.in.slot].stride,
                        .k_stride = plan_.batch_slots[step.in2.slot].stride,
                        .v_stride = plan_.batch_slots[step.in3.slot].stride,
                        .queries = per_sequence ? 1 : keys,
                        .keys = keys,
                        .head_width = head_width,
                        .value_width = value_width,
                        .scale = step.scale,
                        .key_mask = packed_.mask.empty() ? nullptr : packed_.mask.data() + begin,
                        .out = at(step.out, first_query, head * value_width),
                        .out_stride = plan_.batch_slots[step.out.slot].stride,
                        .scratch = reinterpret_cast<float*>(scratch_[thread].data())});
  }

  // --- Profile

  template <class Body>
  void Timed(size_t step, size_t thread, const Body& body) {
    if (!timed_) {
      body();
      return;
    }
    const auto start = Clock::now();
    body();
    thread_seconds_[thread][step] += SecondsSince(start);
  }

  void CountMacs(size_t step, double macs) {
    macs_ += macs;
    profile_[step].macs += macs;
  }

  void SumProfile() {
    for (std::vector<double>& seconds : thread_seconds_) {
      for (size_t i = 0; i < seconds.size(); ++i) {
        profile_[i].seconds += seconds[i];
        seconds[i] = 0;
      }
    }
  }

  Plan plan_;
  std::vector<std::string> output_names_;
  const Kernels& kernels_;
  ThreadPool pool_;
  Arena arena_;                 // batch slots
  std::vector<Arena> scratch_;  // one per thread
  std::vector<size_t> slot_offsets_;
  std::vector<std::vector<int32_t>> ids_;  // one column per Plan::id_values
  PackedBatch packed_;  // of the run in progress; the batch may be gone afterwards
  bool ran_ = false;
  size_t sequences_ = 0, tokens_ = 0;  // of the last run
  double macs_ = 0;
  bool timed_;
  std::vector<StepProfile> profile_;
  std::vector<std::vector<double>> thread_seconds_;
};

Result<Session> Session::Create(const Graph& graph, SessionOptions options) {
  if (options.outputs.empty()) options.outputs = DefaultOutputs(graph);
  const std::vector<std::string_view> names(options.outputs.begin(), options.outputs.end());
  TRY(Plan plan, MakePlan(graph, names));
  return Session(std::make_unique<Impl>(std::move(plan), options.outputs, options));
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Status Session::Run(const Batch& batch) { return impl_->Run(batch); }
size_t Session::outputs() const { return impl_->outputs(); }
OutputView Session::output(size_t i) const { return impl_->output(i); }
double Session::macs() const { return impl_->macs(); }
size_t Session::arena_bytes() const { return impl_->arena_bytes(); }
const Kernels& Session::kernels() const { return impl_->kernels(); }
const std::vector<StepProfile>& Session::profile() const { return impl_->profile(); }

}  // namespace thimble
