// thimble eval: a model against labelled data.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "thimble/base/quote.h"
#include "thimble/cli/adapter.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/data/dataset.h"
#include "thimble/evaluation/predict_dataset.h"
#include "thimble/metrics/metrics.h"
#include "thimble/metrics/thresholds.h"
#include "thimble/runtime/predictor.h"

namespace thimble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct EvalOptions {
  std::string model, data, format, text_column, pair_column, label_column, metric;
  AdapterOptions adapter;
  std::vector<float> thresholds;
  bool json = false, per_label = false, confusion = false, strict = false, tune = false;
  int threads = 1;
  size_t batch = 32, max_length = 0, max_examples = 0, bootstrap = 1000;
  size_t window = 384, stride = 128;
  uint64_t seed = 1;
};

// --- Data: in the model's terms

bool HasLabelSet(Task task) {
  return task == Task::kSingleLabel || task == Task::kMultiLabel || task == Task::kTokenLabels;
}

std::string List(const std::vector<std::string>& names) {
  std::string list;
  for (size_t i = 0; i < names.size() && i < 5; ++i) {
    list += (list.empty() ? "" : ", ") + Quoted(names[i], 40);
  }
  return names.size() > 5 ? list + ", ..." : list;
}

// The labels of the data that the model lacks, and those of the model that no row has.
Status CompareLabels(const Dataset& data) {
  const auto known = static_cast<std::ptrdiff_t>(data.known_labels);
  const std::vector<std::string> of_model(data.labels.begin(), data.labels.begin() + known);
  const std::vector<std::string> foreign(data.labels.begin() + known, data.labels.end());
  std::vector<bool> used(data.labels.size());
  for (const Example& example : data.examples) {
    for (const int32_t label : example.labels) used[static_cast<size_t>(label)] = true;
    for (const int32_t label : example.word_labels) used[static_cast<size_t>(label)] = true;
  }
  std::vector<std::string> unused;
  for (size_t i = 0; i < of_model.size(); ++i) {
    if (!used[i]) unused.push_back(of_model[i]);
  }
  if (!foreign.empty() && unused.size() == of_model.size()) {
    return InvalidData(data.path + ": the model knows none of its labels: the data has " +
                       List(foreign) + "; the model " + List(of_model));
  }
  if (!foreign.empty()) {
    Note(std::to_string(foreign.size()) +
         " labels of the data are not known to the model, which is "
         "wrong about each of their examples: " +
         List(foreign));
  }
  if (!unused.empty()) {
    Note(std::to_string(unused.size()) + " of " + std::to_string(of_model.size()) +
         " labels of the model are not in the data: " + List(unused));
  }
  return {};
}

Result<Dataset> ReadData(const EvalOptions& options, const Model& model) {
  const bool judged =
      HasLabelSet(model.task) || model.task == Task::kRegression || model.task == Task::kAnswers;
  if (!judged) {
    return Unsupported("the model's task is " + std::string(TaskName(model.task)) +
                       ", which labelled data cannot judge");
  }
  DatasetOptions how{.task = model.task,
                     .unknown_label = UnknownLabel::kAppend,
                     .text_column = options.text_column,
                     .pair_column = options.pair_column,
                     .label_column = options.label_column,
                     .strict = options.strict,
                     .max_examples = options.max_examples};
  if (HasLabelSet(model.task)) how.labels = model.labels;
  if (!options.format.empty()) how.format = *DatasetFormatFromName(options.format);
  TRY(Dataset data, ReadDataset(options.data, how));
  if (HasLabelSet(model.task)) TRY_VOID(CompareLabels(data));
  return data;
}

Result<DatasetOutputs> Predict(const EvalOptions& options, const Model& model,
                               const Dataset& data) {
  TRY(Predictor predictor, Predictor::Create(model, {.threads = options.threads,
                                                     .max_length = options.max_length,
                                                     .answer_window = options.window,
                                                     .answer_stride = options.stride}));
  Progress progress("predicting", static_cast<double>(data.examples.size()));
  return PredictDataset(predictor, model.task, data, options.batch, [&](size_t done) {
    progress.Update(static_cast<double>(done));
    return CheckInterrupt();
  });
}

// --- Results

Json ToJson(const EvalOptions& options, const Dataset& data, const TaskMetrics& metrics,
            const DatasetOutputs& run, const std::optional<TunedThresholds>& tuned) {
  Json out, values = Json::object(), intervals = Json::object();
  for (const Metric& m : metrics.metrics) {
    values[m.name] = m.value;
    intervals[m.name] = {m.low, m.high};
  }
  out["metrics"] = std::move(values);
  out["main"] = metrics.metrics[0].name;
  if (options.bootstrap != 0) out["intervals"] = std::move(intervals);
  out["examples"] = metrics.examples;
  out["seconds"] = run.seconds;
  out["task"] = TaskName(data.task);
  out["skipped_rows"] = data.report.skipped();
  out["truncated_examples"] = run.truncated;
  if (options.per_label) {
    out["per_label"] = Json::array();
    for (const PerLabel& label : metrics.per_label) {
      out["per_label"].push_back({{"label", label.label},
                                  {"precision", label.precision},
                                  {"recall", label.recall},
                                  {"f1", label.f1},
                                  {"support", label.support}});
    }
  }
  if (options.confusion) {
    out["confusion"] = {{"labels", data.labels}, {"gold_by_predicted", metrics.confusion}};
  }
  if (tuned) {
    out["tuned"] = {{"thresholds", tuned->per_label},
                    {"global_threshold", tuned->global},
                    {"macro_f1_at_half", tuned->macro_f1_default},
                    {"macro_f1_global", tuned->macro_f1_global},
                    {"macro_f1_per_label", tuned->macro_f1_per_label}};
  }
  return out;
}

template <class... Values>
std::string Format(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string MetricTable(const TaskMetrics& metrics, bool intervals) {
  std::string text = Format("%-24s %8s", "metric", "value");
  text += intervals ? "   95 % interval\n" : "\n";
  for (const Metric& m : metrics.metrics) {
    text += Format("%-24s %8.4f", m.name.c_str(), m.value);
    text += intervals ? Format("   %.4f to %.4f\n", m.low, m.high) : "\n";
  }
  return text;
}

std::string LabelTable(const TaskMetrics& metrics) {
  std::string text =
      Format("\n%9s %9s %9s %9s   %s\n", "precision", "recall", "f1", "examples", "label");
  for (const PerLabel& label : metrics.per_label) {
    text +=
        Format("%9.4f %9.4f %9.4f %9zu   ", label.precision, label.recall, label.f1, label.support);
    text += label.label + "\n";
  }
  return text;
}

// Rows are gold labels, columns predicted ones, by the number that stands before each row's name.
std::string ConfusionTable(const Dataset& data, const TaskMetrics& metrics) {
  if (metrics.confusion.empty()) return "";
  size_t width = 4;
  for (const auto& row : metrics.confusion) {
    for (const size_t count : row) width = std::max(width, std::to_string(count).size() + 1);
  }
  const int columns = static_cast<int>(width);
  std::string text = "\ngold (rows) by predicted (columns)\n    ";
  for (size_t i = 0; i < metrics.confusion[0].size(); ++i) {
    text += i < data.labels.size() ? Format("%*zu", columns, i) : Format("%*s", columns, "?");
  }
  text += "\n";
  for (size_t i = 0; i < metrics.confusion.size(); ++i) {
    text += Format("%4zu", i);
    for (const size_t count : metrics.confusion[i]) text += Format("%*zu", columns, count);
    text += "   " + data.labels[i] + "\n";
  }
  return text;
}

std::string ThresholdTable(const Dataset& data, const TunedThresholds& tuned) {
  std::string text = Format("\nmacro F1 here: %.4f at 0.5, %.4f at %.2f for all, %.4f with:\n",
                            tuned.macro_f1_default, tuned.macro_f1_global,
                            static_cast<double>(tuned.global), tuned.macro_f1_per_label);
  for (size_t i = 0; i < tuned.per_label.size(); ++i) {
    text += Format("%9.4f   ", static_cast<double>(tuned.per_label[i])) + data.labels[i] + "\n";
  }
  return text;
}

std::string Human(const EvalOptions& options, const Dataset& data, const TaskMetrics& metrics,
                  const DatasetOutputs& run, const std::optional<TunedThresholds>& tuned) {
  std::string text = options.model + " on " + options.data;
  text += Format(": %s, %zu examples in %.1f s (%.0f per second)\n\n",
                 std::string(TaskName(data.task)).c_str(), metrics.examples, run.seconds,
                 static_cast<double>(metrics.examples) / std::max(run.seconds, 1e-9));
  text += MetricTable(metrics, options.bootstrap != 0);
  if (options.per_label && !metrics.per_label.empty()) text += LabelTable(metrics);
  if (options.confusion) text += ConfusionTable(data, metrics);
  if (tuned) text += ThresholdTable(data, *tuned);
  return text;
}

Status CheckCall(const EvalOptions& options, const Model& model) {
  const bool several = model.task == Task::kMultiLabel;
  if (!several && (!options.thresholds.empty() || options.tune)) {
    return InvalidArgument(
        "thresholds are for models with several labels per text; this one's task is " +
        std::string(TaskName(model.task)));
  }
  if (options.thresholds.size() > 1 && options.thresholds.size() != model.labels.size()) {
    return InvalidArgument("--thresholds has " + std::to_string(options.thresholds.size()) +
                           " values, the model " + std::to_string(model.labels.size()) + " labels");
  }
  if (options.confusion && model.task != Task::kSingleLabel) {
    return InvalidArgument("a confusion matrix needs one label per text; the model's task is " +
                           std::string(TaskName(model.task)));
  }
  return {};
}

Status RunEval(const EvalOptions& options) {
  TRY(const Model model, ReadModel(options.model, options.adapter));
  TRY_VOID(CheckCall(options, model));
  TRY(const Dataset data, ReadData(options, model));
  for (const std::string& line : data.report.Lines(options.data)) Note(line);
  TRY(const DatasetOutputs run, Predict(options, model, data));
  if (run.truncated != 0) {
    Note(std::to_string(run.truncated) + " of " + std::to_string(data.examples.size()) +
         " texts were longer than the model reads; their ends were cut off");
  }
  TRY(const TaskMetrics metrics,
      ComputeMetrics(
          data, run.outputs,
          {.thresholds = options.thresholds.empty() ? model.thresholds : options.thresholds,
           .bootstrap_samples = options.bootstrap,
           .seed = options.seed,
           .main = options.metric}));
  std::optional<TunedThresholds> tuned;
  if (options.tune) {
    TRY(tuned, TuneThresholds(data, run.outputs));
  }
  return options.json ? PrintText(DumpJson(ToJson(options, data, metrics, run, tuned)) + "\n")
                      : PrintText(Human(options, data, metrics, run, tuned));
}

}  // namespace

Action SetupEval(CLI::App& app) {
  auto o = std::make_shared<EvalOptions>();
  app.add_option("model", o->model, "a .thimble file")->required();
  app.add_option("data", o->data,
                 "labelled data: .tsv, .csv, .jsonl, SQuAD's .json, .conll, or those .gz")
      ->required();
  AddAdapterOptions(app, o->adapter);
  app.add_flag("--json", o->json, "one JSON object");
  app.add_flag("--per-label", o->per_label, "precision, recall and F1 of every label");
  app.add_flag("--confusion", o->confusion, "which label was taken for which");
  app.add_option("--metric", o->metric, "the metric that comes first");
  app.add_option(
         "--thresholds", o->thresholds,
         "several labels: one threshold for all, or one per label; default: the model's own")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--tune-thresholds", o->tune,
               "several labels: show the thresholds that are best here (use a validation set)");
  app.add_option("--text-column", o->text_column, "name of the text's column");
  app.add_option("--pair-column", o->pair_column, "name of the second text's column");
  app.add_option("--label-column", o->label_column, "name of the label's column");
  app.add_option("--format", o->format, "what the file's name does not tell")
      ->check(CLI::IsMember({"tsv", "csv", "jsonl", "squad", "conll"}));
  app.add_flag("--strict", o->strict, "stop at the first row that cannot be used");
  app.add_option("--max-examples", o->max_examples, "read so many only; 0: all")
      ->capture_default_str();
  app.add_option("--threads,--num_threads", o->threads, "threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--batch", o->batch, "examples that run together")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  app.add_option("--max-length", o->max_length, "tokens per sequence; 0: what the model takes")
      ->capture_default_str();
  app.add_option("--window", o->window, "answers: tokens per window of a long context")
      ->check(CLI::Range(16, 1 << 20))
      ->capture_default_str();
  app.add_option("--stride", o->stride, "answers: tokens that two windows share")
      ->capture_default_str();
  app.add_option("--bootstrap", o->bootstrap, "samples for the 95 % intervals; 0: no intervals")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--seed", o->seed, "of those samples")->capture_default_str();
  return [o] { return RunEval(*o); };
}

}  // namespace thimble::cli
