#include "thimble/cli/training_options.h"

#include <CLI/CLI.hpp>

#include "thimble/cli/weights.h"

namespace thimble::cli {

void AddTrainingOptions(CLI::App& app, TrainingCall& call) {
  call.trainer.epochs = 3;
  call.trainer.rate = 5e-4;
  app.set_config("--recipe", "",
                 "a TOML file with these options: key = value; the command line wins");
  app.allow_config_extras(CLI::config_extras_mode::error);
  const auto group = [&](const char* name) { return app.add_option_group(name); };

  auto* data = group("Data");
  data->add_option("--train", call.train,
                   "training set: TSV, CSV, JSONL, SQuAD, CoNLL; with --task masked_lm a text or a "
                   "folder of texts")
      ->required();
  data->add_option("--valid", call.valid, "validation set: chooses the weights that are kept");
  data->add_option("--test", call.test, "test set, measured once at the end");
  data->add_option("--task", call.task,
                   "single_label, multi_label, regression, token_labels, answers or masked_lm; "
                   "unset: from the data");
  data->add_option("--max-length", call.max_length, "tokens; longer texts are cut")
      ->capture_default_str();
  data->add_option("--text-column", call.text_column, "name of the column; unset: the usual names");
  data->add_option("--label-column", call.label_column,
                   "name of the column; unset: the usual names");
  data->add_flag("--strict", call.strict,
                 "a bad row is an error instead of being left out and counted");

  auto* model = group("Model");
  model
      ->add_option("--model", call.start.model,
                   "a preset, a config.json, a Hugging Face directory or a .thimble file")
      ->required();
  model->add_option("--set", call.start.overrides,
                    "key=value of a preset's configuration, may be repeated");
  model->add_option("--vocab", call.start.vocabulary,
                    "vocab.txt, for models that start from scratch");
  model->add_flag("--cased", call.start.cased, "with --vocab: keep case and accents");
  model->add_flag("--keep-accents", call.start.keep_accents,
                  "with --vocab: lower-case, but keep accents and other marks");
  model->add_option("--inherit", call.start.inherit,
                    "start the weights of a preset from this larger model");
  model->add_option("--layers", call.start.layers, "with --inherit: which of its layers, in order")
      ->delimiter(',');
  model
      ->add_option("--pool", call.pool,
                   "what the classifier reads: first or mean; unset: as the architecture does")
      ->check(CLI::IsMember({"first", "mean"}));
  model->add_option("-o,--output", call.output, "the .thimble file to write")
      ->required()
      ->type_name("FILE");
  AddWeightsOption(*model, call.weights);

  auto* adapter = group("Adapter");
  auto* rank = adapter->add_option(
      "--adapter-rank", call.adapter_rank,
      "train low-rank matrices of this rank beside a frozen .thimble model, and a head, and write "
      "these alone; 0: the head alone");
  adapter
      ->add_option("--adapter-alpha", call.adapter_alpha,
                   "what they give is multiplied by alpha / rank")
      ->needs(rank)
      ->capture_default_str();
  adapter
      ->add_option(
          "--adapter-targets", call.adapter_targets,
          "beside which linears: query, key, value, all, or names with * for any characters")
      ->needs(rank)
      ->delimiter(',')
      ->capture_default_str();

  auto* run = group("Run");
  run->add_option("--epochs", call.trainer.epochs, "passes over the training set")
      ->capture_default_str();
  run->add_option("--max-steps", call.trainer.max_steps, "updates at most; 0: as the epochs say");
  run->add_option("--max-seconds", call.trainer.max_seconds,
                  "time at most; the schedule follows the clock");
  run->add_option("--batch", call.trainer.batches.examples,
                  "examples per batch; 0: as --batch-tokens says")
      ->capture_default_str();
  run->add_option("--batch-tokens", call.trainer.batches.tokens,
                  "tokens per batch at most; 0: no limit");
  run->add_option("--accumulate", call.trainer.accumulate, "batches per update")
      ->capture_default_str();
  run->add_option("--lr", call.trainer.rate, "peak learning rate")->capture_default_str();
  run->add_option("--schedule", call.schedule, "constant, linear or cosine")->capture_default_str();
  run->add_option("--warmup", call.trainer.warmup_share,
                  "share of the steps over which the rate rises")
      ->capture_default_str();
  run->add_option("--warmup-steps", call.warmup_steps, "the same in steps");
  run->add_option("--weight-decay", call.trainer.optimizer.weight_decay, "of matrices and tables")
      ->capture_default_str();
  run->add_option("--clip", call.trainer.optimizer.clip_norm, "largest norm of a gradient; 0: off")
      ->capture_default_str();
  run->add_option("--ema", call.trainer.optimizer.average_decay,
                  "decay of a moving average of the weights; 0: none");
  run->add_option("--dropout", call.hidden_dropout, "of hidden states")->capture_default_str();
  run->add_option("--attention-dropout", call.attention_dropout, "of attention probabilities")
      ->capture_default_str();
  run->add_option("--token-dropout", call.token_dropout,
                  "share of a text's tokens that are left out, others each time; 0: none");
  run->add_option("--class-weights", call.class_weights, "none, balanced or sqrt")
      ->check(CLI::IsMember({"none", "balanced", "sqrt"}))
      ->capture_default_str();
  run->add_option("--focal-gamma", call.loss.focal_gamma, "focal loss; 0: off");
  run->add_option("--logit-adjust", call.loss.adjust_tau,
                  "logit adjustment for rare classes; 0: off, usual: 1");
  run->add_option("--label-smoothing", call.loss.label_smoothing, "0: off");
  run->add_flag("--whole-words", call.whole_words, "masked_lm: mask all pieces of a word together");
  run->add_option("--eval-every", call.trainer.evaluate_every, "epochs between evaluations")
      ->capture_default_str();
  run->add_option("--early-stop", call.trainer.patience,
                  "stop after so many evaluations without a better score; 0: never");
  run->add_option("--metric", call.metric,
                  "the metric that chooses the weights; unset: the task's main one");
  run->add_option("--seed", call.trainer.seed, "of everything random")->capture_default_str();
  run->add_option("--threads", call.trainer.threads,
                  "threads of each process, one share of every batch each")
      ->capture_default_str();
  run->add_option("--processes", call.processes,
                  "start so many processes here, with --threads each; on several machines mpirun, "
                  "torchrun or srun start them")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  run->add_option("--rank-timeout", call.rank_timeout,
                  "seconds after which a process that is silent is given up; an evaluation must "
                  "take less")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  run->add_option("--device", call.device, "cpu, or cuda where libtorch has it")
      ->capture_default_str();
  run->add_option(
         "--precision", call.precision,
         "what matrices are multiplied in: f32; bf16; auto, bf16 where it is measured to be "
         "faster here")
      ->check(CLI::IsMember({"f32", "bf16", "auto"}))
      ->capture_default_str();
  run->add_option("--checkpoint-every", call.trainer.checkpoint_seconds,
                  "seconds between checkpoints")
      ->capture_default_str();
  run->add_option("--watts-per-core", call.energy.watts_per_core,
                  "of a busy core, for the estimate of energy where the machine does not count it")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  run->add_option("--grid-co2", call.energy.grid_co2, "grams of CO2 per kWh of your electricity")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  run->add_flag("--resume", call.trainer.resume, "go on from OUTPUT.checkpoint, if it is there");
  run->add_flag("--json", call.json, "one JSON document at the end");
}

}  // namespace thimble::cli
