#include <CLI/CLI.hpp>
#include <memory>

#include "thimble/cli/command.h"
#include "thimble/cli/training_options.h"
#include "thimble/cli/training_run.h"

namespace thimble::cli {

Action SetupDistill(CLI::App& app) {
  auto call = std::make_shared<TrainingCall>();
  AddTrainingOptions(app, *call);
  app.get_option("--model")->description(
      "the student: a preset, a config.json, a directory or a .thimble file");
  auto* group = app.add_option_group("Teacher");
  train::DistillOptions& d = call->distill;
  group->add_option("--teacher", call->teacher, "a .thimble file or a Hugging Face directory")
      ->required();
  group->add_option("--cache", call->cache,
                    "folder for the teacher's outputs; unset: beside the output");
  group->add_option("--alpha-task", d.task, "weight of the labelled loss")->capture_default_str();
  group->add_option("--alpha-logits", d.logits, "weight of the teacher's logits")
      ->capture_default_str();
  group->add_option("--temperature", d.temperature, "of the logits")->capture_default_str();
  group->add_option("--alpha-hidden", d.hidden,
                    "weight of hidden states, projected where widths differ");
  group->add_option("--alpha-attention", d.attention, "weight of attention probabilities (KL)");
  group->add_option("--alpha-scores", d.scores, "weight of attention scores (MSE)");
  group->add_option("--alpha-values", d.values, "weight of value relations (KL)");
  group->add_option("--relation-heads", d.relation_heads,
                    "heads of the value relations; 0: the teacher's");
  group->add_option("--alpha-embedding", d.embedding,
                    "weight of a sentence encoder's embedding (1 - cosine)");
  group->add_flag("--normalize-hidden", d.normalize_hidden,
                  "compare hidden states after a layer norm (MobileBERT)");
  group
      ->add_option("--progressive", d.progressive,
                   "share of the run in which the student's blocks are taught one after another "
                   "(MobileBERT); 0: all at once")
      ->check(CLI::Range(0.0, 1.0));
  group->add_option("--layer-map", call->layer_map,
                    "student:teacher blocks, as 0:3,1:7; unset: evenly");
  return [call] { return RunTraining(*call); };
}

}  // namespace thimble::cli
