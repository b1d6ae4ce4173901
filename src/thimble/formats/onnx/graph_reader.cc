#include "thimble/formats/onnx/graph_reader.h"

#include <algorithm>
#include <cctype>

#include "thimble/base/quote.h"

namespace thimble {
namespace {

constexpr size_t kMostNodes = 100000;
// Numbers, axes and scales that are kept while the graph is read.
constexpr size_t kMostStored = size_t{1} << 22;
constexpr std::string_view kMicrosoft = "com.microsoft";

std::string InLowerCase(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return text;
}

// The name of an output as ours: Hugging Face's where they differ.
std::string OutputName(const std::string& name) {
  return name == "prediction_logits" ? "logits" : name;
}

}  // namespace

OnnxGraphReader::OnnxGraphReader(const OnnxFile& file) : file_(file) {
  for (const OnnxNode& node : file_.nodes) {
    for (const std::string& input : node.inputs) ++uses_[input];
  }
  for (const OnnxValueInfo& output : file_.outputs) ++uses_[output.name];
}

OnnxGraphReader::Reader OnnxGraphReader::Find(const OnnxNode& node) {
  static const std::map<std::string_view, Reader> kStandard = {
#define ONNX_OP(name, function) {name, &OnnxGraphReader::Read##function},
#define ONNX_RUNTIME_OP(name, function)
#include "thimble/formats/onnx/reader_ops.inc"
#undef ONNX_OP
#undef ONNX_RUNTIME_OP
  };
  static const std::map<std::string_view, Reader> kRuntime = {
#define ONNX_OP(name, function)
#define ONNX_RUNTIME_OP(name, function) {name, &OnnxGraphReader::Read##function},
#include "thimble/formats/onnx/reader_ops.inc"
#undef ONNX_OP
#undef ONNX_RUNTIME_OP
  };
  const bool standard = node.domain.empty() || node.domain == "ai.onnx";
  const auto& readers = standard ? kStandard : kRuntime;
  if (!standard && node.domain != kMicrosoft) return nullptr;
  const auto found = readers.find(node.op);
  return found == readers.end() ? nullptr : found->second;
}

Result<OnnxGraph> OnnxGraphReader::Read() && {
  if (file_.nodes.size() > kMostNodes) {
    return Unsupported("has " + std::to_string(file_.nodes.size()) +
                       " nodes, more than any model here");
  }
  TRY_VOID(ReadInputs());
  for (const auto& [name, tensor] : file_.constants) {
    Value value;
    value.kind = Kind::kConstant;
    value.constant = std::make_shared<OnnxConstant>(OnnxConstant{tensor});
    values_[name] = std::move(value);
  }
  for (const OnnxNode& node : file_.nodes) {
    if (Status status = ReadNode(node); !status) {
      return Error(status.error())
          .In("node " +
              Quoted(node.name.empty() ? node.outputs.empty() ? "" : node.outputs[0] : node.name) +
              " (" + (node.domain == kMicrosoft ? "com.microsoft." : "") + node.op + ")");
    }
  }
  return Finish();
}

// Names say which input is which. Sizes that are fixed stay numbers.
Status OnnxGraphReader::ReadInputs() {
  if (file_.inputs.empty()) return InvalidData("has no inputs");
  if (!file_.inputs[0].dims.empty() && file_.inputs[0].dims.size() != 2) {
    return Unsupported("its input " + Quoted(file_.inputs[0].name) + " has " +
                       std::to_string(file_.inputs[0].dims.size()) +
                       " dimensions: models of text take ids [batch, sequence]");
  }
  if (file_.inputs[0].dims.size() == 2) {
    const auto fix = [](const OnnxDimension& dim, OnnxNumber& size) {
      if (dim.size && *dim.size > 0)
        size = {static_cast<double>(std::min(*dim.size, kMaxWidth)), 0, 0};
    };
    fix(file_.inputs[0].dims[0], batch_);
    fix(file_.inputs[0].dims[1], sequence_);
  }
  if (sequence_.IsPlain()) longest_ = static_cast<int64_t>(sequence_.value);
  const OnnxAxes axes = {{{OnnxAtom::Kind::kBatch, batch_}},
                         {{OnnxAtom::Kind::kSequence, sequence_}}};
  std::vector<const OnnxValueInfo*> unnamed;
  for (const OnnxValueInfo& input : file_.inputs) {
    const std::string name = InLowerCase(input.name);
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    Value value;
    value.axes = axes;
    if (batch_ == OnnxNumber{1, 0, 0}) value.axes[0].clear();
    if (has("mask")) {
      value.kind = Kind::kMask;
    } else if (has("position")) {
      value.kind = Kind::kPositions;
      Warn("its input " + Quoted(input.name) + " is filled with the places of the tokens");
    } else if (has("type") || has("segment")) {
      value.kind = Kind::kIds;
      value.id = builder_.Input(kTokenTypeIds);
    } else if (ids_ == kNoValue) {
      value.kind = Kind::kIds;
      value.id = ids_ = builder_.Input(kInputIds);
    } else {
      return Unsupported(
          "what its input " + Quoted(input.name) +
          " is for is not known: known are ids, masks, token types and positions, by their names");
    }
    values_[input.name] = std::move(value);
  }
  if (ids_ == kNoValue) return Unsupported("has no input of token ids");
  return {};
}

Status OnnxGraphReader::ReadNode(const OnnxNode& node) {
  const Reader reader = Find(node);
  if (reader == nullptr) return Unsupported("the operator is not read");
  if (node.outputs.empty()) return InvalidData("has no output");
  const Status read = (this->*reader)(node);
  // What the builder refused comes first: what failed after it is its fault.
  if (!builder_.ok()) {
    Result<Graph> failed = std::move(builder_).Finish(0);
    return failed ? Status() : Status(failed.error());
  }
  if (stored_ > kMostStored) {
    return ResourceExhausted("the graph computes with more numbers than any model's shapes");
  }
  return read;
}

Result<OnnxValue> OnnxGraphReader::In(const OnnxNode& node, size_t i) {
  if (!Has(node, i)) return InvalidData("has no input " + std::to_string(i));
  const auto found = values_.find(node.inputs[i]);
  if (found == values_.end()) {
    return Unsupported("reads " + Quoted(node.inputs[i]) + ", an output that is not read");
  }
  return found->second;
}

Result<std::vector<double>> OnnxGraphReader::Numbers(const OnnxNode& node, size_t i) {
  TRY(const Value value, In(node, i));
  const std::optional<Value> numbers = AsNumbers(value);
  const auto plain = [](const OnnxNumber& n) { return n.IsPlain(); };
  if (!numbers || !std::ranges::all_of(numbers->numbers, plain)) {
    return Unsupported("its input " + std::to_string(i) + " is no constant");
  }
  std::vector<double> result;
  for (const OnnxNumber& n : numbers->numbers) result.push_back(n.value);
  return result;
}

Result<double> OnnxGraphReader::Number(const OnnxNode& node, size_t i) {
  TRY(const std::vector<double> numbers, Numbers(node, i));
  if (numbers.size() != 1) return Unsupported("its input " + std::to_string(i) + " is no number");
  return numbers[0];
}

Result<std::vector<int64_t>> OnnxGraphReader::Integers(const OnnxNode& node, const char* attribute,
                                                       size_t input) {
  const auto found = node.attributes.find(attribute);
  if (found != node.attributes.end()) return found->second.integers;
  std::vector<int64_t> integers;
  if (!Has(node, input)) return integers;
  TRY(const std::vector<double> numbers, Numbers(node, input));
  for (const double x : numbers) {
    integers.push_back(static_cast<int64_t>(std::clamp(x, -0x1p62, 0x1p62)));
  }
  return integers;
}

void OnnxGraphReader::Set(const OnnxNode& node, Value value, size_t output) {
  if (output < node.outputs.size() && !node.outputs[output].empty()) {
    value.is_sole = value.is_sole && UsedOnce(node.outputs[output]);
    if (value.kind == Kind::kMatrix) made_at_.try_emplace(value.expr, NameOf(node));
    stored_ += value.numbers.size() + value.axes.size() + value.vector.size() + 1;
    values_[node.outputs[output]] = std::move(value);
  }
}

bool OnnxGraphReader::UsedOnce(const std::string& tensor) const {
  const auto found = uses_.find(tensor);
  return found == uses_.end() || found->second <= 1;
}

void OnnxGraphReader::Warn(const std::string& warning) {
  if (std::ranges::find(warnings_, warning) == warnings_.end()) warnings_.push_back(warning);
}

Status OnnxGraphReader::ReadOutputs(OnnxGraph& graph) {
  struct Found {
    std::string name;
    ValueId id;
    Rows rows;
    std::optional<OpKind> made_by;
  };
  std::vector<Found> found;
  std::optional<ExprId> answers;
  for (const OnnxValueInfo& output : file_.outputs) {
    const auto at = values_.find(output.name);
    if (at == values_.end()) return InvalidData("nothing makes its output " + Quoted(output.name));
    Value value = at->second;
    std::string name = OutputName(output.name);
    if (value.kind == Kind::kColumn) {
      if (BaseOf(value.expr).width != 2 || (answers && *answers != value.expr)) {
        return Unsupported("its output " + Quoted(output.name) + " is one column of a matrix");
      }
      if (answers) continue;
      answers = value.expr;
      graph.has_answers = true;
      value.kind = Kind::kMatrix;
      value.axes = RowAxes(BaseOf(value.expr).rows, 2);
      name = "logits";
    }
    if (value.kind == Kind::kSoftmax) {
      value.kind = Kind::kMatrix;
      graph.has_softmax = true;
      name = "logits";
    }
    if (value.kind != Kind::kMatrix) {
      return Unsupported("its output " + Quoted(output.name) +
                         " is no matrix of the model's values");
    }
    if (pool_[value.expr].op == RowOp::kSigmoid && BaseOf(value.expr).rows == Rows::kSequences) {
      value.expr = pool_[value.expr].a;
      graph.has_sigmoid = true;
      name = "logits";
    }
    TRY(const ExprId base, Emit(value.expr, "output." + output.name));
    const Base& matrix = BaseOf(base);
    if (Flattened(value.axes) != Flattened(RowAxes(matrix.rows, matrix.width))) {
      return Unsupported("its output " + Quoted(output.name) +
                         " is neither [batch, sequence, width] nor [batch, width]");
    }
    found.push_back({name, matrix.id, matrix.rows, matrix.made_by});
  }
  // Outputs that are not called as the task wants them are told by what makes them.
  const auto named = [&](std::string_view name) {
    return std::ranges::any_of(found, [&](const Found& f) { return f.name == name; });
  };
  for (Found& f : found) {
    if (f.name == "logits" || f.name == "last_hidden_state" || f.name == "pooler_output") continue;
    const char* name = f.made_by == OpKind::kLinear ? "logits"
                       : f.rows == Rows::kTokens    ? "last_hidden_state"
                                                    : "pooler_output";
    if (!named(name) && !named("logits")) {
      Warn("its output " + Quoted(f.name) + " is taken for " + name);
      f.name = name;
    }
  }
  for (const Found& f : found) builder_.Output(f.name, f.id);
  return {};
}

Result<OnnxGraph> OnnxGraphReader::Finish() {
  OnnxGraph result;
  TRY_VOID(ReadOutputs(result));
  constexpr int64_t kUsualLength = 512;
  TRY(Graph graph, std::move(builder_).Finish(longest_ > 0 ? longest_ : kUsualLength));
  result.graph = std::move(graph);
  result.warnings = std::move(warnings_);
  TRY_VOID(Verify(result.graph));
  return result;
}

}  // namespace thimble
