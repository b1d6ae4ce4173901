// thimble bench: latency, throughput, memory, and the share of this machine's peak that was reached.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "thimble/cli/adapter.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/runtime/session.h"
#include "thimble/targets/latency.h"
#include "thimble/targets/machine.h"

namespace thimble::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct BenchOptions {
  std::string model, ids, isa;
  AdapterOptions adapter;
  size_t seq = 128, batch = 1;
  int threads = 1, runs = 0, warmup = 3;
  double seconds = 2;
  bool profile = false, sweep = false, rounds = false, json = false;
};

double Milliseconds(double seconds) { return seconds * 1e3; }

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The type that most of the weight bytes of the linears have: what the model multiplies in.
DType MultiplyType(const Graph& graph) {
  std::map<DType, size_t> elements;
  for (const Node& node : graph.nodes) {
    if (node.op == OpKind::kLinear) {
      elements[node.weights[0].tensor.dtype()] += node.weights[0].tensor.elements();
    }
  }
  DType most = DType::kF32;
  for (const auto& [dtype, count] : elements) {
    if (count > elements[most]) most = dtype;
  }
  return most;
}

// One object of ids a line, as predict --ids takes them: real texts instead of random ids.
Result<Batch> ReadBatch(const std::string& path) {
  TRY(LineReader lines, LineReader::Open(path));
  Batch batch;
  std::string line;
  while (true) {
    TRY(const bool more, lines.Next(line));
    if (!more) break;
    TRY(const nlohmann::json object, ParseJsonLine(line));
    const auto found = object.find("input_ids");
    std::vector<int32_t> ids;
    if (found != object.end() && found->is_array()) {
      for (const auto& id : *found) {
        if (id.is_number_integer()) ids.push_back(id.get<int32_t>());
      }
    }
    if (ids.empty() || ids.size() != found->size()) {
      return InvalidData(path + ": line " + std::to_string(lines.line_number()) +
                         R"( has no "input_ids" that are integers)");
    }
    batch.Add(ids);
  }
  if (batch.sequences() == 0) return InvalidData(path + ": has no sequences");
  return batch;
}

struct Bench {
  Model model;
  Session session;
  Batch batch;
  const Kernels* kernels;
  double load_ms, first_ms;
};

// Cold start as a user meets it: open the file, plan, first result.
Result<Bench> Start(const BenchOptions& options) {
  const Kernels* kernels = &BestKernels();
  if (!options.isa.empty()) {
    kernels = FindKernels(options.isa);
    if (kernels == nullptr) {
      std::string names;
      for (const Kernels* k : AvailableKernels()) names += " " + std::string(k->name);
      return InvalidArgument("this processor has no '" + options.isa + "'; it has" + names);
    }
  }
  const auto start = Clock::now();
  TRY(Model model, ReadModel(options.model, options.adapter));
  TRY(Session session, Session::Create(model.graph, {.threads = options.threads,
                                                     .kernels = kernels,
                                                     .profile = options.profile}));
  const double load_ms = Milliseconds(SecondsSince(start));
  Batch batch = RandomBatch(model.graph, options.batch, options.seq);
  if (!options.ids.empty()) {
    TRY(batch, ReadBatch(options.ids));
  }
  const auto first = Clock::now();
  TRY_VOID(session.Run(batch));
  const double first_ms = Milliseconds(SecondsSince(first));
  return Bench{std::move(model), std::move(session), std::move(batch), kernels, load_ms, first_ms};
}

Json ResultOf(const Bench& bench, const BenchOptions& options, const Latency& latency,
              double peak_gflops) {
  const double sequences = static_cast<double>(bench.batch.sequences());
  const double tokens = static_cast<double>(bench.batch.tokens());
  const double gflops = 2e-9 * bench.session.macs() / latency.median();
  Json result = {{"p50_ms", Milliseconds(latency.median())},
                 {"p90_ms", Milliseconds(latency.quantile(0.9))},
                 {"p99_ms", Milliseconds(latency.quantile(0.99))},
                 {"min_ms", Milliseconds(latency.min())},
                 {"mean_ms", Milliseconds(latency.mean())},
                 {"runs", latency.runs()},
                 {"sequences_per_s", sequences / latency.median()},
                 {"tokens_per_s", tokens / latency.median()},
                 {"load_ms", bench.load_ms},
                 {"first_ms", bench.first_ms},
                 {"peak_rss_bytes", PeakResidentBytes()},
                 {"gflops", gflops}};
  // Null rather than a guess where the instruction set has no peak loop.
  result["peak_gflops"] = peak_gflops > 0 ? Json(peak_gflops) : Json();
  result["share_of_peak"] = peak_gflops > 0 ? Json(gflops / peak_gflops) : Json();
  result["weights"] = DTypeName(MultiplyType(bench.model.graph));
  result["threads"] = options.threads;
  result["isa"] = bench.kernels->name;
  result["sequences"] = bench.batch.sequences();
  result["tokens"] = bench.batch.tokens();
  result["macs"] = bench.session.macs();
  result["arena_bytes"] = bench.session.arena_bytes();
  result["processor"] = ProcessorName();
  return result;
}

// Time per kind of step, largest first.
Json ProfileOf(const Session& session, double peak_gflops, size_t runs) {
  struct Sum {
    double seconds = 0, macs = 0;
  };
  std::map<std::string_view, Sum> kinds;
  double total = 0;
  for (const StepProfile& step : session.profile()) {
    kinds[step.kind].seconds += step.seconds;
    kinds[step.kind].macs += step.macs;
    total += step.seconds;
  }
  std::vector<std::pair<std::string_view, Sum>> order(kinds.begin(), kinds.end());
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  Json rows = Json::array();
  for (const auto& [kind, sum] : order) {
    const double gflops = sum.seconds > 0 ? 2e-9 * sum.macs / sum.seconds : 0;
    rows.push_back({{"kind", kind},
                    {"ms_per_run", Milliseconds(sum.seconds) / static_cast<double>(runs)},
                    {"share_of_time", total > 0 ? sum.seconds / total : 0},
                    {"gflops", gflops},
                    {"share_of_peak", peak_gflops > 0 ? Json(gflops / peak_gflops) : Json()}});
  }
  return rows;
}

std::string Human(const Json& result, double bandwidth) {
  const auto number = [&](const char* key) {
    return result[key].is_number() ? result[key].get<double>() : 0.0;
  };
  char text[1200];
  std::snprintf(
      text, sizeof text,
      "machine      %s, %s, %d thread%s; multiplies %.0f GFLOP/s, reads %.1f GB/s\n"
      "input        %zu sequence%s, %zu tokens\n"
      "latency      p50 %.3f ms   p90 %.3f   p99 %.3f   min %.3f   (%zu runs)\n"
      "throughput   %.1f sequences/s   %.0f tokens/s\n"
      "multiply     %.1f GFLOP/s, %.0f %% of the peak\n"
      "cold start   load %.2f ms, first run %.2f ms\n"
      "memory       peak resident %s, activations %s\n",
      result["processor"].get<std::string>().c_str(), result["isa"].get<std::string>().c_str(),
      result["threads"].get<int>(), result["threads"].get<int>() == 1 ? "" : "s",
      number("peak_gflops"), bandwidth * 1e-9, result["sequences"].get<size_t>(),
      result["sequences"].get<size_t>() == 1 ? "" : "s", result["tokens"].get<size_t>(),
      number("p50_ms"), number("p90_ms"), number("p99_ms"), number("min_ms"),
      result["runs"].get<size_t>(), number("sequences_per_s"), number("tokens_per_s"),
      number("gflops"), 100 * number("share_of_peak"), number("load_ms"), number("first_ms"),
      BytesText(number("peak_rss_bytes")).c_str(), BytesText(number("arena_bytes")).c_str());
  std::string all = text;
  if (result.contains("profile")) {
    all += "\nkind            ms/run   time   GFLOP/s   of peak\n";
    for (const Json& row : result["profile"]) {
      std::snprintf(
          text, sizeof text, "%-13s %8.3f  %4.0f %%  %8.1f  %6.0f %%\n",
          row["kind"].get<std::string>().c_str(), row["ms_per_run"].get<double>(),
          100 * row["share_of_time"].get<double>(), row["gflops"].get<double>(),
          row["share_of_peak"].is_number() ? 100 * row["share_of_peak"].get<double>() : 0);
      all += text;
    }
  }
  return all;
}

// A benchmark that compares programs keeps this one waiting and lets it run in turns: every line of
// standard input is one round, answered by one line of JSON.
Status RunRounds(Bench& bench, const BenchOptions& options) {
  Output output;
  TRY_VOID(output.Line(DumpJson({{"ready", true},
                                 {"load_ms", bench.load_ms},
                                 {"first_ms", bench.first_ms},
                                 {"isa", bench.kernels->name}})));
  TRY_VOID(output.Flush());
  TRY(LineReader lines, LineReader::Open("-"));
  std::string line;
  while (true) {
    TRY(const bool more, lines.Next(line));
    if (!more) return {};
    TRY(const Latency latency,
        MeasureLatency(bench.session, bench.batch,
                       {.seconds = options.seconds, .warmup_runs = 1, .runs = options.runs}));
    TRY_VOID(output.Line(DumpJson({{"p50_ms", Milliseconds(latency.median())},
                                   {"min_ms", Milliseconds(latency.min())},
                                   {"runs", latency.runs()},
                                   {"peak_rss_bytes", PeakResidentBytes()}})));
    TRY_VOID(output.Flush());
  }
}

// Median latency at every length that is a power of two or three quarters of one.
Status RunSweep(Bench& bench, const BenchOptions& options) {
  Output output;
  std::vector<size_t> lengths;
  const auto longest = static_cast<size_t>(bench.model.graph.max_sequence_length);
  for (size_t n = 1; n <= longest; n *= 2) {
    if (n >= 4) lengths.push_back(n / 4 * 3);
    lengths.push_back(n);
  }
  Json rows = Json::array();
  for (const size_t length : lengths) {
    TRY_VOID(CheckInterrupt());
    const Batch batch = RandomBatch(bench.model.graph, options.batch, length);
    TRY(const Latency latency,
        MeasureLatency(bench.session, batch, {.seconds = options.seconds, .warmup_runs = 2}));
    rows.push_back({{"seq", length},
                    {"p50_ms", Milliseconds(latency.median())},
                    {"min_ms", Milliseconds(latency.min())},
                    {"tokens_per_s", static_cast<double>(batch.tokens()) / latency.median()}});
    if (!options.json) {
      char text[96];
      std::snprintf(text, sizeof text, "%4zu tokens   %9.3f ms   %9.0f tokens/s", length,
                    Milliseconds(latency.median()),
                    static_cast<double>(batch.tokens()) / latency.median());
      TRY_VOID(output.Line(text));
    }
  }
  if (options.json) TRY_VOID(output.Line(DumpJson({{"sweep", rows}})));
  return output.Flush();
}

Status RunBench(const BenchOptions& options) {
  TRY(Bench bench, Start(options));
  if (options.rounds) return RunRounds(bench, options);
  if (options.sweep) return RunSweep(bench, options);
  const MultiplyKind kind =
      MultiplyType(bench.model.graph) == DType::kI8 ? MultiplyKind::kInt8 : MultiplyKind::kFloat32;
  TRY(const Latency latency,
      MeasureLatency(
          bench.session, bench.batch,
          {.seconds = options.seconds, .warmup_runs = options.warmup, .runs = options.runs}));
  const uint64_t peak_rss = PeakResidentBytes();  // before the yardsticks take memory of their own
  const double peak = 1e-9 * MeasureMultiplyPeak(kind, bench.kernels->name, options.threads);
  Json result = ResultOf(bench, options, latency, peak);
  result["peak_rss_bytes"] = peak_rss;
  const double bandwidth = MeasureReadBandwidth(options.threads);
  result["read_bytes_per_s"] = bandwidth;
  if (options.profile) {
    const size_t runs = latency.runs() + static_cast<size_t>(options.warmup) + 1;
    result["profile"] = ProfileOf(bench.session, peak, runs);
  }
  return options.json ? PrintText(DumpJson(result) + "\n") : PrintText(Human(result, bandwidth));
}

}  // namespace

Action SetupBench(CLI::App& app) {
  auto o = std::make_shared<BenchOptions>();
  app.add_option("model,--graph", o->model, "a .thimble file")->required();
  AddAdapterOptions(app, o->adapter);
  app.add_option("--seq", o->seq, "tokens per sequence")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--batch", o->batch, "sequences per run")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--threads,--num_threads", o->threads, "threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--seconds", o->seconds, "how long to measure")
      ->check(CLI::Range(0.0, 1e5))
      ->capture_default_str();
  app.add_option("--runs,--num_runs", o->runs, "exactly so many runs; 0: by --seconds")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  app.add_option("--warmup,--warmup_runs", o->warmup, "runs that do not count")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--ids", o->ids, R"(run these sequences, lines of {"input_ids"}, as one batch)");
  app.add_option("--isa", o->isa, "instruction set; default: the best this processor has");
  app.add_flag("--profile,--enable_op_profiling", o->profile, "time per kind of operation");
  app.add_flag("--sweep", o->sweep, "latency over all sequence lengths");
  app.add_flag("--rounds", o->rounds,
               "measure once for every line of standard input, to alternate with others");
  app.add_flag("--json", o->json, "one JSON object");
  return [o] { return RunBench(*o); };
}

}  // namespace thimble::cli
