#include "thimble/cli/recovery.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "thimble/cli/training_run.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"

namespace thimble::cli {

void AddRecoveryOptions(CLI::App& app, CLI::Option* train, RecoveryOptions& o) {
  const auto add = [&](const char* name, auto& value, const char* what) {
    app.add_option(name, value, what)->needs(train)->capture_default_str();
  };
  add("--epochs,--epochs-per-target", o.epochs, "of training");
  add("--lr", o.rate, "peak learning rate");
  add("--train-batch", o.batch, "examples per batch");
  add("--train-threads", o.threads, "threads that train; 0: as --threads");
  add("--max-length", o.max_length, "tokens of a training text; longer ones are cut");
  add("--dropout", o.dropout, "of hidden states");
  add("--token-dropout", o.token_dropout,
      "share of a text's tokens left out; excludes --alpha-hidden");
  add("--alpha-task", o.alpha_task, "weight of the labels");
  add("--alpha-logits", o.alpha_logits, "weight of the teacher's labels");
  add("--temperature", o.temperature, "of the teacher's labels");
}

TrainingCall RecoveryCall(const RecoveryOptions& o, const std::string& start,
                          const std::string& teacher, int threads) {
  TrainingCall call;
  call.train = o.train;
  call.start.model = start;
  call.teacher = teacher;
  call.trainer.epochs = o.epochs;
  call.trainer.rate = o.rate;
  call.trainer.threads = o.threads > 0 ? o.threads : threads;
  call.trainer.batches.examples = o.batch;
  call.max_length = o.max_length;
  call.schedule = "cosine";
  call.hidden_dropout = o.dropout;
  call.token_dropout = o.token_dropout;
  call.distill.task = o.alpha_task;
  call.distill.logits = o.alpha_logits;
  call.distill.hidden = o.token_dropout > 0 ? 0 : o.alpha_hidden.value_or(1);
  call.distill.temperature = o.temperature;
  return call;
}

Result<Model> Recover(TrainingCall call, const Model& start, const std::string& path) {
  const std::string begin = path + ".start", trained = path + ".trained";
  const std::string outputs = trained + ".teacher";  // where no folder is named for them
  TRY_VOID(WriteThimble(start, begin));
  call.start.model = begin;
  call.output = trained;
  call.silent = true;
  TRY_VOID(RunTraining(call));
  TRY(Model result, ReadThimble(trained));
  for (const std::string& file : {begin, trained, trained + ".log.jsonl"}) {
    std::remove(file.c_str());
  }
  std::error_code ignored;
  std::filesystem::remove_all(outputs, ignored);
  return result;
}

}  // namespace thimble::cli
