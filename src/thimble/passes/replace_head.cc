#include "thimble/passes/replace_head.h"

#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/random.h"
#include "thimble/passes/copy_graph.h"

namespace thimble {
namespace {

bool PerSequence(Task task) {
  return task == Task::kSingleLabel || task == Task::kMultiLabel || task == Task::kRegression;
}

int64_t Outputs(const NewHead& head) {
  if (head.task == Task::kAnswers) return 2;
  return head.task == Task::kRegression ? 1 : head.labels;
}

ValueId NewLinear(Builder& builder, const std::string& name, ValueId x, const NewHead& head) {
  const int64_t width = builder.type(x).width, outputs = Outputs(head);
  std::vector<float> weight(static_cast<size_t>(outputs * width));
  Random random(head.seed);
  for (float& w : weight) w = static_cast<float>(head.spread * random.Normal());
  const std::vector<float> bias(static_cast<size_t>(outputs), 0.0f);
  return builder.Add(OpKind::kLinear, name, {x},
                     {{name + ".weight", Tensor::FromFloats({outputs, width}, weight)},
                      {name + ".bias", Tensor::FromFloats({outputs}, bias)}});
}

}  // namespace

Result<Graph> ReplaceHead(const Graph& graph, const NewHead& head) {
  const GraphOutput* hidden = graph.FindOutput("last_hidden_state");
  const GraphOutput* pooled = graph.FindOutput("pooler_output");
  if (hidden == nullptr) {
    return Unsupported(
        "the model does not give its last hidden state, so it cannot get another head");
  }
  if (head.task == Task::kMaskedLm || head.task == Task::kPretraining) {
    return Unsupported("a head for the task " + std::string(TaskName(head.task)) +
                       " is part of the architecture; start from a preset or a configuration");
  }
  if (Outputs(head) < 1) return InvalidArgument("a head needs at least one label");
  const bool keep_pooler = pooled != nullptr && !head.pool.has_value() &&
                           (PerSequence(head.task) || head.task == Task::kFeatures);
  Builder builder;
  GraphCopier copy(graph, builder);
  std::vector<ValueId> wanted{hidden->value};
  if (keep_pooler) wanted.push_back(pooled->value);
  const std::vector<bool> needed = NeededNodes(graph, wanted);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (needed[i]) copy.Copy(graph.nodes[i]);
  }
  builder.Output("last_hidden_state", copy[hidden->value]);
  if (keep_pooler) builder.Output("pooler_output", copy[pooled->value]);
  if (head.task != Task::kFeatures) {
    ValueId x = keep_pooler ? copy[pooled->value] : copy[hidden->value];
    if (PerSequence(head.task) && !keep_pooler) {
      x = builder.Add(OpKind::kPool, "classifier.pool", {x}, {},
                      PoolAttrs{head.pool.value_or(PoolKind::kFirst)});
    }
    const std::string name = head.task == Task::kAnswers ? "qa_outputs" : "classifier";
    if (builder.ok()) builder.Output("logits", NewLinear(builder, name, x, head));
  }
  return std::move(builder).Finish(graph.max_sequence_length);
}

Result<std::vector<bool>> FeatureNodes(const Graph& graph) {
  const GraphOutput* hidden = graph.FindOutput("last_hidden_state");
  if (hidden == nullptr) {
    return Unsupported("the model does not give its last hidden state, so its head is not known");
  }
  std::vector<ValueId> features{hidden->value};
  if (const GraphOutput* pooled = graph.FindOutput("pooler_output")) {
    features.push_back(pooled->value);
  }
  return NeededNodes(graph, features);
}

}  // namespace thimble
