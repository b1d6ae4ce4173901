// What a person and a log see of a training run.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "thimble/base/result.h"
#include "thimble/targets/energy.h"
#include "thimble/train/trainer.h"

namespace thimble::cli {

// A line that is redrawn on a terminal (loss, metric, tokens/s, time left), one line per evaluation elsewhere,
// and every step and evaluation as JSON lines in a log file.
//
// The log grows with the run: resuming cuts it back to where the checkpoint stood. So does the account of time and
// energy: it holds what led to the checkpoint and everything since. Not thread-safe.
class TrainingConsole : public train::TrainingObserver {
 public:
  // `resume`: keep what is in the log so far.
  TrainingConsole(std::string log_path, bool resume, const EnergyModel& energy);
  ~TrainingConsole() override;

  Status Open();

  Status OnStep(const train::StepReport& report) override;
  Status OnEvaluation(const train::Evaluation& evaluation, int64_t step, double epoch,
                      bool best) override;
  Result<std::string> Save() override;
  Status OnResume(const std::string& saved, int64_t step) override;
  Status CheckInterrupt() override;

  // Adds what other processes of the run have used.
  void AddUsage(const Usage& usage) { earlier_ += usage; }
  // What the run has cost so far, as the log and the model's provenance tell it.
  nlohmann::json Account();

  Status Summary(const nlohmann::json& summary);
  // The summary as lines for people.
  static std::string Human(const nlohmann::json& summary);

 private:
  Usage Used();
  Status Log(const nlohmann::json& line);
  void Draw(const train::StepReport& report);
  void Wipe();

  std::string path_;
  bool resume_, terminal_, drawn_ = false;
  std::FILE* file_ = nullptr;
  double mean_loss_ = 0, mean_rate_ = 0;  // moving averages of loss and tokens/s
  double next_draw_ = 0;                  // seconds of the run
  std::string metric_;                    // the last evaluation in words
  EnergyModel energy_;
  UsageMeter meter_;
  Usage earlier_;  // up to the checkpoint that the run goes on from, and by other processes
};

}  // namespace thimble::cli
