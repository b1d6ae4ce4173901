#include "thimble/formats/tflite/export.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "thimble/base/file.h"
#include "thimble/formats/tflite/emitter.h"
#include "thimble/formats/tflite/metadata.h"

namespace thimble {
namespace {

constexpr int64_t kDefaultSequence = 128, kDefaultOfAnswers = 384;
constexpr int64_t kMaxElements = std::numeric_limits<int32_t>::max();

Status CheckOptions(const Model& model, const TfliteOptions& options) {
  if (options.batch < 1) return InvalidArgument("a batch has at least one sequence");
  if (options.sequence < 0) return InvalidArgument("a sequence has at least one token");
  const int64_t most = model.graph.max_sequence_length;
  if (!options.resizable && most > 0 && options.sequence > most) {
    return InvalidArgument("sequences of " + std::to_string(options.sequence) +
                           " tokens: the model takes at most " + std::to_string(most));
  }
  const bool classifies = model.task == Task::kSingleLabel || model.task == Task::kMultiLabel ||
                          model.task == Task::kTokenLabels;
  if (options.logits == TfliteLogits::kScores && !classifies) {
    return InvalidArgument("scores are what classifiers give, and the model's task is " +
                           std::string(TaskName(model.task)));
  }
  return {};
}

bool IsInt8Product(const Node& node) {
  return node.op == OpKind::kLinear && node.weights[0].tensor.dtype() == DType::kI8;
}

Status CheckRanges(const Graph& graph, const TfliteOptions& options) {
  if (options.ranges.empty()) {
    if (!options.int8_outputs) return {};
    return InvalidArgument("int8 outputs have a range, which calibration texts give");
  }
  const std::vector<ValueId> values = TfliteRangesFor(graph);
  if (values.empty()) return InvalidArgument("calibration is for int8 weights, and there are none");
  for (const ValueId id : values) {
    const std::string& name = graph.value(id).name;
    const auto range = options.ranges.find(name);
    if (range == options.ranges.end()) return InvalidArgument("no range for " + name);
    const auto [least, most] = range->second;
    if (!(least <= most) || !std::isfinite(least) || !std::isfinite(most)) {
      return InvalidData("over the calibration texts " + name + " is not finite");
    }
  }
  return {};
}

// Indices are 32 bits there.
Status CheckSizes(const Graph& graph, int64_t batch, int64_t sequence) {
  const auto fits = [](int64_t a, int64_t b) { return a == 0 || b <= kMaxElements / a; };
  const auto refuse = [&](const std::string& name) {
    return Unsupported(name + ": a value of a batch of " + std::to_string(batch) + " times " +
                       std::to_string(sequence) + " tokens has more than 2^31 numbers");
  };
  if (!fits(batch, sequence)) return refuse("the input");
  const int64_t tokens = batch * sequence;
  for (const Node& node : graph.nodes) {
    const ValueType& type = graph.value(node.output).type;
    // A trigram's padding and the parts of a value are no larger than this.
    if (!fits(tokens + 2 * batch, type.width)) return refuse(node.name);
    if (const auto* attention = std::get_if<AttentionAttrs>(&node.attrs)) {
      if (!fits(tokens, sequence) || !fits(tokens * sequence, attention->heads)) {
        return refuse(node.name);
      }
    }
    if (const auto* positions = std::get_if<PositionIdsAttrs>(&node.attrs)) {
      constexpr int64_t kMost = int64_t{1} << 30;
      if (std::abs(positions->offset) > kMost || positions->skip_id > kMost) {
        return Unsupported(node.name + ": positions beyond 32 bits");
      }
    }
  }
  return {};
}

}  // namespace

std::vector<ValueId> TfliteRangesFor(const Graph& graph) {
  std::vector<bool> wanted(graph.values.size(), false);
  for (const Node& node : graph.nodes) {
    if (!IsInt8Product(node)) continue;
    wanted[Index(node.inputs[0])] = wanted[Index(node.output)] = true;
  }
  if (std::none_of(wanted.begin(), wanted.end(), [](bool w) { return w; })) return {};
  for (const GraphOutput& output : graph.outputs) wanted[Index(output.value)] = true;
  std::vector<ValueId> values;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i]) values.push_back(static_cast<ValueId>(i));
  }
  return values;
}

int64_t TfliteSequence(const Model& model, const TfliteOptions& options) {
  if (options.resizable) return -1;
  if (options.sequence > 0) return options.sequence;
  const int64_t wanted = model.task == Task::kAnswers ? kDefaultOfAnswers : kDefaultSequence;
  const int64_t most = model.graph.max_sequence_length;
  return most > 0 ? std::min(wanted, most) : wanted;
}

Result<std::string> SerializeTflite(const Model& model, const TfliteOptions& options) {
  TRY_VOID(Verify(model.graph));
  TRY_VOID(CheckOptions(model, options));
  TRY_VOID(CheckRanges(model.graph, options));
  const int64_t sequence = TfliteSequence(model, options);
  TRY_VOID(CheckSizes(model.graph, options.batch, std::max<int64_t>(sequence, 1)));
  TfliteWriter writer = TfliteEmitter(model, options).Emit();
  TfliteMetadata metadata = DescribeTflite(model, writer);
  writer.Metadata("TFLITE_METADATA", std::move(metadata.buffer));
  TRY(std::string file, std::move(writer).Finish(model.architecture));
  if (!metadata.files.empty()) file += ZipArchive(metadata.files, file.size());
  return file;
}

Status ExportTflite(const Model& model, const std::string& path, const TfliteOptions& options) {
  TRY(const std::string bytes, SerializeTflite(model, options));
  TRY(AtomicFile file, AtomicFile::Create(path));
  TRY_VOID(file.Append(bytes));
  return file.Commit();
}

}  // namespace thimble
