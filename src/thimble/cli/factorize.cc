// thimble factorize: thinner embeddings, fewer pieces, matrices of low rank.
#include <CLI/CLI.hpp>
#include <charconv>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "thimble/base/format.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/score.h"
#include "thimble/compress/factorize.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/passes/trim_vocabulary.h"

namespace thimble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct FactorizeCall {
  std::string model, output, width, calib, valid, metric;
  std::vector<std::string> corpus, vocabulary;
  double least = 1, max_drop = 1;
  compress::LinearLimit linears;
  compress::CalibrationOptions calibration;
  int threads = 1;
  bool force = false, json = false;
};

// A whole number of columns, or a share below 1.
Result<compress::TableWidth> ParseWidth(const std::string& text) {
  const char* end = text.data() + text.size();
  compress::TableWidth width;
  const auto whole = std::from_chars(text.data(), end, width.rank);
  if (whole.ec == std::errc() && whole.ptr == end && width.rank > 0) return width;
  width.rank = 0;
  const auto share = std::from_chars(text.data(), end, width.energy);
  if (share.ec == std::errc() && share.ptr == end && width.energy > 0 && width.energy < 1)
    return width;
  return InvalidArgument("--embedding-rank " + text +
                         ": it is a number of columns, half, or a share of energy below 1");
}

class FactorizeRun {
 public:
  explicit FactorizeRun(FactorizeCall call) : o_(std::move(call)) {}

  Status Execute() {
    if (o_.width.empty() && o_.vocabulary.empty() && !LinearsToo()) {
      return InvalidArgument(
          "nothing to do: give --embedding-rank, --vocabulary, --linear-error or --linear-share");
    }
    if (LinearsToo() && o_.calib.empty()) {
      return InvalidArgument("linears are factorized for the texts they read: give --calib");
    }
    TRY(model_, ReadThimble(o_.model));
    report_["model"] = o_.model;
    report_["before"] = Size(o_.model);
    std::optional<Dataset> valid;
    std::optional<Score> before;
    if (!o_.valid.empty()) {
      TRY(valid, ReadFor(model_, o_.valid));
      TRY(before, ScoreOn(model_, *valid, o_.metric, o_.threads));
    }
    TRY_VOID(Trim());
    TRY_VOID(Embeddings());
    TRY_VOID(Linears());
    if (valid) {
      TRY(const Score after, ScoreOn(model_, *valid, o_.metric, o_.threads));
      report_["metric"] = after.metric;
      report_["score_before"] = before->value;
      report_["score"] = after.value;
      if (before->value - after.value > o_.max_drop && !o_.force) {
        return Error(ErrorCode::kLimitNotMet,
                     after.metric + " falls from " + FormatNumber("%.4f", before->value) + " to " +
                         FormatNumber("%.4f", after.value) + ", more than --max-drop " +
                         FormatNumber("%g", o_.max_drop) +
                         "; keep more, or train afterwards (--force "
                         "writes it)");
      }
    }
    model_.provenance.emplace_back("factorization", report_.dump());
    TRY_VOID(WriteThimble(model_, o_.output));
    report_["output"] = o_.output;
    report_["after"] = Size(o_.output);
    return PrintText(o_.json ? report_.dump() + "\n" : Human());
  }

 private:
  bool LinearsToo() const { return o_.linears.error != 0 || o_.linears.share != 0; }

  Json Size(const std::string& path) const {
    std::error_code error;
    return {{"parameters", ComputeCost(model_.graph, {}).parameters},
            {"file_bytes", static_cast<double>(std::filesystem::file_size(path, error))}};
  }

  Result<std::vector<double>> Counts(const char* what, const std::vector<std::string>& paths) {
    Progress bar(what, 1);
    return compress::TokenCounts(model_, paths, [&](double share) {
      bar.Update(share);
      return CheckInterrupt();
    });
  }

  Status Trim() {
    if (o_.vocabulary.empty()) return {};
    TRY(const std::vector<double> counts, Counts("counting pieces", o_.vocabulary));
    Result<std::vector<int32_t>> kept = PiecesToKeep(model_.tokenizer, counts, o_.least);
    if (!kept) return std::move(kept).error().In(o_.model);
    double all = 0, covered = 0;
    for (const double count : counts) all += count;
    for (const int32_t id : *kept) covered += counts[static_cast<size_t>(id)];
    double changed = 0;
    {
      Progress bar("cutting texts", 1);
      TRY(changed,
          compress::ChangedTexts(model_, o_.vocabulary, *kept, [&](double share) -> Status {
            bar.Update(share);
            return CheckInterrupt();
          }));
    }
    const size_t pieces = model_.tokenizer.pieces.size();
    Result<Trimmed> trimmed = TrimVocabulary(model_.graph, model_.tokenizer, *kept);
    if (!trimmed) return std::move(trimmed).error().In(o_.model);
    model_.graph = std::move(trimmed->graph);
    model_.tokenizer = std::move(trimmed->tokenizer);
    report_["vocabulary"] = {{"pieces_before", pieces},
                             {"pieces", kept->size()},
                             {"min_count", o_.least},
                             {"tokens_covered", all > 0 ? covered / all : 1},
                             {"texts_changed", changed}};
    return {};
  }

  Status Embeddings() {
    if (o_.width.empty()) return {};
    compress::TableWidth width;
    if (o_.width != "half") {
      TRY(width, ParseWidth(o_.width));
    } else {
      for (const Node& node : model_.graph.nodes) {
        if (node.op == OpKind::kEmbedding && model_.graph.value(node.inputs[0]).name == kInputIds) {
          width.rank = std::max<int64_t>(1, node.weights[0].tensor.dim(1) / 2);
        }
      }
    }
    std::vector<double> counts;
    if (!o_.corpus.empty()) {
      TRY(counts, Counts("counting tokens", o_.corpus));
    }
    Result<compress::TableFactorization> f =
        compress::FactorizeTokenTable(model_.graph, counts, width);
    if (!f) return std::move(f).error().In(o_.model);
    model_.graph = std::move(f->graph);
    report_["embedding"] = {{"table", f->table}, {"rows", f->rows},          {"width", f->width},
                            {"rank", f->rank},   {"energy_kept", f->energy}, {"folded", f->folded}};
    return {};
  }

  Status Linears() {
    if (!LinearsToo()) return {};
    TRY(const auto examples, compress::ReadCalibration(o_.calib, model_, o_.calibration));
    const std::vector<size_t> linears = compress::FactorizableLinears(model_.graph);
    if (linears.empty()) {
      return Unsupported(
          o_.model +
          ": has no linear to factorize: they are int8, shared or factorized already; "
          "start from the float model");
    }
    Progress bar("calibrating", 1);
    TRY(const std::vector<compress::Gram> grams,
        compress::InputGrams(model_, linears, examples, {.threads = o_.threads}, [&](double share) {
          bar.Update(share);
          return CheckInterrupt();
        }));
    TRY(compress::LinearsFactorization f,
        compress::FactorizeLinears(model_.graph, linears, grams, o_.linears));
    model_.graph = std::move(f.graph);
    Json rows = Json::array();
    for (const compress::LinearFactorization& l : f.linears) {
      rows.push_back({{"node", l.node},
                      {"rank", l.rank},
                      {"outputs", l.outputs},
                      {"inputs", l.inputs},
                      {"error", l.error}});
    }
    report_["linears"] = {{"of", linears.size()},
                          {"parameters_before", f.parameters_before},
                          {"parameters", f.parameters},
                          {"factorized", rows}};
    return {};
  }

  std::string Human() const {
    std::string text;
    if (report_.contains("vocabulary")) {
      const Json& v = report_["vocabulary"];
      text += "vocabulary  " + std::to_string(v["pieces_before"].get<size_t>()) + " -> " +
              std::to_string(v["pieces"].get<size_t>()) + " pieces, which are " +
              FormatNumber("%.2f", 100 * v["tokens_covered"].get<double>()) +
              " % of the tokens counted; " +
              FormatNumber("%.2f", 100 * v["texts_changed"].get<double>()) +
              " % of the texts are cut otherwise\n";
    }
    if (report_.contains("embedding")) {
      const Json& e = report_["embedding"];
      text += "embedding   " + std::to_string(e["width"].get<int64_t>()) + " -> " +
              std::to_string(e["rank"].get<int64_t>()) + " columns, " +
              FormatNumber("%.2f", 100 * e["energy_kept"].get<double>()) + " % of the energy" +
              (e["folded"].get<bool>() ? ", folded into what reads it\n" : "\n");
    }
    if (report_.contains("linears")) {
      text += "linears     " + std::to_string(report_["linears"]["factorized"].size()) + " of " +
              std::to_string(report_["linears"]["of"].get<size_t>()) + " factorized, " +
              CountText(report_["linears"]["parameters_before"]) + " -> " +
              CountText(report_["linears"]["parameters"]) + " parameters\n";
    }
    if (report_.contains("score")) {
      text += report_["metric"].get<std::string>() + "  " +
              FormatNumber("%.4f", report_["score_before"]) + " -> " +
              FormatNumber("%.4f\n", report_["score"]);
    }
    return text + "size        " + BytesText(report_["before"]["file_bytes"]) + " -> " +
           BytesText(report_["after"]["file_bytes"]) + ", " +
           CountText(report_["before"]["parameters"]) + " -> " +
           CountText(report_["after"]["parameters"]) + " parameters\nwritten to " + o_.output +
           "\n";
  }

  FactorizeCall o_;
  Model model_;
  Json report_;
};

}  // namespace

Action SetupFactorize(CLI::App& app) {
  auto call = std::make_shared<FactorizeCall>();
  FactorizeCall& o = *call;
  app.add_option("MODEL", o.model, "a .thimble file")->required();
  app.add_option("-o,--output", o.output, "the .thimble file to write")
      ->required()
      ->type_name("FILE");
  app.add_option("--embedding-rank", o.width,
                 "columns of the token table: a number, half, or a share of its energy below 1")
      ->type_name("R");
  app.add_option("--corpus", o.corpus,
                 "texts that say how often each row is looked up; unset: all alike");
  auto* vocabulary = app.add_option("--vocabulary", o.vocabulary,
                                    "keep the pieces that these texts use, and single characters");
  app.add_option("--min-count", o.least, "with --vocabulary: how often at least")
      ->needs(vocabulary)
      ->capture_default_str();
  auto* error = app.add_option(
      "--linear-error", o.linears.error,
      "factorize linears where that is smaller and costs at most this share of their output");
  app.add_option("--linear-share", o.linears.share,
                 "factorize linears to this share of their parameters, ranks chosen by least error")
      ->excludes(error);
  app.add_option("--calib", o.calib, "texts that linears are factorized for");
  app.add_option("--samples", o.calibration.samples, "calibration texts used")
      ->capture_default_str();
  auto* valid = app.add_option("--valid", o.valid,
                               "labelled set that the model is judged by, before and after");
  app.add_option("--metric", o.metric, "of --valid; unset: the task's main one");
  app.add_option("--max-drop", o.max_drop,
                 "with --valid: what the metric may lose; more is an error (3)")
      ->needs(valid)
      ->capture_default_str();
  app.add_option("--threads", o.threads, "threads")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", o.calibration.seed, "of the choice of calibration texts")
      ->capture_default_str();
  app.add_flag("--force", o.force, "write the model even if it loses more");
  app.add_flag("--json", o.json, "what was done as one JSON document");
  return [call] { return FactorizeRun(*call).Execute(); };
}

}  // namespace thimble::cli
