// thimble inspect: what a model consists of and what it costs.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "thimble/base/file.h"
#include "thimble/cli/adapter.h"
#include "thimble/cli/command.h"
#include "thimble/cli/console.h"
#include "thimble/cli/lines.h"
#include "thimble/graph/block_sparse.h"

namespace thimble::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxSequenceLength = 1 << 20;  // for models that set no limit themselves

struct InspectOptions {
  std::string model;
  AdapterOptions adapter;
  int64_t sequence_length = 0;  // 0: 128, or the model's longest if that is less
  bool json = false;
};

struct Report {
  Model model;
  GraphCost cost;
  int64_t sequence_length = 0;
  size_t file_bytes = 0, adapter_bytes = 0;
  std::map<DType, size_t> bytes_by_type;  // storage shared by several nodes counts once
  struct BlockSparseSum {
    size_t weights = 0, bytes = 0, dense_bytes = 0;
  } block_sparse;  // part of the above
};

// The block-sparse weight of a node; null if it has none.
const Tensor* BlockSparseWeight(const Node& node) {
  if (node.weights.empty()) return nullptr;
  const Tensor& weight = node.weights[0].tensor;
  return weight.layout() == Layout::kBlockSparse ? &weight : nullptr;
}

Result<Report> Measure(const InspectOptions& options) {
  Report report;
  TRY(const MappedFile file, MappedFile::Open(options.model));
  report.file_bytes = file.bytes().size();
  if (!options.adapter.file.empty()) {
    TRY(const MappedFile adapter, MappedFile::Open(options.adapter.file));
    report.adapter_bytes = adapter.bytes().size();
  }
  TRY(report.model, ReadModel(options.model, options.adapter));
  const int64_t longest = report.model.graph.max_sequence_length;
  report.sequence_length = options.sequence_length;
  if (report.sequence_length == 0) {
    report.sequence_length = longest > 0 ? std::min<int64_t>(128, longest) : 128;
  }
  if (longest > 0 && report.sequence_length > longest) {
    return InvalidArgument("--seq " + std::to_string(report.sequence_length) + ": " +
                           options.model + " reads at most " + std::to_string(longest) + " tokens");
  }
  report.cost = ComputeCost(report.model.graph, {.tokens = report.sequence_length, .sequences = 1});
  std::set<const std::byte*> counted;
  for (const Node& node : report.model.graph.nodes) {
    for (const Weight& weight : node.weights) {
      const Tensor& tensor = weight.tensor;
      if (!counted.insert(tensor.data().data()).second) continue;
      report.bytes_by_type[tensor.dtype()] += tensor.bytes();
      if (tensor.layout() == Layout::kBlockSparse) {
        report.block_sparse.weights += 1;
        report.block_sparse.bytes += tensor.bytes();
        report.block_sparse.dense_bytes += tensor.elements() * sizeof(float);
      }
    }
  }
  return report;
}

size_t WeightBytes(const Report& report) {
  size_t bytes = 0;
  for (const auto& [type, size] : report.bytes_by_type) bytes += size;
  return bytes;
}

Shape OutputShape(const Report& report, const Node& node) {
  const ValueType& type = report.model.graph.value(node.output).type;
  return {Workload{.tokens = report.sequence_length, .sequences = 1}.rows(type.rows), type.width};
}

// --- For machines

Json ReportJson(const Report& report) {
  const Model& model = report.model;
  Json by_type = Json::object(), provenance = Json::object(), nodes = Json::array();
  Json outputs = Json::array();
  for (const auto& [type, bytes] : report.bytes_by_type)
    by_type[std::string(DTypeName(type))] = bytes;
  for (const auto& [key, text] : model.provenance) provenance[key] = text;
  for (const GraphOutput& output : model.graph.outputs) outputs.push_back(output.name);
  for (size_t i = 0; i < model.graph.nodes.size(); ++i) {
    const Node& node = model.graph.nodes[i];
    const NodeCost& cost = report.cost.nodes[i];
    nodes.push_back({{"name", node.name},
                     {"op", GetOp(node.op).name},
                     {"shape", OutputShape(report, node)},
                     {"params", cost.parameters},
                     {"macs", static_cast<int64_t>(cost.cost.macs)}});
    if (const Tensor* weight = BlockSparseWeight(node)) {
      nodes.back()["block_density"] = BlockDensity(*weight);
      nodes.back()["weight_bytes"] = weight->bytes();
    }
  }
  Json document = {{"architecture", model.architecture},
                   {"task", TaskName(model.task)},
                   {"labels", model.labels},
                   {"parameters", report.cost.parameters},
                   {"macs", static_cast<int64_t>(report.cost.total.macs)},
                   {"sequence_length", report.sequence_length},
                   {"max_sequence_length", model.graph.max_sequence_length},
                   {"weight_bytes", WeightBytes(report)},
                   {"weight_bytes_by_type", std::move(by_type)},
                   {"weights_sha256", WeightsSha256(model.graph)},
                   {"file_bytes", report.file_bytes},
                   {"outputs", std::move(outputs)},
                   {"nodes", std::move(nodes)},
                   {"identity", model.identity},
                   {"provenance", std::move(provenance)}};
  if (report.adapter_bytes != 0) document["adapter_file_bytes"] = report.adapter_bytes;
  if (const auto& sparse = report.block_sparse; sparse.weights != 0) {
    document["block_sparse"] = {
        {"weights", sparse.weights}, {"bytes", sparse.bytes}, {"dense_bytes", sparse.dense_bytes}};
  }
  return document;
}

// --- For people

constexpr size_t kShownLabels = 12;

std::string Padded(std::string text, size_t width, bool right = false) {
  const size_t missing = text.size() < width ? width - text.size() : 0;
  return right ? text.insert(0, missing, ' ') : text.append(missing, ' ');
}

std::string WeightTypes(const Node& node) {
  std::vector<std::string> names;
  for (const Weight& weight : node.weights) {
    const std::string name(DTypeName(weight.tensor.dtype()));
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::string text;
  for (const std::string& name : names) text.append(text.empty() ? "" : "+").append(name);
  if (const Tensor* weight = BlockSparseWeight(node)) {
    text += " " + std::to_string(std::lround(100 * BlockDensity(*weight))) + "% of blocks";
  }
  return text;
}

Status PrintNodes(const Report& report, Output& out) {
  std::vector<std::vector<std::string>> rows = {
      {"node", "op", "shape", "weights", "params", "MACs"}};
  for (size_t i = 0; i < report.model.graph.nodes.size(); ++i) {
    const Node& node = report.model.graph.nodes[i];
    const NodeCost& cost = report.cost.nodes[i];
    rows.push_back({node.name, std::string(GetOp(node.op).name),
                    ShapeText(OutputShape(report, node)), WeightTypes(node),
                    cost.parameters == 0 ? "" : CountText(static_cast<double>(cost.parameters)),
                    cost.cost.macs == 0 ? "" : CountText(cost.cost.macs)});
  }
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) line += Padded(row[c], widths[c], c >= 4) + "  ";
    line.erase(line.find_last_not_of(' ') + 1);
    TRY_VOID(out.Line(line));
  }
  return {};
}

Status PrintReport(const Report& report, Output& out) {
  const Model& model = report.model;
  TRY_VOID(PrintNodes(report, out));
  const auto fact = [&](const std::string& name, const std::string& text) {
    return out.Line(Padded(name, 14) + text);
  };
  TRY_VOID(out.Line(""));
  TRY_VOID(fact("architecture", model.architecture));
  TRY_VOID(fact("task", std::string(TaskName(model.task))));
  if (!model.labels.empty()) {
    std::string labels;
    for (size_t i = 0; i < std::min(model.labels.size(), kShownLabels); ++i) {
      labels += (i == 0 ? "" : ", ") + model.labels[i];
    }
    if (model.labels.size() > kShownLabels) {
      labels += ", ... (" + std::to_string(model.labels.size()) + " in all)";
    }
    TRY_VOID(fact("labels", labels));
  }
  TRY_VOID(fact("parameters", CountText(static_cast<double>(report.cost.parameters))));
  TRY_VOID(fact("MACs", CountText(report.cost.total.macs) + " for one sequence of " +
                            std::to_string(report.sequence_length) + " tokens"));
  std::string weights = BytesText(static_cast<double>(WeightBytes(report)));
  for (const auto& [type, bytes] : report.bytes_by_type) {
    weights += ", " + std::string(DTypeName(type)) + " " + BytesText(static_cast<double>(bytes));
  }
  TRY_VOID(fact("weights", weights));
  if (const auto& sparse = report.block_sparse; sparse.weights != 0) {
    TRY_VOID(fact("block-sparse", std::to_string(sparse.weights) + " weights, " +
                                      BytesText(static_cast<double>(sparse.bytes)) +
                                      " instead of " +
                                      BytesText(static_cast<double>(sparse.dense_bytes))));
  }
  TRY_VOID(fact("file", BytesText(static_cast<double>(report.file_bytes))));
  if (report.adapter_bytes != 0) {
    TRY_VOID(fact("adapter", BytesText(static_cast<double>(report.adapter_bytes))));
  }
  TRY_VOID(fact("identity", model.identity));
  for (const auto& [key, text] : model.provenance) TRY_VOID(fact(key, text));
  return {};
}

Status RunInspect(const InspectOptions& options) {
  TRY(const Report report, Measure(options));
  Output out;
  TRY_VOID(options.json ? out.Line(DumpJson(ReportJson(report))) : PrintReport(report, out));
  return out.Flush();
}

}  // namespace

Action SetupInspect(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  app.add_option("MODEL", options->model, "a .thimble file")->required();
  AddAdapterOptions(app, options->adapter);
  app.add_option("--seq", options->sequence_length,
                 "tokens of the sequence that shapes and MACs are for (default: 128)")
      ->check(CLI::Range(int64_t{1}, kMaxSequenceLength).description(""))
      ->type_name("N");
  app.add_flag("--json", options->json, "one JSON document");
  return [options] { return RunInspect(*options); };
}

}  // namespace thimble::cli
