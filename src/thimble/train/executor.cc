#include "thimble/train/executor.h"

#include <algorithm>
#include <memory>
#include <string>

#include "thimble/graph/blocks.h"
#include "thimble/passes/lora.h"
#include "thimble/train/expressions.h"

namespace thimble::train {
namespace {

// Steps that compute a row from the same row.
bool WorksRowByRow(OpKind op) {
  return op == OpKind::kLinear || op == OpKind::kActivation || op == OpKind::kLayerNorm ||
         op == OpKind::kAffine || op == OpKind::kL2Normalize;
}

std::vector<int> CountUses(const Graph& graph) {
  std::vector<int> uses(graph.values.size(), 0);
  for (const Node& node : graph.nodes) {
    for (const ValueId input : node.inputs) ++uses[Index(input)];
  }
  return uses;
}

at::Tensor IdsTensor(std::span<const int32_t> ids, at::Device device) {
  const at::Tensor cpu = at::empty({static_cast<int64_t>(ids.size())}, at::kInt);
  std::copy(ids.begin(), ids.end(), cpu.data_ptr<int32_t>());
  return cpu.to(device);
}

}  // namespace

Executor::Executor(const Graph& graph, const ParameterSet& parameters,
                   const ExecutorOptions& options)
    : graph_(&graph), parameters_(&parameters), options_(options) {
  if (options_.device.type() != at::kCPU) options_.plain = true;
  PlaceDropout();
  FindHead();
}

Result<Executor> Executor::Create(const Graph& graph, const ParameterSet& parameters,
                                  const ExecutorOptions& options) {
  TRY_VOID(Verify(graph));
  for (const double p : {options.hidden_dropout, options.attention_dropout}) {
    if (!(p >= 0 && p < 1)) {
      return InvalidArgument("dropout " + std::to_string(p) + " is not in [0, 1)");
    }
  }
  return Executor(graph, parameters, options);
}

void Executor::PlaceDropout() {
  // A linear and the adapter beside it count as one.
  std::vector<bool> of_linear(graph_->values.size(), false),
      in_adapter(graph_->nodes.size(), false);
  for (const Node& node : graph_->nodes) {
    of_linear[Index(node.output)] = node.op == OpKind::kLinear;
  }
  for (const LoraBranch& branch : FindLora(*graph_)) {
    in_adapter[branch.sum] = true;
    of_linear[Index(graph_->nodes[branch.sum].output)] = true;
  }
  dropout_.assign(graph_->nodes.size(), {});
  bool before_attention = true, embeddings_done = false;
  const GraphOutput* logits = graph_->FindOutput("logits");
  for (size_t i = 0; i < graph_->nodes.size(); ++i) {
    const Node& node = graph_->nodes[i];
    if (BeginsBlock(node)) before_attention = false;
    const bool norm = node.op == OpKind::kLayerNorm || node.op == OpKind::kAffine;
    if (norm && before_attention && !embeddings_done) {
      dropout_[i].on_output = embeddings_done = true;
    }
    if (node.op == OpKind::kAdd && !before_attention && !in_adapter[i]) {
      for (int operand = 0; operand < 2; ++operand) {
        if (of_linear[Index(node.inputs[static_cast<size_t>(operand)])]) {
          dropout_[i].operand = operand;
          break;
        }
      }
    }
    dropout_[i].on_input = node.op == OpKind::kLinear && logits != nullptr &&
                           node.output == logits->value &&
                           graph_->value(node.output).type.rows == Rows::kSequences;
  }
}

void Executor::FindHead() {
  head_ = graph_->nodes.size();
  const GraphOutput* logits = graph_->FindOutput("logits");
  if (logits == nullptr || graph_->value(logits->value).type.rows != Rows::kTokens) return;
  const std::vector<int> uses = CountUses(*graph_);
  const auto is_output = [&](ValueId value) {
    return std::any_of(graph_->outputs.begin(), graph_->outputs.end(),
                       [&](const GraphOutput& o) { return o.value == value; });
  };
  ValueId value = logits->value;
  for (size_t i = graph_->nodes.size(); i-- > 0;) {
    const Node& node = graph_->nodes[i];
    if (node.output != value) continue;
    if (!WorksRowByRow(node.op)) return;
    head_ = i;
    value = node.inputs[0];
    // A value that others read too ends the head: they need all of its rows.
    if (uses[Index(value)] > 1 || is_output(value)) return;
  }
}

Status Executor::CheckIds(const Batch& batch) const {
  for (const Node& node : graph_->nodes) {
    if (node.op != OpKind::kEmbedding) continue;
    const std::string& input = graph_->value(node.inputs[0]).name;
    const bool words = input == kInputIds;
    if (!words && input != kTokenTypeIds) continue;
    const int64_t rows = node.weights[0].tensor.dim(0);
    for (const int32_t id : words ? batch.ids() : batch.type_ids()) {
      if (id < 0 || id >= rows) {
        return InvalidArgument(node.name + ": id " + std::to_string(id) +
                               " is not in the table of " + std::to_string(rows) + " rows");
      }
    }
  }
  const PackedBatch packed = batch.packed();
  for (size_t s = 0; s < packed.sequences(); ++s) {
    const int64_t length = packed.offsets[s + 1] - packed.offsets[s];
    if (length < 1 || length > graph_->max_sequence_length) {
      return InvalidArgument("sequence " + std::to_string(s) + " has " + std::to_string(length) +
                             " tokens, the model takes 1 to " +
                             std::to_string(graph_->max_sequence_length));
    }
  }
  return {};
}

Result<std::vector<at::Tensor>> Executor::Run(const Batch& batch, std::span<const ValueId> wanted,
                                              const RunOptions& options) const {
  TRY_VOID(CheckIds(batch));
  try {
    return Execute(batch, wanted, options);
  } catch (const c10::Error& error) {
    return ResourceExhausted("libtorch: " + std::string(error.what_without_backtrace()));
  }
}

// What the codes of int8 products stand for, by the scale of the node or of each row; gradients pass as if nothing had
// been rounded, but for values beyond the codes (Jacob et al. 2018).
at::Tensor Executor::RoundedInput(size_t node, const at::Tensor& x) const {
  const double scale = std::get<LinearAttrs>(graph_->nodes[node].attrs).input_scale;
  if (scale != 0) return at::fake_quantize_per_tensor_affine(x, scale, 0, -127, 127);
  if (options_.rounded_rows.empty() || !options_.rounded_rows[node]) return x;
  constexpr float kLeast = 1e-30f;  // a row of zeros has no scale
  const at::Tensor scales = (x.detach().abs().amax(1) / 127).clamp_min(kLeast);
  const at::Tensor zeros = at::zeros(scales.sizes(), scales.options().dtype(at::kInt));
  return at::fake_quantize_per_channel_affine(x, scales, zeros, 0, -127, 127);
}

std::vector<at::Tensor> Executor::Execute(const Batch& batch, std::span<const ValueId> wanted,
                                          const RunOptions& options) const {
  const bool record = options.gradients.defined();
  const bool drop = !options.sequence_keys.empty();
  const c10::AutoGradMode mode(record);
  const auto run = std::make_shared<const RunContext>(batch.packed(), options_.device,
                                                      options.sequence_keys, options.step_key);
  const at::Tensor anchor = at::zeros({1}).requires_grad_(record);

  // Which nodes are needed, and how often each value will be read.
  std::vector<int> uses(graph_->values.size(), 0);
  for (const ValueId value : wanted) ++uses[Index(value)];
  std::vector<bool> needed(graph_->nodes.size(), false);
  for (size_t i = graph_->nodes.size(); i-- > 0;) {
    const Node& node = graph_->nodes[i];
    if (uses[Index(node.output)] == 0) continue;
    needed[i] = true;
    for (const ValueId input : node.inputs) ++uses[Index(input)];
  }

  // One leaf per parameter in plain mode: a parameter used twice gathers both gradients.
  std::vector<at::Tensor> leaves(options_.plain ? parameters_->parameters().size() : 0);
  const auto weight_of = [&](size_t node, size_t weight) -> WeightRef {
    const size_t index = parameters_->IndexOf(node, weight);
    const bool trains = record && parameters_->parameters()[index].trainable;
    if (!options_.plain) {
      return {parameters_->View(index),
              trains ? parameters_->ViewOf(options.gradients, index) : at::Tensor()};
    }
    if (!leaves[index].defined()) {
      leaves[index] = parameters_->View(index).detach();
      if (trains) {
        leaves[index].requires_grad_(true);
        // Autograd adds to a gradient that is there, in place.
        leaves[index].mutable_grad() = parameters_->ViewOf(options.gradients, index);
      }
    }
    return {leaves[index], {}};
  };

  std::vector<at::Tensor> values(graph_->values.size());
  for (const ValueId id : graph_->inputs) {
    values[Index(id)] = IdsTensor(
        graph_->value(id).name == kInputIds ? batch.ids() : batch.type_ids(), options_.device);
  }
  std::vector<at::Tensor> inputs;
  std::vector<WeightRef> weights;
  for (size_t i = 0; i < graph_->nodes.size(); ++i) {
    if (!needed[i]) continue;
    const Node& node = graph_->nodes[i];
    inputs.clear(), weights.clear();
    for (const ValueId id : node.inputs) {
      at::Tensor value = values[Index(id)];
      if (i == head_ && !options.logit_rows.empty()) value = SelectRows(value, options.logit_rows);
      inputs.push_back(std::move(value));
      if (--uses[Index(id)] == 0) values[Index(id)] = at::Tensor();
    }
    for (size_t w = 0; w < node.weights.size(); ++w) weights.push_back(weight_of(i, w));
    const Rows rows = graph_->value(node.inputs[0]).type.rows;
    // Two sites per node: on what it reads and on what it gives.
    const auto site = static_cast<uint32_t>(2 * i);
    if (drop && dropout_[i].on_input && options_.hidden_dropout > 0) {
      inputs[0] = DropoutRows(inputs[0], options_.hidden_dropout, rows, site, run, options_.plain);
    }
    if (node.op == OpKind::kLinear) inputs[0] = RoundedInput(i, inputs[0]);
    OpCall call{node, rows, inputs, weights, run, anchor};
    call.site = site;
    if (options_.precision == Precision::kBFloat16) call.products = at::kBFloat16;
    if (drop && node.op == OpKind::kAttention) call.dropout = options_.attention_dropout;
    if (drop && dropout_[i].operand >= 0) {
      call.dropout = options_.hidden_dropout;
      call.dropped = dropout_[i].operand;
    }
    at::Tensor out = ExpressionOf(node.op, options_.plain)(call);
    if (drop && dropout_[i].on_output && options_.hidden_dropout > 0) {
      out = DropoutRows(out, options_.hidden_dropout, rows, site + 1, run, options_.plain);
    }
    values[Index(node.output)] = std::move(out);
  }
  std::vector<at::Tensor> results;
  for (const ValueId value : wanted) results.push_back(values[Index(value)]);
  return results;
}

}  // namespace thimble::train
