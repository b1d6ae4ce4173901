// The options that `train` and `distill` have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "thimble/compress/movement.h"
#include "thimble/passes/lora.h"
#include "thimble/targets/energy.h"
#include "thimble/train/distill.h"
#include "thimble/train/objective.h"
#include "thimble/train/start.h"
#include "thimble/train/trainer.h"

namespace CLI {
class App;
}

namespace thimble::cli {

struct TrainingCall {
  std::string train, valid, test, output, task, pool, schedule = "linear", metric, weights;
  std::string text_column, label_column;
  std::string device = "cpu", precision = "f32", class_weights = "none";
  train::StartOptions start;
  train::TrainerOptions trainer;
  train::TaskLossOptions loss;
  EnergyModel energy;
  double hidden_dropout = 0.1, attention_dropout = 0.1, token_dropout = 0;
  size_t max_length = 128;
  int64_t warmup_steps = 0;
  int processes = 1;           // to start here
  double rank_timeout = 1800;  // seconds
  bool whole_words = false, json = false, strict = false;
  bool silent = false;  // the caller says what came out

  // Unset: all weights are trained, and a whole model is written.
  std::optional<int64_t> adapter_rank;  // 0: the head alone
  double adapter_alpha = 16;
  std::vector<std::string> adapter_targets = LoraOptions().targets;

  std::string teacher;  // empty: no distillation
  std::string cache;    // folder for the teacher's outputs; empty: beside the output
  std::string layer_map;
  train::DistillOptions distill;

  // The model is trained, judged and written with the types that the nodes of this graph have.
  std::optional<Graph> quantized;
  // Masks are learned, and what they leave is cut before the model is written.
  std::optional<compress::MovementOptions> movement;
};

// Puts the options of `call` into `app`; `call` must outlive it.
void AddTrainingOptions(CLI::App& app, TrainingCall& call);

}  // namespace thimble::cli
