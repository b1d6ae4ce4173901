#include "thimble/runtime/plan.h"

#include <algorithm>
#include <map>
#include <optional>

#include "thimble/graph/block_sparse.h"
#include "thimble/graph/panels.h"
#include "thimble/runtime/sink_pooling.h"

namespace thimble {
namespace {

// Whole cache lines per row, and never a multiple of 1 KiB: rows that far apart fall into the same few
// cache sets, and a kernel that walks down a column of rows would evict itself.
uint32_t RowStride(int64_t width) {
  const size_t stride = RoundUp(static_cast<size_t>(width), 16);
  return static_cast<uint32_t>(stride % 256 == 0 ? stride + 16 : stride);
}

// A fused piece of the graph: the nodes that one step executes.
struct Fusion {
  const Node* main = nullptr;        // decides the kind of step
  const Node* affine = nullptr;      // after a linear
  const Node* activation = nullptr;  // after that
  ValueId residual = kNoValue;       // added between linear and affine
  ValueId output = kNoValue;
};

bool StartsSegment(OpKind op) {
  return op == OpKind::kAttention || op == OpKind::kTrigram || op == OpKind::kPool;
}

class Planner {
 public:
  explicit Planner(Graph graph) { plan_.graph = std::move(graph); }

  Result<Plan> Run() && {
    CountUses();
    TRY_VOID(CollectIds());
    Fuse();
    CutIntoSegments();
    FindHomes();
    for (size_t s = 0; s < cuts_.size(); ++s) TRY_VOID(EmitSegment(s));
    for (const GraphOutput& output : graph().outputs) {
      plan_.outputs.push_back(operands_[Index(output.value)]);
    }
    return std::move(plan_);
  }

 private:
  const Graph& graph() const { return plan_.graph; }
  const ValueType& type(ValueId id) const { return graph().value(id).type; }

  void CountUses() {
    uses_.assign(graph().values.size(), {});
    for (const Node& node : graph().nodes) {
      for (const ValueId id : node.inputs) uses_[Index(id)].push_back(&node);
    }
    is_output_.assign(graph().values.size(), false);
    for (const GraphOutput& output : graph().outputs) is_output_[Index(output.value)] = true;
  }

  // Ids are int32 columns that come from the caller or are counted from the offsets.
  Status CollectIds() {
    id_index_.assign(graph().values.size(), 0);
    for (size_t i = 0; i < graph().inputs.size(); ++i) {
      id_index_[Index(graph().inputs[i])] = static_cast<uint32_t>(plan_.id_values.size());
      IdValue ids;
      ids.input = static_cast<uint32_t>(i);
      plan_.id_values.push_back(ids);
    }
    for (const Node& node : graph().nodes) {
      if (node.op == OpKind::kPositionIds) {
        id_index_[Index(node.output)] = static_cast<uint32_t>(plan_.id_values.size());
        IdValue ids;
        ids.source = IdValue::Source::kPositions;
        ids.input = id_index_[Index(node.inputs[0])];
        ids.positions = std::get<PositionIdsAttrs>(node.attrs);
        plan_.id_values.push_back(ids);
      } else if (node.op == OpKind::kEmbedding) {
        int64_t& limit = plan_.id_values[id_index_[Index(node.inputs[0])]].limit;
        const int64_t rows = node.weights[0].tensor.dim(0);
        limit = limit == 0 ? rows : std::min(limit, rows);
      }
    }
    return {};
  }

  // The only reader of a value that nobody else sees.
  const Node* SoleUser(ValueId id) const {
    const auto& users = uses_[Index(id)];
    return users.size() == 1 && !is_output_[Index(id)] ? users[0] : nullptr;
  }

  void Fuse() {
    std::vector<bool> taken(graph().nodes.size(), false);
    const auto index = [this](const Node* n) {
      return static_cast<size_t>(n - graph().nodes.data());
    };
    // A residual must exist by the time the linear runs.
    std::vector<bool> done(graph().values.size(), false);
    for (const ValueId id : graph().inputs) done[Index(id)] = true;
    for (const Node& node : graph().nodes) {
      if (node.op == OpKind::kPositionIds || taken[index(&node)]) continue;
      Fusion f;
      f.main = &node;
      f.output = node.output;
      if (node.op == OpKind::kLinear) {
        const Node* next = SoleUser(f.output);
        if (next != nullptr && next->op == OpKind::kAdd) {
          const ValueId other = next->inputs[next->inputs[0] == f.output ? 1 : 0];
          if (other != f.output && done[Index(other)]) {
            f.residual = other;
            f.output = next->output;
            taken[index(next)] = true;
            next = SoleUser(f.output);
          }
        }
        if (next != nullptr && next->op == OpKind::kAffine) {
          f.affine = next;
          f.output = next->output;
          taken[index(next)] = true;
          next = SoleUser(f.output);
        }
        if (next != nullptr && next->op == OpKind::kActivation) {
          f.activation = next;
          f.output = next->output;
          taken[index(next)] = true;
        }
      }
      done[Index(f.output)] = true;
      fusions_.push_back(f);
    }
  }

  std::vector<ValueId> Inputs(const Fusion& f) const {
    std::vector<ValueId> inputs;
    if (f.main->op != OpKind::kEmbedding) inputs = f.main->inputs;
    if (f.residual != kNoValue) inputs.push_back(f.residual);
    return inputs;
  }

  void CutIntoSegments() {
    std::vector<size_t> made_in(graph().values.size(), SIZE_MAX);
    for (size_t i = 0; i < fusions_.size(); ++i) {
      const Fusion& f = fusions_[i];
      bool cut = cuts_.empty() || f.main->op == OpKind::kAttention ||
                 fusions_[i - 1].main->op == OpKind::kAttention ||
                 type(f.output).rows != type(fusions_[i - 1].output).rows;
      // A step that looks across rows needs its inputs whole.
      if (StartsSegment(f.main->op)) {
        for (const ValueId id : Inputs(f)) cut |= made_in[Index(id)] == cuts_.size() - 1;
      }
      if (cut) cuts_.push_back(i);
      made_in[Index(f.output)] = cuts_.size() - 1;
      segment_of_.push_back(cuts_.size() - 1);
    }
  }

  // Whole-batch buffers for values that are read in another segment or asked for; last reader of each.
  void FindHomes() {
    operands_.assign(graph().values.size(), {});
    last_use_.assign(graph().values.size(), 0);
    std::vector<size_t> made_in(graph().values.size(), SIZE_MAX);
    std::vector<bool> whole = is_output_;
    for (size_t i = 0; i < fusions_.size(); ++i) {
      made_in[Index(fusions_[i].output)] = segment_of_[i];
      last_use_[Index(fusions_[i].output)] = i;
      for (const ValueId id : Inputs(fusions_[i])) {
        last_use_[Index(id)] = i;
        if (made_in[Index(id)] != segment_of_[i]) whole[Index(id)] = true;
      }
      if (fusions_[i].main->op == OpKind::kAttention) whole[Index(fusions_[i].output)] = true;
    }
    for (const Fusion& f : fusions_) {
      Operand& operand = operands_[Index(f.output)];
      operand.home = whole[Index(f.output)] ? Operand::Home::kBatch : Operand::Home::kBlock;
      operand.width = static_cast<uint32_t>(type(f.output).width);
      operand.rows = type(f.output).rows;
    }
  }

  // Slots are reused as soon as their value is dead; the narrowest free one that fits is taken.
  template <class Strides, class Fits>
  static std::optional<uint32_t> TakeFree(std::vector<uint32_t>& free, const Strides& strides,
                                          const Fits& fits) {
    size_t best = free.size();
    for (size_t i = 0; i < free.size(); ++i) {
      if (fits(free[i]) && (best == free.size() || strides(free[i]) < strides(free[best])))
        best = i;
    }
    if (best == free.size()) return std::nullopt;
    const uint32_t slot = free[best];
    free.erase(free.begin() + static_cast<std::ptrdiff_t>(best));
    return slot;
  }

  void PlaceOutput(ValueId id, Segment& segment) {
    Operand& operand = operands_[Index(id)];
    const uint32_t stride = RowStride(operand.width);
    if (operand.home == Operand::Home::kBatch) {
      auto& slots = plan_.batch_slots;
      const auto found = TakeFree(
          free_batch_, [&](uint32_t s) { return slots[s].stride; },
          [&](uint32_t s) { return slots[s].rows == operand.rows && slots[s].stride >= stride; });
      if (!found.has_value()) slots.push_back({operand.rows, stride});
      operand.slot = found.value_or(static_cast<uint32_t>(slots.size() - 1));
    } else {
      auto& slots = segment.block_slots;
      const auto found = TakeFree(
          free_block_, [&](uint32_t s) { return slots[s]; },
          [&](uint32_t s) { return slots[s] >= stride; });
      if (!found.has_value()) slots.push_back(stride);
      operand.slot = found.value_or(static_cast<uint32_t>(slots.size() - 1));
    }
  }

  void Release(ValueId id) {
    if (is_output_[Index(id)]) return;
    const Operand& operand = operands_[Index(id)];
    (operand.home == Operand::Home::kBatch ? free_batch_ : free_block_).push_back(operand.slot);
  }

  Status EmitSegment(size_t s) {
    const size_t begin = cuts_[s];
    const size_t end = s + 1 < cuts_.size() ? cuts_[s + 1] : fusions_.size();
    Segment segment;
    segment.rows = type(fusions_[begin].output).rows;
    free_block_.clear();
    std::map<std::pair<ValueId, float>, uint32_t> quantized;  // a value, with the scale it is given
    // Values that die here in batch slots may still be read by other blocks of this segment, which run
    // at the same time: their slots are free only afterwards.
    std::vector<ValueId> dead_after;
    for (size_t i = begin; i < end; ++i) {
      const Fusion& f = fusions_[i];
      TRY(Step step, MakeStep(f));
      if (step.kind == StepKind::kLinear && step.weight->dtype() == DType::kI8) {
        const std::pair x(f.main->inputs[0], step.input_scale);
        if (!quantized.contains(x)) {
          quantized[x] = static_cast<uint32_t>(segment.quantized_slots.size());
          segment.quantized_slots.push_back(static_cast<uint32_t>(RoundUp(step.in.width, 64)));
          Step quantize;
          quantize.kind = StepKind::kQuantize;
          quantize.name = step.name;
          quantize.in = step.in;
          quantize.quantized = quantized[x];
          quantize.input_scale = step.input_scale;
          segment.steps.push_back(std::move(quantize));
        }
        step.quantized = quantized[x];
      }
      PlaceOutput(f.output, segment);
      step.out = operands_[Index(f.output)];
      segment.steps.push_back(std::move(step));
      std::vector<ValueId> read = Inputs(f);
      std::sort(read.begin(), read.end());
      read.erase(std::unique(read.begin(), read.end()), read.end());
      for (const ValueId id : read) {
        if (last_use_[Index(id)] != i) continue;
        if (operands_[Index(id)].home == Operand::Home::kBatch) {
          dead_after.push_back(id);
        } else {
          Release(id);
        }
      }
    }
    for (const ValueId id : dead_after) Release(id);
    plan_.segments.push_back(std::move(segment));
    return {};
  }

  static const float* Floats(const Node& node, size_t i) {
    return i < node.weights.size() ? node.weights[i].tensor.floats().data() : nullptr;
  }

  Result<Step> MakeStep(const Fusion& f) {
    const Node& node = *f.main;
    for (const Node* n : {f.main, f.affine}) {
      if (n != nullptr) TRY_VOID(CheckVectors(*n));
    }
    Step step;
    step.name = node.name;
    if (node.op != OpKind::kEmbedding) step.in = operands_[Index(node.inputs[0])];
    switch (node.op) {
      case OpKind::kPositionIds:
        break;  // an IdValue, never a step
      case OpKind::kEmbedding:
        step.kind = StepKind::kEmbedding;
        step.ids = id_index_[Index(node.inputs[0])];
        step.weight = &node.weights[0].tensor;
        break;
      case OpKind::kTrigram:
        step.kind = StepKind::kTrigram;
        break;
      case OpKind::kLinear: {
        step.kind = StepKind::kLinear;
        step.weight = &node.weights[0].tensor;
        if (step.weight->layout() == Layout::kRowMajor) {
          return Unsupported("linear " + node.name +
                             ": its weight is row-major; models run from a .thimble file");
        }
        step.input_scale = static_cast<float>(std::get<LinearAttrs>(node.attrs).input_scale);
        if (step.input_scale != 0 && step.weight->dtype() != DType::kI8) {
          return Unsupported(
              "linear " + node.name +
              ": has a scale for its input, which only int8 weights are multiplied with");
        }
        step.bias = Floats(node, 1);
        if (f.residual != kNoValue) step.in2 = operands_[Index(f.residual)];
        if (f.affine != nullptr) {
          step.gamma = Floats(*f.affine, 0);
          step.beta = Floats(*f.affine, 1);
        }
        if (f.activation != nullptr) {
          step.activation = std::get<ActivationAttrs>(f.activation->attrs).function;
        }
        step.macs_per_row = ProductsPerRow(*step.weight);
        break;
      }
      case OpKind::kAttention: {
        step.kind = StepKind::kAttention;
        step.in2 = operands_[Index(node.inputs[1])];
        step.in3 = operands_[Index(node.inputs[2])];
        step.heads = std::get<AttentionAttrs>(node.attrs).heads;
        step.scale = static_cast<float>(std::get<AttentionAttrs>(node.attrs).scale);
        step.macs_per_row = static_cast<double>(step.in.width) + step.in3.width;
        break;
      }
      case OpKind::kLayerNorm:
        step.kind = StepKind::kLayerNorm;
        step.gamma = Floats(node, 0);
        step.beta = Floats(node, 1);
        step.epsilon = static_cast<float>(std::get<LayerNormAttrs>(node.attrs).epsilon);
        break;
      case OpKind::kAffine:
        step.kind = StepKind::kAffine;
        step.gamma = Floats(node, 0);
        step.beta = Floats(node, 1);
        break;
      case OpKind::kActivation:
        step.kind = StepKind::kActivation;
        step.activation = std::get<ActivationAttrs>(node.attrs).function;
        break;
      case OpKind::kAdd:
        step.kind = StepKind::kAdd;
        step.in2 = operands_[Index(node.inputs[1])];
        break;
      case OpKind::kPool:
        step.kind = std::get<PoolAttrs>(node.attrs).kind == PoolKind::kFirst ? StepKind::kPoolFirst
                                                                             : StepKind::kPoolMean;
        break;
      case OpKind::kL2Normalize:
        step.kind = StepKind::kL2Normalize;
        break;
    }
    return step;
  }

  // Biases, gains and norms are read in place as aligned float32.
  static Status CheckVectors(const Node& node) {
    const size_t first = node.op == OpKind::kLinear || node.op == OpKind::kEmbedding ? 1 : 0;
    for (size_t i = first; i < node.weights.size(); ++i) {
      const Tensor& t = node.weights[i].tensor;
      if (t.dtype() != DType::kF32 || t.layout() != Layout::kRowMajor ||
          reinterpret_cast<uintptr_t>(t.data().data()) % alignof(float) != 0) {
        return Unsupported(node.weights[i].name + ": is " + std::string(DTypeName(t.dtype())) +
                           ", the runtime reads aligned f32; models run from a .thimble file");
      }
    }
    return {};
  }

  Plan plan_;
  std::vector<std::vector<const Node*>> uses_;
  std::vector<bool> is_output_;
  std::vector<uint32_t> id_index_;
  std::vector<Fusion> fusions_;
  std::vector<size_t> cuts_;        // first fusion of each segment
  std::vector<size_t> segment_of_;  // of each fusion
  std::vector<size_t> last_use_;    // of each value: the last fusion that reads it
  std::vector<Operand> operands_;   // of each value
  std::vector<uint32_t> free_batch_, free_block_;
};

}  // namespace

std::string_view StepKindName(StepKind kind) {
  switch (kind) {
    case StepKind::kEmbedding:
      return "embedding";
    case StepKind::kTrigram:
      return "trigram";
    case StepKind::kQuantize:
      return "quantize";
    case StepKind::kLinear:
      return "linear";
    case StepKind::kAttention:
      return "attention";
    case StepKind::kLayerNorm:
      return "layer_norm";
    case StepKind::kAffine:
      return "affine";
    case StepKind::kActivation:
      return "activation";
    case StepKind::kAdd:
      return "add";
    case StepKind::kPoolFirst:
      return "pool_first";
    case StepKind::kPoolMean:
      return "pool_mean";
    case StepKind::kL2Normalize:
      return "l2_normalize";
  }
  return "";
}

size_t Segment::BlockBytesPerRow() const {
  size_t bytes = 0;
  for (const uint32_t stride : block_slots) bytes += stride * sizeof(float);
  for (const uint32_t stride : quantized_slots) bytes += stride + sizeof(float);
  return bytes;
}

Result<Plan> MakePlan(const Graph& graph, std::span<const std::string_view> outputs) {
  TRY(Graph sunk, SinkPooling(graph, outputs));
  return Planner(std::move(sunk)).Run();
}

}  // namespace thimble
