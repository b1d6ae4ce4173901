// What the file's outputs are: logits of a task, or features.
#include <algorithm>
#include <set>

#include "thimble/formats/tflite/graph_reader.h"

namespace thimble {
namespace {

constexpr std::string_view kLogits = "logits", kHidden = "last_hidden_state",
                           kPooled = "pooler_output";

}  // namespace

// What a softmax or a sigmoid at the end stands on.
Result<ValueId> TfliteGraphReader::LogitsOf(const View& view) {
  if (view.kind == BaseKind::kSoftmax) {
    result_.task = Task::kSingleLabel;
    result_.task_is_stated = true;
    return ValueOf(view.expr);
  }
  TRY(const View rows, Whole(view));
  const Atoms all = AllAtoms(rows.extent);
  const bool in_order =
      all.empty() || all.back().stride == Coordinates{0, 1, 0, 0} || rows_[rows.expr].width == 1;
  if (!in_order) return Unsupported("an output has its columns in another order than they come");
  if (!IsScored(rows.expr)) return ValueOf(rows.expr);
  result_.task = Task::kMultiLabel;
  result_.task_is_stated = true;
  return ValueOf(rows_[rows.expr].a);
}

// Two outputs with a number per token: where an answer starts and ends.
Status TfliteGraphReader::ReadAnswers(const View& first, const View& second) {
  bool end_first = false;
  for (size_t i = 0; i < 2; ++i) {
    const std::string_view name = file_.tensors[static_cast<size_t>(file_.outputs[i])].name;
    const bool start = name.find("start") != name.npos, end = name.find("end_") != name.npos;
    if (start && !end) end_first = i == 1;
    if (end && !start) end_first = i == 0;
  }
  // The columns that each takes, side by side.
  std::vector<std::pair<ValueId, std::vector<int64_t>>> columns;
  for (const View* view : end_first ? std::array{&second, &first} : std::array{&first, &second}) {
    TRY(const View rows, AsRows(*view));
    if (!IsTokens(AllAtoms(rows.extent)) || rows.extent.offset[0] != 0 || rows.scale != 1) {
      return Unsupported("its two outputs are not logits of an answer's start and end");
    }
    TRY(const ValueId value, ValueOf(rows.expr));
    columns.push_back({value, {rows.extent.offset[1]}});
  }
  if (columns[0].first == columns[1].first) {
    columns = {{columns[0].first, {columns[0].second[0], columns[1].second[0]}}};
  }
  TRY(const ValueId logits, GatherColumns(columns));
  result_.task = Task::kAnswers;
  result_.task_is_stated = true;
  builder_.Output(kLogits, logits);
  MarkHidden(logits);
  return {};
}

// Names the value that a head stands on, and the pooler where there is one: heads are replaced and
// structures pruned by them.
void TfliteGraphReader::MarkHidden(ValueId logits) {
  const auto maker = [&](ValueId value) -> const Node* {
    const auto found = nodes_.find(value);
    return found == nodes_.end() ? nullptr : &found->second;
  };
  const bool pooled = builder_.type(logits).rows == Rows::kSequences;
  const auto is_norm = [](const Node& n) {
    return n.op == OpKind::kLayerNorm || n.op == OpKind::kAffine || n.op == OpKind::kAdd;
  };
  ValueId tanh = kNoValue, hidden = kNoValue, value = logits;
  for (const Node* node = maker(value); node != nullptr; node = maker(value)) {
    if (pooled && node->op == OpKind::kPool) {
      hidden = node->inputs[0];
      break;
    }
    if (!pooled && is_norm(*node) && value != logits) {
      hidden = value;
      break;
    }
    const bool is_tanh = node->op == OpKind::kActivation &&
                         std::get<ActivationAttrs>(node->attrs).function == Activation::kTanh;
    if (is_tanh && value != logits) tanh = value;
    value = node->inputs[0];
    if (!pooled && maker(value) == nullptr) break;
  }
  if (hidden == kNoValue || hidden == logits || maker(hidden) == nullptr) return;
  builder_.Output(kHidden, hidden);
  if (tanh != kNoValue) builder_.Output(kPooled, tanh);
}

Status TfliteGraphReader::ReadOutputs() {
  std::vector<View> views;
  for (const int32_t output : file_.outputs) {
    const auto& view = views_[static_cast<size_t>(output)];
    if (!view) return InvalidData("an output of the model is a constant");
    views.push_back(*view);
  }
  const auto place = [](Result<ValueId> value) -> Result<ValueId> {
    if (!value) return std::move(value).error().In("output of the model");
    return value;
  };
  if (views.empty()) return InvalidData("the model has no output");
  std::vector<size_t> scored;
  for (size_t i = 0; i < views.size(); ++i) {
    const View& view = views[i];
    if (view.kind == BaseKind::kSoftmax || (view.kind == BaseKind::kRows && IsScored(view.expr))) {
      scored.push_back(i);
    }
  }
  const auto per_token_number = [&](const View& view) {
    return AllAtoms(view.extent).size() == 1 && IsTokens(AllAtoms(view.extent));
  };
  if (views.size() == 2 && per_token_number(views[0]) && per_token_number(views[1])) {
    const Status answers = ReadAnswers(views[0], views[1]);
    if (!answers) return Error(answers.error()).In("outputs of the model");
    return {};
  }
  if (views.size() == 1 || scored.size() == 1) {
    TRY(const ValueId logits, place(LogitsOf(views[scored.empty() ? 0 : scored[0]])));
    const ValueType type = builder_.type(logits);
    if (type.rows == Rows::kTokens) {
      if (result_.task == Task::kMultiLabel) {
        return Unsupported("it gives several labels for every token");
      }
      result_.task = Task::kTokenLabels;
    } else if (!result_.task_is_stated && type.width == 1) {
      result_.task = Task::kRegression;
    }
    builder_.Output(kLogits, logits);
    MarkHidden(logits);
    return {};
  }
  if (views.size() != 2) {
    return Unsupported("the model has " + std::to_string(views.size()) +
                       " outputs; import reads one, start and end of an answer, or rows of tokens "
                       "beside one of the sequence");
  }
  for (const View& view : views) {
    TRY(const ValueId value, place(LogitsOf(view)));
    builder_.Output(builder_.type(value).rows == Rows::kTokens ? kHidden : kPooled, value);
  }
  result_.task = Task::kFeatures;
  result_.task_is_stated = true;
  return {};
}

}  // namespace thimble
