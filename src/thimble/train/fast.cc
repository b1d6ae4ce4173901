// The fast expressions: each computes its forward pass without recording, and hangs one step of the
// backward pass below its output.
#include <utility>

#include "thimble/train/expressions.h"
#include "thimble/train/kernels/kernels.h"

namespace thimble::train::fast {
namespace {

using torch::autograd::variable_list;

// A step of the backward pass: from the gradient of an output to those of the recorded inputs.
class BackwardStep : public torch::autograd::Node {
 public:
  using Function = std::function<variable_list(const at::Tensor& gradient)>;
  explicit BackwardStep(Function function) : function_(std::move(function)) {}

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return variable_list(num_outputs());
    return function_(gradients[0].contiguous());
  }
  // What the step holds is freed as soon as it was used.
  void release_variables() override { function_ = nullptr; }

 private:
  Function function_;
};

// `function` gives one gradient per input, in order; it is called only if some input requires one.
at::Tensor Record(at::Tensor out, const variable_list& inputs, BackwardStep::Function function) {
  if (!torch::autograd::compute_requires_grad(inputs)) return out;
  auto step = std::make_shared<BackwardStep>(std::move(function));
  step->set_next_edges(torch::autograd::collect_next_edges(inputs));
  torch::autograd::set_history(out, step);
  return out;
}

// The forward passes compute on bare values.
struct NoRecording {
  c10::AutoGradMode mode{false};
};

const TrainKernels& Kernels() { return BestTrainKernels(); }

float* Data(const at::Tensor& t) { return t.data_ptr<float>(); }
float* DataOrNull(const at::Tensor& t) { return t.defined() ? Data(t) : nullptr; }
size_t Rows(const at::Tensor& t) { return static_cast<size_t>(t.size(0)); }
size_t Width(const at::Tensor& t) { return static_cast<size_t>(t.size(1)); }

bool Trains(std::span<const WeightRef> weights) {
  return std::any_of(weights.begin(), weights.end(),
                     [](const WeightRef& w) { return w.gradient.defined(); });
}

// An input that makes the output require gradients where only weights do.
at::Tensor AnchorIf(const OpCall& call) {
  return Trains(call.weights) ? call.anchor : at::Tensor();
}

}  // namespace

at::Tensor Embedding(const OpCall& call) {
  const WeightRef& table = call.weights[0];
  const at::Tensor ids = call.inputs[0];
  at::Tensor out;
  {
    const NoRecording guard;
    out = table.value.index_select(0, ids);
  }
  return Record(std::move(out), {AnchorIf(call)},
                [gradient = table.gradient, ids](const at::Tensor& d_y) -> variable_list {
                  Kernels().scatter_add_rows(Data(d_y), ids.data_ptr<int32_t>(), Rows(d_y),
                                             Width(d_y), Data(gradient));
                  return {at::Tensor()};
                });
}

// The same with operands of products rounded to another type, x kept in it.
at::Tensor RoundedLinear(const OpCall& call) {
  const at::ScalarType type = call.products;
  const WeightRef weight = call.weights[0];
  const WeightRef bias = call.weights.size() > 1 ? call.weights[1] : WeightRef{};
  at::Tensor out, x;
  {
    const NoRecording guard;
    x = call.inputs[0].detach().to(type);
    out = at::mm(x, weight.value.to(type).t()).to(at::kFloat);
    if (bias.value.defined()) out.add_(bias.value);
  }
  const bool needs_input = call.inputs[0].requires_grad();
  return Record(
      std::move(out), {call.inputs[0], AnchorIf(call)},
      [x, type, weight, bias, needs_input](const at::Tensor& d_y) -> variable_list {
        const at::Tensor rounded = d_y.to(type);
        at::Tensor gradient = weight.gradient;
        if (gradient.defined()) gradient.add_(at::mm(rounded.t(), x));
        if (bias.gradient.defined()) {
          Kernels().add_column_sums(Data(d_y), Rows(d_y), Width(d_y), Data(bias.gradient));
        }
        return {needs_input ? at::mm(rounded, weight.value.to(type)).to(at::kFloat) : at::Tensor(),
                at::Tensor()};
      });
}

at::Tensor Linear(const OpCall& call) {
  if (call.products != at::kFloat) return RoundedLinear(call);
  const at::Tensor x = call.inputs[0].contiguous();
  const WeightRef weight = call.weights[0];
  const WeightRef bias = call.weights.size() > 1 ? call.weights[1] : WeightRef{};
  at::Tensor out;
  {
    const NoRecording guard;
    out = bias.value.defined() ? at::addmm(bias.value, x, weight.value.t())
                               : at::mm(x, weight.value.t());
  }
  const bool needs_input = x.requires_grad();
  return Record(
      std::move(out), {x, AnchorIf(call)},
      [x = x.detach(), weight, bias, needs_input](const at::Tensor& d_y) -> variable_list {
        at::Tensor gradient = weight.gradient;
        if (gradient.defined()) gradient.addmm_(d_y.t(), x);
        if (bias.gradient.defined()) {
          Kernels().add_column_sums(Data(d_y), Rows(d_y), Width(d_y), Data(bias.gradient));
        }
        return {needs_input ? at::mm(d_y, weight.value) : at::Tensor(), at::Tensor()};
      });
}

at::Tensor Attention(const OpCall& call) {
  const auto& attrs = call.attr<AttentionAttrs>();
  const at::Tensor q = call.inputs[0].contiguous(), k = call.inputs[1].contiguous(),
                   v = call.inputs[2].contiguous();
  const bool per_token = call.input_rows == thimble::Rows::kTokens;
  const auto heads = static_cast<size_t>(attrs.heads);
  std::vector<uint32_t> keys;
  if (call.dropout > 0) keys = call.run->RowKeys(call.input_rows, call.site);
  // The shape points into what the step of the backward pass keeps alive.
  const auto shape_of = [=, run = call.run, dropout = call.dropout](
                            const std::vector<uint32_t>& row_keys, float scale) {
    return AttentionShape{.offsets = run->offsets(),
                          .mask = run->mask(),
                          .per_token = per_token,
                          .heads = heads,
                          .head_width = Width(q) / heads,
                          .value_width = Width(v) / heads,
                          .q_stride = Width(q),
                          .k_stride = Width(k),
                          .v_stride = Width(v),
                          .out_stride = Width(v),
                          .scale = scale,
                          .dropout = static_cast<float>(dropout),
                          .row_keys = row_keys.empty() ? nullptr : row_keys.data()};
  };
  const auto scale = static_cast<float>(attrs.scale);
  at::Tensor out, kept;
  {
    const NoRecording guard;
    const AttentionShape shape = shape_of(keys, scale);
    out = at::empty({q.size(0), v.size(1)}, q.options());
    kept = at::empty({static_cast<int64_t>(AttentionKeptFloats(shape))}, q.options());
    Kernels().attention_forward({shape, Data(q), Data(k), Data(v), Data(kept), Data(out)});
  }
  return Record(
      std::move(out), {q, k, v},
      [q = q.detach(), k = k.detach(), v = v.detach(), kept, shape_of, scale,
       keys = std::move(keys)](const at::Tensor& d_out) -> variable_list {
        const at::Tensor d_q = at::empty_like(q), d_k = at::empty_like(k), d_v = at::empty_like(v);
        Kernels().attention_backward({shape_of(keys, scale), Data(q), Data(k), Data(v), Data(kept),
                                      Data(d_out), Data(d_q), Data(d_k), Data(d_v)});
        return {d_q, d_k, d_v};
      });
}

at::Tensor LayerNorm(const OpCall& call) {
  const at::Tensor x = call.inputs[0].contiguous();
  const WeightRef gamma = call.weights[0], beta = call.weights[1];
  at::Tensor out, statistics;
  {
    const NoRecording guard;
    out = at::empty_like(x);
    statistics = at::empty({2, x.size(0)}, x.options());
    Kernels().layer_norm_forward(
        {.x = Data(x),
         .gamma = Data(gamma.value),
         .beta = Data(beta.value),
         .y = Data(out),
         .mean = Data(statistics),
         .inverse = Data(statistics) + x.size(0),
         .rows = Rows(x),
         .width = Width(x),
         .epsilon = static_cast<float>(call.attr<LayerNormAttrs>().epsilon)});
  }
  return Record(std::move(out), {x, AnchorIf(call)},
                [x = x.detach(), gamma, beta, statistics](const at::Tensor& d_y) -> variable_list {
                  const at::Tensor d_x = at::empty_like(x);
                  Kernels().layer_norm_backward({.x = Data(x),
                                                 .gamma = Data(gamma.value),
                                                 .mean = Data(statistics),
                                                 .inverse = Data(statistics) + x.size(0),
                                                 .d_y = Data(d_y),
                                                 .d_x = Data(d_x),
                                                 .d_gamma = DataOrNull(gamma.gradient),
                                                 .d_beta = DataOrNull(beta.gradient),
                                                 .rows = Rows(x),
                                                 .width = Width(x)});
                  return {d_x, at::Tensor()};
                });
}

at::Tensor Affine(const OpCall& call) {
  const at::Tensor x = call.inputs[0].contiguous();
  const WeightRef gamma = call.weights[0], beta = call.weights[1];
  at::Tensor out;
  {
    const NoRecording guard;
    out = at::empty_like(x);
    Kernels().affine_forward(Data(x), Data(gamma.value), Data(beta.value), Data(out), Rows(x),
                             Width(x));
  }
  return Record(std::move(out), {x, AnchorIf(call)},
                [x = x.detach(), gamma, beta](const at::Tensor& d_y) -> variable_list {
                  const at::Tensor d_x = at::empty_like(x);
                  Kernels().affine_backward({.x = Data(x),
                                             .gamma = Data(gamma.value),
                                             .d_y = Data(d_y),
                                             .d_x = Data(d_x),
                                             .d_gamma = DataOrNull(gamma.gradient),
                                             .d_beta = DataOrNull(beta.gradient),
                                             .rows = Rows(x),
                                             .width = Width(x)});
                  return {d_x, at::Tensor()};
                });
}

at::Tensor Activation(const OpCall& call) {
  const thimble::Activation function = call.attr<ActivationAttrs>().function;
  const at::Tensor x = call.inputs[0].contiguous();
  const auto count = static_cast<size_t>(x.numel());
  at::Tensor out;
  {
    const NoRecording guard;
    out = at::empty_like(x);
    Kernels().activation_forward(function, Data(x), Data(out), count);
  }
  return Record(std::move(out), {x},
                [x = x.detach(), function, count](const at::Tensor& d_y) -> variable_list {
                  const at::Tensor d_x = at::empty_like(x);
                  Kernels().activation_backward(function, Data(x), Data(d_y), Data(d_x), count);
                  return {d_x};
                });
}

namespace {

// y = dropout(x) + residual (undefined: none).
at::Tensor DropoutAdd(const at::Tensor& input, const at::Tensor& residual_input, double probability,
                      thimble::Rows rows, uint32_t site,
                      const std::shared_ptr<const RunContext>& run) {
  const at::Tensor x = input.contiguous();
  const at::Tensor residual = residual_input.defined() ? residual_input.contiguous() : at::Tensor();
  std::vector<uint32_t> keys = run->RowKeys(rows, site);
  DropoutArgs args{.x = Data(x),
                   .residual = DataOrNull(residual),
                   .rows = Rows(x),
                   .width = Width(x),
                   .row_keys = keys.data(),
                   .probability = static_cast<float>(probability)};
  at::Tensor out;
  {
    const NoRecording guard;
    out = at::empty_like(x);
    args.y = Data(out);
    Kernels().dropout(args);
  }
  const bool needs_input = x.requires_grad();
  return Record(
      std::move(out), {x, residual},
      [args, needs_input, keys = std::move(keys)](const at::Tensor& d_y) -> variable_list {
        if (!needs_input) return {at::Tensor(), d_y};
        const at::Tensor d_x = at::empty_like(d_y);
        DropoutArgs backward = args;
        backward.x = Data(d_y);
        backward.residual = nullptr;
        backward.y = Data(d_x);
        backward.row_keys = keys.data();
        Kernels().dropout(backward);
        return {d_x, d_y};
      });
}

}  // namespace

at::Tensor Add(const OpCall& call) {
  if (call.dropout == 0) return plain::Add(call);
  const auto dropped = static_cast<size_t>(call.dropped);
  return DropoutAdd(call.inputs[dropped], call.inputs[1 - dropped], call.dropout, call.input_rows,
                    call.site, call.run);
}

at::Tensor Dropout(const at::Tensor& x, double probability, thimble::Rows rows, uint32_t site,
                   const std::shared_ptr<const RunContext>& run) {
  return DropoutAdd(x, at::Tensor(), probability, rows, site, run);
}

}  // namespace thimble::train::fast
