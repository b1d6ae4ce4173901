// thimble vocab: learn a WordPiece vocabulary from text.
#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "thimble/base/file.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/data/plain_text.h"
#include "thimble/text/wordpiece_trainer.h"

namespace thimble::cli {
namespace {

struct VocabOptions {
  std::vector<std::string> corpus;
  std::string output, text_column;
  size_t size = 8000, alphabet = 1000;
  uint64_t min_frequency = 2;
  bool lower_case = true, keep_accents = false, json = false;
};

struct Corpus {
  size_t lines = 0, invalid_lines = 0;
};

Result<Corpus> AddText(const VocabOptions& options, WordPieceTrainer& trainer) {
  TRY(PlainText text, PlainText::Open(options.corpus, {.text_column = options.text_column}));
  Progress progress("reading", text.bytes_total());
  std::string line;
  for (;;) {
    TRY(const bool more, text.Next(line));
    if (!more) break;
    trainer.Add(line);
    if (text.lines() % 64 == 0) TRY_VOID(CheckInterrupt());
    progress.Update(text.bytes_read());
  }
  return Corpus{text.lines(), text.invalid_lines()};
}

Result<TrainedVocabulary> Train(const VocabOptions& options, const WordPieceTrainer& trainer) {
  Progress progress("merging", static_cast<double>(options.size));
  return trainer.Train([&](size_t pieces) -> Status {
    progress.Update(static_cast<double>(pieces));
    return CheckInterrupt();
  });
}

void NoteLosses(const VocabOptions& options, const Corpus& corpus,
                const TrainedVocabulary& vocabulary) {
  if (corpus.invalid_lines != 0) {
    Note(std::to_string(corpus.invalid_lines) + " lines are not UTF-8 text and were left out (of " +
         std::to_string(corpus.lines + corpus.invalid_lines) + ")");
  }
  if (vocabulary.alphabet < vocabulary.characters) {
    Note(std::to_string(vocabulary.characters - vocabulary.alphabet) + " of " +
         std::to_string(vocabulary.characters) +
         " characters are rarer than --alphabet allows; words with them will be unknown");
  }
  if (vocabulary.pieces.size() < options.size) {
    Note("only " + std::to_string(vocabulary.pieces.size()) + " of " +
         std::to_string(options.size) + " pieces: no pair is left that stands " +
         std::to_string(options.min_frequency) + " times");
  }
}

Status RunVocab(const VocabOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  // Before the work: a place that cannot be written to is told at once.
  TRY(AtomicFile file, AtomicFile::Create(options.output));
  WordPieceTrainer trainer({.vocabulary_size = options.size,
                            .min_frequency = options.min_frequency,
                            .max_alphabet = options.alphabet,
                            .lower_case = options.lower_case,
                            .strip_accents = options.lower_case && !options.keep_accents});
  TRY(const Corpus corpus, AddText(options, trainer));
  TRY(const TrainedVocabulary vocabulary, Train(options, trainer));
  for (const std::string& piece : vocabulary.pieces) TRY_VOID(file.Append(piece + "\n"));
  TRY_VOID(file.Commit());
  NoteLosses(options, corpus, vocabulary);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.json) {
    return PrintText(DumpJson({{"file", options.output},
                               {"pieces", vocabulary.pieces.size()},
                               {"alphabet", vocabulary.alphabet},
                               {"lower_case", options.lower_case},
                               {"strip_accents", options.lower_case && !options.keep_accents},
                               {"lines", corpus.lines},
                               {"words", vocabulary.words},
                               {"distinct_words", vocabulary.distinct_words},
                               {"words_left_out", vocabulary.words_left_out},
                               {"seconds", seconds}}) +
                     "\n");
  }
  char text[160];
  std::snprintf(text, sizeof text,
                ": %zu pieces, %zu characters among them, from %s words (%s distinct) in %.1f s\n",
                vocabulary.pieces.size(), vocabulary.alphabet,
                CountText(static_cast<double>(vocabulary.words)).c_str(),
                CountText(static_cast<double>(vocabulary.distinct_words)).c_str(), seconds);
  return PrintText(options.output + text);
}

}  // namespace

Action SetupVocab(CLI::App& app) {
  auto o = std::make_shared<VocabOptions>();
  app.add_option(
         "corpus", o->corpus,
         "text files (.txt, .txt.gz, one paragraph a line), folders of them, or data sets (.tsv, "
         ".csv, .jsonl), whose texts are taken")
      ->required();
  app.add_option("-o,--output", o->output, "the vocab.txt to write")->required();
  app.add_option("--size", o->size, "pieces, special tokens included")
      ->check(CLI::Range(size_t{6}, size_t{1} << 24))
      ->capture_default_str();
  app.add_flag("--lower-case,!--cased", o->lower_case,
               "lower-case the text and strip accents (the default); --cased keeps both");
  app.add_flag("--keep-accents", o->keep_accents,
               "lower-case the text, but keep accents and other marks");
  app.add_option("--min-frequency", o->min_frequency,
                 "how often a pair must stand to become a piece")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--alphabet", o->alphabet, "so many different characters at most")
      ->check(CLI::Range(size_t{1}, size_t{1} << 20))
      ->capture_default_str();
  app.add_option("--text-column", o->text_column, "of data sets: the column with the text");
  app.add_flag("--json", o->json, "one JSON object");
  return [o] { return RunVocab(*o); };
}

}  // namespace thimble::cli
