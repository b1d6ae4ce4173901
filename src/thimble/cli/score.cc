#include "thimble/cli/score.h"

#include "thimble/cli/console.h"
#include "thimble/evaluation/predict_dataset.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/metrics/metrics.h"
#include "thimble/runtime/predictor.h"

namespace thimble::cli {

Result<Dataset> ReadFor(const Model& model, const std::string& path) {
  DatasetOptions how{.task = model.task};
  if (model.task != Task::kRegression && model.task != Task::kAnswers) how.labels = model.labels;
  TRY(Dataset data, ReadDataset(path, how));
  if (data.examples.empty()) {
    return InvalidData(path + ": has no row with a label that the model knows");
  }
  return data;
}

Result<Score> ScoreOn(const Model& model, const Dataset& data, const std::string& metric,
                      int threads) {
  const Model packed = Packed(model);
  TRY(Predictor predictor, Predictor::Create(packed, {.threads = threads}));
  TRY(const DatasetOutputs run,
      PredictDataset(predictor, model.task, data, 32, [](size_t) { return CheckInterrupt(); }));
  TRY(const TaskMetrics metrics,
      ComputeMetrics(data, run.outputs,
                     {.thresholds = model.thresholds, .bootstrap_samples = 0, .main = metric}));
  Score score{.metric = metrics.metrics[0].name,
              .value = metrics.metrics[0].value,
              .all = nlohmann::json::object()};
  for (const Metric& m : metrics.metrics) score.all[m.name] = m.value;
  return score;
}

}  // namespace thimble::cli
