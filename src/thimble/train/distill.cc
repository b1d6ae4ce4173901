#include "thimble/train/distill.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "thimble/base/random.h"
#include "thimble/graph/blocks.h"

namespace thimble::train {
namespace {

constexpr std::string_view kPrefix = "distill.";

using Pair = DistillPlan::Pair;
using Kind = DistillPlan::Pair::Kind;

// Appends nodes and outputs to a graph that is finished.
class Extender {
 public:
  explicit Extender(Graph& graph) : graph_(graph) {}

  // A linear without bias from `x` to `width`, with small random weights.
  ValueId Project(ValueId x, int64_t width, uint64_t seed) {
    const ValueType type = graph_.value(x).type;
    const std::string name = std::string(kPrefix) + "projection." + std::to_string(Index(x));
    std::vector<float> weight(static_cast<size_t>(width * type.width));
    Random random(seed, graph_.nodes.size());
    const double spread = 1 / std::sqrt(static_cast<double>(type.width));
    for (float& w : weight) w = static_cast<float>(spread * random.Normal());
    return Append(OpKind::kLinear, name, x,
                  {{name + ".weight", Tensor::FromFloats({width, type.width}, weight)}},
                  LinearAttrs{}, {Element::kFloat32, type.rows, width});
  }

  // The mean over the tokens of each sequence.
  ValueId Mean(ValueId x) {
    const std::string name = std::string(kPrefix) + "mean." + std::to_string(Index(x));
    return Append(OpKind::kPool, name, x, {}, PoolAttrs{PoolKind::kMean},
                  {Element::kFloat32, Rows::kSequences, graph_.value(x).type.width});
  }

  // The name under which the graph gives a value.
  std::string Give(ValueId value) {
    for (const GraphOutput& output : graph_.outputs) {
      if (output.value == value) return output.name;
    }
    const std::string name = std::string(kPrefix) + std::to_string(Index(value));
    graph_.outputs.push_back({name, value});
    return name;
  }

 private:
  ValueId Append(OpKind op, const std::string& name, ValueId x, std::vector<Weight> weights,
                 Attributes attrs, ValueType type) {
    const auto id = static_cast<ValueId>(graph_.values.size());
    graph_.values.push_back({name, type});
    graph_.nodes.push_back({op, name, {x}, std::move(weights), attrs, id});
    graph_.outputs.push_back({name, id});
    return id;
  }

  Graph& graph_;
};

// Blocks of the student and of the teacher that are compared; -1 are the embeddings.
Result<std::vector<std::pair<int, int>>> LayerPairs(const DistillOptions& options, int students,
                                                    int teachers) {
  std::vector<std::pair<int, int>> pairs = options.layers;
  if (pairs.empty()) {
    pairs.emplace_back(-1, -1);
    for (int m = 0; m < students; ++m) {
      pairs.emplace_back(m, std::max(0, (m + 1) * teachers / students - 1));
    }
  }
  for (const auto& [s, t] : pairs) {
    if (s < -1 || s >= students || t < -1 || t >= teachers) {
      return InvalidArgument("layers " + std::to_string(s) + ":" + std::to_string(t) +
                             " are not among the " + std::to_string(students) +
                             " of the student and " + std::to_string(teachers) + " of the teacher");
    }
  }
  return pairs;
}

class Planner {
 public:
  Planner(const Graph& student, const Graph& teacher, uint64_t seed, const DistillOptions& options)
      : options_(options), seed_(seed) {
    plan_.graph = student;
    plan_.teacher = teacher;
  }

  Result<DistillPlan> Plan() && {
    if (options_.logits > 0) TRY_VOID(AddLogits());
    if (options_.embedding > 0) TRY_VOID(AddEmbedding());
    if (options_.hidden > 0 || options_.attention > 0 || options_.scores > 0 ||
        options_.values > 0) {
      TRY_VOID(AddLayers());
    }
    TRY_VOID(Verify(plan_.graph));
    TRY_VOID(Verify(plan_.teacher));
    return std::move(plan_);
  }

 private:
  size_t TeacherOutput(ValueId value) {
    const std::string name = Extender(plan_.teacher).Give(value);
    auto& names = plan_.teacher_outputs;
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return static_cast<size_t>(found - names.begin());
    names.push_back(name);
    return names.size() - 1;
  }

  int64_t Width(const Graph& graph, ValueId value) const { return graph.value(value).type.width; }

  // The student's value, projected where the teacher's is wider or thinner.
  ValueId Fit(ValueId student, ValueId teacher) {
    const int64_t width = Width(plan_.teacher, teacher);
    if (Width(plan_.graph, student) == width) return student;
    return Extender(plan_.graph).Project(student, width, seed_);
  }

  Status AddLogits() {
    const GraphOutput* s = plan_.graph.FindOutput("logits");
    const GraphOutput* t = plan_.teacher.FindOutput("logits");
    if (s == nullptr || t == nullptr) {
      return InvalidArgument("logits are to be distilled, but student or teacher has none");
    }
    if (Width(plan_.graph, s->value) != Width(plan_.teacher, t->value)) {
      return InvalidArgument("the student has " + std::to_string(Width(plan_.graph, s->value)) +
                             " labels, the teacher " +
                             std::to_string(Width(plan_.teacher, t->value)));
    }
    plan_.pairs.push_back({.kind = Kind::kLogits,
                           .weight = options_.logits,
                           .student = {s->value},
                           .teacher = {TeacherOutput(t->value)}});
    return {};
  }

  Status AddEmbedding() {
    const GraphOutput* teacher = plan_.teacher.FindOutput("pooler_output");
    if (teacher == nullptr) {
      return InvalidArgument(
          "embeddings are to be distilled, but the teacher gives no pooled output");
    }
    const GraphOutput* hidden = plan_.graph.FindOutput("last_hidden_state");
    if (hidden == nullptr)
      return InvalidArgument("the student does not give its last hidden state");
    const ValueId t = teacher->value;
    const ValueId s = Extender(plan_.graph).Mean(hidden->value);
    plan_.pairs.push_back({.kind = Kind::kEmbedding,
                           .weight = options_.embedding,
                           .student = {Fit(s, t)},
                           .teacher = {TeacherOutput(t)}});
    return {};
  }

  Status AddLayers() {
    TRY(const Blocks s, FindBlocks(plan_.graph));
    TRY(const Blocks t, FindBlocks(plan_.teacher));
    TRY(const auto layers, LayerPairs(options_, static_cast<int>(s.attention.size()),
                                      static_cast<int>(t.attention.size())));
    const auto blocks = static_cast<double>(layers.size());
    std::set<int> taught;
    for (const auto& [student, teacher] : layers) {
      if (options_.hidden > 0) {
        const ValueId from = s.hidden[static_cast<size_t>(student + 1)];
        const ValueId to = t.hidden[static_cast<size_t>(teacher + 1)];
        plan_.pairs.push_back({.kind = Kind::kHidden,
                               .weight = options_.hidden / blocks,
                               .student = {Fit(from, to)},
                               .teacher = {TeacherOutput(to)},
                               .block = student});
      }
      if (student < 0) continue;
      taught.insert(student);
      if (teacher < 0) continue;
      TRY_VOID(AddAttention(plan_.graph.nodes[s.attention[static_cast<size_t>(student)]],
                            plan_.teacher.nodes[t.attention[static_cast<size_t>(teacher)]], blocks,
                            student));
    }
    plan_.taught.assign(taught.begin(), taught.end());
    return {};
  }

  Status AddAttention(Node student, Node teacher, double blocks, int block) {
    // Pruning may have left a block without one.
    if (student.op != OpKind::kAttention || teacher.op != OpKind::kAttention) return {};
    const auto& sa = std::get<AttentionAttrs>(student.attrs);
    const auto& ta = std::get<AttentionAttrs>(teacher.attrs);
    for (const auto& [kind, weight] : {std::pair{Kind::kAttention, options_.attention},
                                       std::pair{Kind::kScores, options_.scores}}) {
      if (weight <= 0) continue;
      if (sa.heads != ta.heads) {
        return InvalidArgument("attention is compared head by head, but the student has " +
                               std::to_string(sa.heads) + " and the teacher " +
                               std::to_string(ta.heads) + "; distil values instead");
      }
      plan_.pairs.push_back(
          {.kind = kind,
           .weight = weight / blocks,
           .student = {student.inputs[0], student.inputs[1]},
           .teacher = {TeacherOutput(teacher.inputs[0]), TeacherOutput(teacher.inputs[1])},
           .student_heads = sa.heads,
           .teacher_heads = ta.heads,
           .student_scale = sa.scale,
           .teacher_scale = ta.scale,
           .block = block});
    }
    if (options_.values > 0) {
      const int64_t heads = options_.relation_heads > 0 ? options_.relation_heads : ta.heads;
      const int64_t sw = Width(plan_.graph, student.inputs[2]);
      const int64_t tw = Width(plan_.teacher, teacher.inputs[2]);
      if (sw % heads != 0 || tw % heads != 0) {
        return InvalidArgument("values of width " + std::to_string(sw) + " and " +
                               std::to_string(tw) + " do not divide into " + std::to_string(heads) +
                               " relation heads");
      }
      plan_.pairs.push_back({.kind = Kind::kValues,
                             .weight = options_.values / blocks,
                             .student = {student.inputs[2]},
                             .teacher = {TeacherOutput(teacher.inputs[2])},
                             .student_heads = heads,
                             .teacher_heads = heads,
                             .student_scale = 1 / std::sqrt(static_cast<double>(sw / heads)),
                             .teacher_scale = 1 / std::sqrt(static_cast<double>(tw / heads)),
                             .block = block});
    }
    return {};
  }

  DistillPlan plan_;
  const DistillOptions& options_;
  uint64_t seed_;
};

// Index into `taught` of the block that is taught alone at this share of the run; none: all together.
std::optional<size_t> Phase(const std::vector<int>& taught, const DistillOptions& options,
                            double progress) {
  if (progress >= options.progressive || taught.empty()) return std::nullopt;
  const auto phase =
      static_cast<size_t>(progress / options.progressive * static_cast<double>(taught.size()));
  return std::min(phase, taught.size() - 1);
}

// The sequences of a batch as a rectangle.
struct Rectangle {
  int64_t sequences = 0, length = 0;
  at::Tensor gather;  // int64 [sequences * length]
  at::Tensor valid;   // float [sequences, length]
  at::Tensor counts;  // float [sequences]
};

Rectangle MakeRectangle(const TrainingBatch& batch) {
  Rectangle r;
  r.sequences = static_cast<int64_t>(batch.tokens.sequences());
  for (size_t s = 0; s < batch.tokens.sequences(); ++s) {
    r.length = std::max(r.length,
                        static_cast<int64_t>(batch.tokens.offset(s + 1) - batch.tokens.offset(s)));
  }
  r.gather = at::zeros({r.sequences * r.length}, at::kLong);
  r.valid = at::zeros({r.sequences, r.length}, at::kFloat);
  r.counts = at::zeros({r.sequences}, at::kFloat);
  for (size_t s = 0; s < batch.tokens.sequences(); ++s) {
    const size_t first = batch.tokens.offset(s), end = batch.tokens.offset(s + 1);
    for (size_t t = first; t < end; ++t) {
      const auto place = static_cast<int64_t>(s) * r.length + static_cast<int64_t>(t - first);
      r.gather.data_ptr<int64_t>()[place] = static_cast<int64_t>(t);
      r.valid.data_ptr<float>()[place] = 1;
    }
    r.counts.data_ptr<float>()[s] = static_cast<float>(end - first);
  }
  return r;
}

// Scores [sequences, heads, length, length] of two packed matrices.
at::Tensor Scores(const at::Tensor& a, const at::Tensor& b, int64_t heads, double scale,
                  const Rectangle& r) {
  const auto split = [&](const at::Tensor& x) {
    return x.index_select(0, r.gather)
        .view({r.sequences, r.length, heads, x.size(1) / heads})
        .transpose(1, 2);
  };
  return at::matmul(split(a), split(b).transpose(2, 3)) * scale;
}

// Sum over sequences of the mean over heads, valid queries, and (for MSE) valid keys.
at::Tensor CompareScores(const at::Tensor& student, const at::Tensor& teacher, bool probabilities,
                         const Rectangle& r) {
  const at::Tensor keys = r.valid.view({r.sequences, 1, 1, r.length});
  const at::Tensor queries = r.valid.view({r.sequences, 1, r.length, 1});
  const auto heads = static_cast<double>(student.size(1));
  if (!probabilities) {
    const at::Tensor squares = (student - teacher).square() * keys * queries;
    return (squares.sum({1, 2, 3}) / (r.counts.square() * heads)).sum();
  }
  const at::Tensor hidden = keys == 0;
  const at::Tensor log_s = student.masked_fill(hidden, -1e9).log_softmax(-1);
  const at::Tensor log_t = teacher.masked_fill(hidden, -1e9).log_softmax(-1);
  const at::Tensor kl = log_t.exp() * (log_t - log_s) * keys * queries;
  return (kl.sum({1, 2, 3}) / (r.counts * heads)).sum();
}

class Distillation : public Objective {
 public:
  Distillation(const DistillPlan& plan, const DistillOptions& options, Task kind,
               std::unique_ptr<Objective> task, const TeacherCache& cache)
      : pairs_(plan.pairs),
        taught_(plan.taught),
        options_(options),
        kind_(kind),
        task_(std::move(task)),
        cache_(cache) {}

  std::vector<ValueId> Values() const override {
    std::vector<ValueId> values;
    for (const Pair& pair : pairs_) {
      values.insert(values.end(), pair.student.begin(), pair.student.end());
    }
    if (task_ != nullptr) {
      const auto more = task_->Values();
      values.insert(values.end(), more.begin(), more.end());
    }
    return values;
  }

  TrainingBatch Prepare(std::span<const TrainingExample* const> examples,
                        uint32_t step_key) const override {
    return task_ != nullptr ? task_->Prepare(examples, step_key)
                            : Objective::Prepare(examples, step_key);
  }

  // Every loss is a mean within its example, so examples count alike.
  at::Tensor Loss(const TrainingBatch& batch, std::span<const at::Tensor> values) const override {
    std::vector<size_t> examples;
    for (const TrainingExample* e : batch.examples) examples.push_back(e->number);
    const Rectangle rectangle = NeedsRectangle() ? MakeRectangle(batch) : Rectangle();
    at::Tensor loss = at::zeros({});
    const std::optional<size_t> phase = Phase(taught_, options_, batch.progress);
    size_t at = 0;
    for (const Pair& pair : pairs_) {
      if (phase.has_value() && pair.block != taught_[*phase]) {
        at += pair.student.size();
        continue;
      }
      std::vector<at::Tensor> teacher;
      for (const size_t output : pair.teacher) teacher.push_back(cache_.Get(output, examples));
      loss = loss + pair.weight * Compare(pair, values.subspan(at, pair.student.size()), teacher,
                                          rectangle, batch);
      at += pair.student.size();
    }
    if (task_ != nullptr && options_.task > 0 && !phase.has_value()) {
      // The task's sum, as a mean over its weight times the examples that it stands beside.
      const double weight = std::max(task_->Weight(batch), 1e-12);
      loss = loss + options_.task * task_->Loss(batch, values.subspan(at)) *
                        (static_cast<double>(batch.examples.size()) / weight);
    }
    return loss;
  }

 private:
  bool NeedsRectangle() const {
    return std::any_of(pairs_.begin(), pairs_.end(),
                       [](const Pair& p) {
                         return p.kind == Kind::kAttention || p.kind == Kind::kScores ||
                                p.kind == Kind::kValues;
                       }) ||
           kind_ == Task::kAnswers;
  }

  // The mean over the rows of each sequence, summed over sequences, of one number per row.
  static at::Tensor PerExample(const at::Tensor& rows, const TrainingBatch& batch) {
    if (rows.size(0) == static_cast<int64_t>(batch.examples.size())) return rows.sum();
    const at::Tensor weights = at::empty({rows.size(0)}, at::kFloat);
    for (size_t s = 0; s < batch.tokens.sequences(); ++s) {
      const size_t first = batch.tokens.offset(s), end = batch.tokens.offset(s + 1);
      std::fill(weights.data_ptr<float>() + first, weights.data_ptr<float>() + end,
                1.0f / static_cast<float>(end - first));
    }
    return (rows * weights).sum();
  }

  at::Tensor Compare(const Pair& pair, std::span<const at::Tensor> s,
                     const std::vector<at::Tensor>& t, const Rectangle& r,
                     const TrainingBatch& batch) const {
    switch (pair.kind) {
      case Kind::kLogits:
        return kind_ == Task::kAnswers ? CompareEnds(s[0], t[0], r)
                                       : PerExample(CompareLogits(s[0], t[0]), batch);
      case Kind::kHidden:
        return PerExample((Normalized(s[0]) - Normalized(t[0])).square().mean(1), batch);
      case Kind::kEmbedding:
        return (1 - at::cosine_similarity(s[0], t[0], 1, 1e-8)).sum();
      case Kind::kAttention:
      case Kind::kScores:
        return CompareScores(Scores(s[0], s[1], pair.student_heads, pair.student_scale, r),
                             Scores(t[0], t[1], pair.teacher_heads, pair.teacher_scale, r),
                             pair.kind == Kind::kAttention, r);
      case Kind::kValues:
        return CompareScores(Scores(s[0], s[0], pair.student_heads, pair.student_scale, r),
                             Scores(t[0], t[0], pair.teacher_heads, pair.teacher_scale, r),
                             /*probabilities=*/true, r);
    }
    return at::zeros({});
  }

  at::Tensor Normalized(const at::Tensor& x) const {
    return options_.normalize_hidden ? at::layer_norm(x, {x.size(1)}) : x;
  }

  // Answers: a distribution over the tokens of a sequence for either end; the mean of both.
  at::Tensor CompareEnds(const at::Tensor& s, const at::Tensor& t, const Rectangle& r) const {
    const at::Tensor hidden = (r.valid == 0).unsqueeze(2);
    const auto log_p = [&](const at::Tensor& x) {
      return (x.index_select(0, r.gather).view({r.sequences, r.length, 2}) / options_.temperature)
          .masked_fill(hidden, -1e9)
          .log_softmax(1);
    };
    const at::Tensor log_t = log_p(t), log_s = log_p(s);
    const at::Tensor kl = log_t.exp() * (log_t - log_s);
    return 0.5 * options_.temperature * options_.temperature * kl.masked_fill(hidden, 0).sum();
  }

  at::Tensor CompareLogits(const at::Tensor& s, const at::Tensor& t) const {
    if (kind_ == Task::kRegression) return (s - t).square().mean(1);
    if (kind_ == Task::kMultiLabel) {
      const at::Tensor p = t.sigmoid();
      return -(p * at::log_sigmoid(s) + (1 - p) * at::log_sigmoid(-s)).mean(1);
    }
    const double temperature = options_.temperature;
    const at::Tensor log_t = (t / temperature).log_softmax(1);
    const at::Tensor log_s = (s / temperature).log_softmax(1);
    return temperature * temperature * (log_t.exp() * (log_t - log_s)).sum(1);
  }

  std::vector<Pair> pairs_;
  std::vector<int> taught_;
  DistillOptions options_;
  Task kind_;
  std::unique_ptr<Objective> task_;
  const TeacherCache& cache_;
};

}  // namespace

Result<DistillPlan> PlanDistillation(const Graph& student, const Graph& teacher, uint64_t seed,
                                     const DistillOptions& options) {
  return Planner(student, teacher, seed, options).Plan();
}

Result<Graph> WithoutDistillation(const Graph& trained) {
  const auto added = [](std::string_view name) { return name.starts_with(kPrefix); };
  Graph graph = trained;
  std::erase_if(graph.outputs, [&](const GraphOutput& o) { return added(o.name); });
  std::erase_if(graph.nodes, [&](const Node& n) { return added(n.name); });
  // What was added stands at the end, so the other values keep their ids.
  while (!graph.values.empty() && added(graph.values.back().name)) graph.values.pop_back();
  TRY_VOID(Verify(graph));
  return graph;
}

std::function<double(std::string_view, double)> ProgressiveRates(const DistillPlan& plan,
                                                                 const DistillOptions& options) {
  // The phase of each weight that has one; blocks without pairs learn with the next that has.
  std::map<std::string, size_t, std::less<>> phase_of;
  const std::vector<int> taught = plan.taught;
  const Result<Graph> student = WithoutDistillation(plan.graph);
  if (const Result<Blocks> blocks = FindBlocks(student.has_value() ? *student : plan.graph);
      blocks.has_value()) {
    size_t block = 0;  // hidden[block] is behind us
    bool inside = false;
    for (const Node& node : student->nodes) {
      const size_t phase = static_cast<size_t>(
          std::ranges::lower_bound(taught, static_cast<int>(block)) - taught.begin());
      if (inside && block < blocks->attention.size() && phase < taught.size()) {
        for (const Weight& weight : node.weights) phase_of.try_emplace(weight.name, phase);
      }
      if (node.output == blocks->hidden[inside ? block + 1 : 0]) {
        if (inside) ++block;
        inside = true;
        if (block == blocks->attention.size()) break;
      }
    }
  }
  // The projections of a block's losses learn with it.
  for (const Pair& pair : plan.pairs) {
    const auto at = std::ranges::find(taught, pair.block);
    if (at == taught.end()) continue;
    for (const Node& node : plan.graph.nodes) {
      if (node.output != pair.student[0] || !node.name.starts_with(kPrefix)) continue;
      for (const Weight& weight : node.weights) {
        phase_of[weight.name] = static_cast<size_t>(at - taught.begin());
      }
    }
  }
  return
      [phase_of = std::move(phase_of), taught, options](std::string_view weight, double progress) {
        const std::optional<size_t> phase = Phase(taught, options, progress);
        if (!phase.has_value()) return 1.0;
        const auto own = phase_of.find(weight);
        if (own == phase_of.end() || own->second > *phase) return 0.0;
        return own->second == *phase ? 1.0 : 0.1;
      };
}

std::unique_ptr<Objective> DistillObjective(const DistillPlan& plan, const DistillOptions& options,
                                            Task kind, std::unique_ptr<Objective> task,
                                            const TeacherCache& cache) {
  return std::make_unique<Distillation>(plan, options, kind, std::move(task), cache);
}

}  // namespace thimble::train
