#include "thimble/compress/latency_table.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <tuple>

#include "thimble/base/clock.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/graph/panels.h"
#include "thimble/passes/shrink.h"
#include "thimble/runtime/session.h"
#include "thimble/runtime/sink_pooling.h"
#include "thimble/targets/latency.h"

namespace thimble::compress {
namespace {

// A promise is timed for so many times longer than an entry of the table.
constexpr double kPromiseTimes = 3;
constexpr int kFewestRounds = 5;

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// A model that is ready to be timed.
class Candidate {
 public:
  static Result<Candidate> Create(const Graph& graph, const TimingOptions& options) {
    const Graph packed = Packed(graph);
    Candidate c;
    TRY(c.session_, Session::Create(packed, {.threads = options.threads, .outputs = {}}));
    c.batch_ = RandomBatch(packed, options.batch, options.tokens);
    TRY_VOID(c.session_->Run(c.batch_));
    return c;
  }

  // Seconds of the median run. What ran before has left caches that take some runs to fill again: short runs of the first
  // third of the time do not count.
  Result<double> Time(double seconds) {
    std::vector<double> times;
    double spent = 0;
    do {
      const auto begin = Clock::now();
      TRY_VOID(session_->Run(batch_));
      const double took = SecondsSince(begin);
      if (spent + took >= seconds / 3) times.push_back(took);
      spent += took;
    } while (spent < seconds);
    return Median(std::move(times));
  }

 private:
  std::optional<Session> session_;
  Batch batch_;
};

Result<std::vector<Speedup>> TakeTurns(Candidate& dense, std::span<Candidate> others, int rounds,
                                       double seconds_per_time) {
  std::vector<std::vector<double>> factors(others.size()), seconds(others.size());
  std::vector<double> dense_seconds;
  TRY(double before, dense.Time(seconds_per_time));
  // Runs that take longer than a turn should are less noisy: some rounds of them are enough.
  const double enough = 3 * rounds * seconds_per_time * static_cast<double>(1 + others.size());
  const auto begin = Clock::now();
  for (int round = 0; round < std::max(3, rounds); ++round) {
    if (round >= kFewestRounds && SecondsSince(begin) >= enough) break;
    for (size_t i = 0; i < others.size(); ++i) {
      TRY(const double took, others[i].Time(seconds_per_time));
      seconds[i].push_back(took);
    }
    TRY(const double after, dense.Time(seconds_per_time));
    for (size_t i = 0; i < others.size(); ++i) {
      factors[i].push_back(0.5 * (before + after) / seconds[i].back());
    }
    dense_seconds.push_back(after);
    before = after;
  }
  std::vector<Speedup> speedups;
  for (size_t i = 0; i < others.size(); ++i) {
    speedups.push_back({Median(factors[i]), Median(dense_seconds), Median(seconds[i])});
  }
  return speedups;
}

Result<Speedup> TakeTurns(Candidate& dense, Candidate& other, int rounds, double seconds_per_time) {
  TRY(const std::vector<Speedup> one,
      TakeTurns(dense, std::span(&other, 1), rounds, seconds_per_time));
  return one[0];
}

// Structures that cost the same: kind, units, the shapes of their linears, whether they run on first tokens only.
using ShapeKey = std::tuple<StructureKind, int64_t, std::vector<Shape>, bool>;
ShapeKey KeyOf(const Graph& graph, const Structure& s, bool on_first_tokens) {
  std::vector<Shape> shapes;
  for (const size_t node : s.producers)
    shapes.push_back(graph.nodes[node].weights[0].tensor.shape());
  shapes.push_back(graph.nodes[s.consumer].weights[0].tensor.shape());
  return {s.kind, s.units, std::move(shapes), on_first_tokens};
}

std::vector<int64_t> SizesOf(const Structure& s) {
  std::vector<int64_t> sizes{s.units};
  const int64_t least = s.removable ? 0 : 1;
  if (s.kind == StructureKind::kHeads) {
    for (int64_t u = s.units - 1; u >= least; --u) sizes.push_back(u);
    return sizes;
  }
  const auto panel = static_cast<int64_t>(kPanelWidth);
  for (double share = 0.9; share > 0.01; share *= 0.9) {
    const auto wanted = static_cast<int64_t>(share * static_cast<double>(s.units));
    const int64_t size = std::max(panel, (wanted + panel - 1) / panel * panel);
    if (size < sizes.back()) sizes.push_back(size);
  }
  if (least < sizes.back()) sizes.push_back(least);
  return sizes;
}

}  // namespace

std::vector<bool> OnFirstTokens(const Graph& graph, std::span<const Structure> structures) {
  const std::vector<std::string> names = DefaultOutputs(graph);
  const std::vector<std::string_view> outputs(names.begin(), names.end());
  const Graph sunk = *SinkPooling(graph, outputs);  // its own outputs are known
  std::set<std::string_view> once;
  for (const Node& node : sunk.nodes) {
    if (sunk.value(node.output).type.rows == Rows::kSequences) once.insert(node.name);
  }
  std::vector<bool> result;
  for (const Structure& s : structures) {
    const size_t last = s.tied.empty() ? s.consumer : s.tied.back().consumer;
    result.push_back(once.contains(graph.nodes[last].name));
  }
  return result;
}

Kept FirstUnits(const Structure& s, int64_t count) {
  Kept kept{.structure = s.name,
            .units = std::vector<int64_t>(static_cast<size_t>(count)),
            .consumer_weight = {}};
  std::iota(kept.units.begin(), kept.units.end(), 0);
  return kept;
}

Result<LatencyTable> MeasureLatencyTable(const Model& model, const TimingOptions& options,
                                         const ProgressFn& progress) {
  LatencyTable table;
  table.structures = FindStructures(model.graph);
  if (table.structures.empty()) {
    const std::vector<FixedStructure> fixed = FindFixedStructures(model.graph);
    return Unsupported("the model has no heads or columns that can be pruned" +
                       (fixed.empty() ? "" : ": of " + fixed[0].name + ", " + fixed[0].reason));
  }
  const std::vector<bool> on_first_tokens = OnFirstTokens(model.graph, table.structures);
  std::map<ShapeKey, std::vector<size_t>> classes;
  for (size_t s = 0; s < table.structures.size(); ++s) {
    classes[KeyOf(model.graph, table.structures[s], on_first_tokens[s])].push_back(s);
    table.units.push_back(SizesOf(table.structures[s]));
  }
  table.seconds.resize(table.structures.size());
  // The last size that can be timed for itself: without the last attention all below it would run on one token too.
  const auto last_level = [&](size_t s) {
    const size_t last = table.units[s].size() - 1;
    const bool sinks = table.structures[s].kind == StructureKind::kHeads && on_first_tokens[s];
    return sinks && last > 1 && table.units[s][last] == 0 ? last - 1 : last;
  };

  struct Entry {
    const std::vector<size_t>*
        members;  // of a class, all at `level`; null: every structure, at what `level` says
    size_t level;
    double ratio = 1;  // to the dense model's time
  };
  std::vector<Entry> entries;
  for (const auto& [key, members] : classes) {
    for (size_t level = 1; level <= last_level(members[0]); ++level) {
      entries.push_back({&members, level});
    }
  }
  constexpr size_t kHalf = 0, kFloor = 1;
  entries.push_back({nullptr, kHalf});
  entries.push_back({nullptr, kFloor});
  const auto half_level = [&](size_t s) {
    const std::vector<int64_t>& units = table.units[s];
    size_t level = 0;
    while (level + 1 < units.size() && 2 * units[level] > units[0]) ++level;
    return level;
  };
  const auto shrunk = [&](const Entry& entry) {
    std::vector<Kept> kept;
    if (entry.members != nullptr) {
      for (const size_t s : *entry.members) {
        kept.push_back(FirstUnits(table.structures[s], table.units[s][entry.level]));
      }
    } else {
      for (size_t s = 0; s < table.structures.size(); ++s) {
        const size_t level = entry.level == kHalf ? half_level(s) : last_level(s);
        kept.push_back(FirstUnits(table.structures[s], table.units[s][level]));
      }
    }
    return Shrink(model.graph, kept);
  };

  TRY(Candidate dense, Candidate::Create(model.graph, options));
  std::vector<double> dense_seconds;
  for (Entry& entry : entries) {
    TRY(const Graph graph, shrunk(entry));
    TRY(Candidate candidate, Candidate::Create(graph, options));
    TRY(const Speedup speedup,
        TakeTurns(dense, candidate, options.rounds, options.seconds_per_time));
    entry.ratio = 1 / speedup.factor;
    dense_seconds.push_back(speedup.dense_seconds);
    TRY_VOID(progress(static_cast<double>(&entry - entries.data() + 1) /
                      static_cast<double>(entries.size())));
  }

  table.dense = Median(dense_seconds);
  std::map<const std::vector<size_t>*, std::vector<double>>
      whole;  // seconds of the model, per level
  for (const Entry& entry : entries) {
    const double seconds = entry.ratio * table.dense;
    if (entry.members == nullptr) {
      (entry.level == kHalf ? table.half_measured : table.fixed) = seconds;
    } else {
      std::vector<double>& levels = whole[entry.members];
      if (levels.empty()) levels.push_back(table.dense);
      levels.push_back(seconds);
    }
  }
  double prunable = 0, left_at_floor = 0;
  for (auto& [members, levels] : whole) {
    // Fewer units never count as slower: noise would make the search prefer larger sizes for their "speed".
    for (size_t k = levels.size() - 1; k-- > 0;) levels[k] = std::max(levels[k], levels[k + 1]);
    const size_t last = levels.size() - 1;
    if (last + 1 < table.units[members->front()].size()) {
      // The last unit is taken to cost what the one before it does.
      levels.push_back(levels[last] - (levels[last - 1] - levels[last]));
    }
    const auto count = static_cast<double>(members->size());
    for (const size_t s : *members) {
      for (const double seconds : levels) {
        table.seconds[s].push_back((seconds - levels.back()) / count);
      }
      prunable += table.seconds[s][0];
      left_at_floor += table.seconds[s][last];
    }
  }
  // The sum is right at both ends: for the dense model, and for the smallest that was timed.
  const double floor = std::min(table.fixed, table.dense);
  const double between = prunable - left_at_floor;
  double scale = between > 0 ? (table.dense - floor) / between : 0;
  table.fixed = floor - scale * left_at_floor;
  // Noise: what is left of structures at the smallest is not told from what is fixed.
  if (table.fixed <= 0) {
    table.fixed = floor;
    scale = prunable > 0 ? (table.dense - floor) / prunable : 0;
  }
  for (std::vector<double>& seconds : table.seconds) {
    for (double& x : seconds) x *= scale;
  }
  table.half_from_table = table.fixed;
  for (size_t s = 0; s < table.structures.size(); ++s) {
    table.half_from_table += table.seconds[s][half_level(s)];
  }
  return table;
}

Result<Speedup> MeasureSpeedup(const Model& dense, const Graph& other,
                               const TimingOptions& options) {
  TRY(Candidate a, Candidate::Create(dense.graph, options));
  TRY(Candidate b, Candidate::Create(other, options));
  return TakeTurns(a, b, options.rounds, kPromiseTimes * options.seconds_per_time);
}

Result<std::vector<Speedup>> MeasureSpeedups(const Model& dense,
                                             const std::vector<const Graph*>& others,
                                             const TimingOptions& options) {
  TRY(Candidate a, Candidate::Create(dense.graph, options));
  std::vector<Candidate> candidates;
  for (const Graph* other : others) {
    TRY(Candidate c, Candidate::Create(*other, options));
    candidates.push_back(std::move(c));
  }
  return TakeTurns(a, candidates, options.rounds, kPromiseTimes * options.seconds_per_time);
}

}  // namespace thimble::compress
