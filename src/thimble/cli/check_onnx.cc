#include "thimble/cli/check_onnx.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <sstream>

#include "thimble/base/file.h"
#include "thimble/base/format.h"
#include "thimble/base/quote.h"
#include "thimble/cli/console.h"
#include "thimble/formats/thimble/packed.h"
#include "thimble/pipeline/process.h"
#include "thimble/runtime/session.h"

namespace thimble::cli {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kPackage = "node_modules/onnxruntime-node/package.json";

// Reads request.json beside itself and prints the outputs as JSON. Numbers that JSON has not are texts.
constexpr std::string_view kScript = R"js(
const {readFileSync} = require('node:fs');
const path = require('node:path');
const {createRequire} = require('node:module');
const request = JSON.parse(readFileSync(path.join(__dirname, 'request.json'), 'utf8'));
const ort = createRequire(path.join(request.runtime, 'node_modules', '_'))('onnxruntime-node');
async function main() {
  const session = await ort.InferenceSession.create(request.model, {logSeverityLevel: 3});
  const feeds = {};
  for (const name of session.inputNames) {
    const values = BigInt64Array.from(request.inputs[name].map(BigInt));
    feeds[name] = new ort.Tensor('int64', values, request.dims);
  }
  const outputs = await session.run(feeds);
  const plain = {};
  for (const [name, {data}] of Object.entries(outputs)) {
    plain[name] = Array.from(data, (x) => Number.isFinite(x) ? x : String(x));
  }
  process.stdout.write(JSON.stringify(plain));
}
main().catch((error) => {
  process.stderr.write(String(error.message).split('\n')[0]);
  process.exitCode = 1;
});
)js";

std::optional<std::string> FindProgram(const char* name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::error_code error;
    const fs::path place = fs::path(folder.empty() ? "." : folder) / name;
    if (fs::is_regular_file(place, error)) return place.string();
  }
  return std::nullopt;
}

// A folder that goes with the object.
class TemporaryFolder {
 public:
  static Result<TemporaryFolder> Create() {
    std::error_code error;
    std::string pattern = (fs::temp_directory_path(error) / "thimble-check-XXXXXX").string();
    if (error || mkdtemp(pattern.data()) == nullptr)
      return IoError("cannot make a temporary folder");
    return TemporaryFolder(std::move(pattern));
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
  }
  std::string operator/(const char* name) const { return path_ + "/" + name; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

struct Samples {
  size_t sequences = 0, length = 0;
  std::vector<size_t> lengths;  // without padding
  // A trigram sees the padding behind the last token: then our runtime gets it too.
  bool keeps_padding = false;
  std::vector<int32_t> ids, types, mask;  // a padded rectangle
};

// Ids of every size, so that a table that is written wrongly shows.
Samples MakeSamples(const Graph& graph) {
  Samples samples;
  int64_t vocabulary = 1, types = 1;
  for (const Node& node : graph.nodes) {
    samples.keeps_padding = samples.keeps_padding || node.op == OpKind::kTrigram;
    if (node.op != OpKind::kEmbedding) continue;
    const std::string& input = graph.value(node.inputs[0]).name;
    if (input == kInputIds) vocabulary = node.weights[0].tensor.dim(0);
    if (input == kTokenTypeIds) types = node.weights[0].tensor.dim(0);
  }
  const auto longest = static_cast<size_t>(std::max<int64_t>(graph.max_sequence_length, 1));
  for (const size_t length : {24, 7, 1, 16})
    samples.lengths.push_back(std::min<size_t>(length, longest));
  samples.sequences = samples.lengths.size();
  samples.length = samples.lengths[0];
  uint32_t state = 1;
  const auto next = [&](int64_t limit) {
    state = state * 1664525 + 1013904223;
    return static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(limit));
  };
  // Models that count places leave the padding's id out, which is small.
  const int32_t first = vocabulary > 8 ? 4 : 0;
  for (const size_t length : samples.lengths) {
    for (size_t i = 0; i < samples.length; ++i) {
      const bool inside = i < length;
      samples.ids.push_back(inside ? first + next(vocabulary - first) : 0);
      samples.types.push_back(inside && 2 * i >= length ? next(types) : 0);
      samples.mask.push_back(inside ? 1 : 0);
    }
  }
  return samples;
}

Result<json> RunInNode(const Samples& samples, const std::string& file,
                       const std::string& runtime) {
  const std::optional<std::string> node = FindProgram("node");
  if (!node) return NotFound("--atol runs the file in Node.js, which is not in PATH: install it");
  TRY(const TemporaryFolder folder, TemporaryFolder::Create());
  std::error_code error;
  const json request = {{"model", fs::absolute(file, error).string()},
                        {"runtime", runtime},
                        {"dims", {samples.sequences, samples.length}},
                        {"inputs",
                         {{"input_ids", samples.ids},
                          {"token_type_ids", samples.types},
                          {"attention_mask", samples.mask}}}};
  for (const auto& [name, text] :
       {std::pair("request.json", request.dump()), std::pair("check.cjs", std::string(kScript))}) {
    TRY(AtomicFile written, AtomicFile::Create(folder / name));
    TRY_VOID(written.Append(text));
    TRY_VOID(written.Commit());
  }
  TRY(const int code, pipeline::RunProcess({*node, folder / "check.cjs"}, folder / "out",
                                           folder / "err", CheckInterrupt));
  if (code != 0) {
    TRY(const std::string told, ReadFile(folder / "err"));
    return Error(ErrorCode::kMismatch, "ONNX Runtime does not run the file: " + Quoted(told));
  }
  TRY(const std::string text, ReadFile(folder / "out"));
  json outputs = json::parse(text, nullptr, false);
  if (!outputs.is_object()) return InvalidData("ONNX Runtime answered what is no JSON");
  return outputs;
}

// The largest difference over the rows that are no padding.
Result<double> Difference(const OutputView& ours, const json& theirs, const Samples& samples) {
  const bool per_token = ours.per == Rows::kTokens;
  const size_t rows = samples.sequences * (per_token ? samples.length : 1);
  if (!theirs.is_array() || theirs.size() != rows * ours.width) {
    return Error(ErrorCode::kMismatch,
                 "ONNX Runtime's output " + Quoted(ours.name) + " has another shape");
  }
  double largest = 0;
  size_t first = 0;  // row of ours
  for (size_t s = 0; s < samples.sequences; ++s) {
    for (size_t i = 0; i < (per_token ? samples.lengths[s] : 1); ++i) {
      const size_t row = first + i;
      const size_t place = (per_token ? s * samples.length + i : s) * ours.width;
      for (size_t c = 0; c < ours.width; ++c) {
        const json& value = theirs[place + c];
        const double difference =
            value.is_number() ? std::abs(value.get<double>() - ours.row(row)[c]) : NAN;
        if (!(difference <= largest)) largest = std::isnan(difference) ? INFINITY : difference;
      }
    }
    first += !per_token ? 1 : samples.keeps_padding ? samples.length : samples.lengths[s];
  }
  return largest;
}

// The export under another name, which goes unless it is renamed to the one that is asked for.
class Unchecked {
 public:
  explicit Unchecked(const std::string& output)
      : path_(output + ".unchecked-" + std::to_string(getpid())) {}
  Unchecked(const Unchecked&) = delete;
  Unchecked& operator=(const Unchecked&) = delete;
  ~Unchecked() {
    std::error_code error;
    std::filesystem::remove(path_, error);
  }
  const std::string& path() const { return path_; }
  Status Rename(const std::string& output) const {
    std::error_code error;
    std::filesystem::rename(path_, output, error);
    return error ? Status(IoError(output + ": " + error.message())) : Status();
  }

 private:
  std::string path_;
};

}  // namespace

Result<std::string> FindOnnxRuntime() {
  std::error_code error;
  std::vector<fs::path> places;
  if (const char* named = std::getenv("THIMBLE_NPM"); named != nullptr)
    places.emplace_back(fs::absolute(named, error));
  for (fs::path folder = fs::current_path(error); !folder.empty(); folder = folder.parent_path()) {
    places.push_back(folder);
    if (folder == folder.parent_path()) break;
  }
  // Where `npm install -g` puts packages: beside the program.
  if (const std::optional<std::string> node = FindProgram("node")) {
    places.push_back(fs::weakly_canonical(*node, error).parent_path().parent_path() / "lib");
  }
  places.emplace_back("/usr/local/lib");
  for (const fs::path& place : places) {
    if (fs::exists(place / kPackage, error)) return place.string();
  }
  return NotFound(
      "--atol compares with ONNX Runtime, which is not here: run `npm install onnxruntime-node` in "
      "this folder, or set "
      "THIMBLE_NPM to one that has it");
}

Result<std::vector<OnnxDifference>> CompareWithOnnxRuntime(const Model& stored,
                                                           const std::string& file,
                                                           const std::string& runtime) {
  const Model model = Packed(stored);
  const Samples samples = MakeSamples(model.graph);
  TRY(const json theirs, RunInNode(samples, file, runtime));
  SessionOptions options;
  for (const GraphOutput& output : model.graph.outputs) options.outputs.push_back(output.name);
  TRY(Session session, Session::Create(model.graph, options));
  Batch batch;
  for (size_t s = 0; s < samples.sequences; ++s) {
    const size_t begin = s * samples.length;
    const size_t count = samples.keeps_padding ? samples.length : samples.lengths[s];
    const std::vector<uint8_t> mask(samples.mask.begin() + static_cast<ptrdiff_t>(begin),
                                    samples.mask.begin() + static_cast<ptrdiff_t>(begin + count));
    batch.Add(std::span(samples.ids).subspan(begin, count),
              std::span(samples.types).subspan(begin, count), mask);
  }
  TRY_VOID(session.Run(batch));
  std::vector<OnnxDifference> differences;
  for (size_t i = 0; i < session.outputs(); ++i) {
    const OutputView ours = session.output(i);
    if (!theirs.contains(ours.name)) {
      return Error(ErrorCode::kMismatch, "ONNX Runtime gives no output " + Quoted(ours.name));
    }
    TRY(const double largest, Difference(ours, theirs[ours.name], samples));
    differences.push_back({ours.name, largest});
  }
  return differences;
}

Result<std::vector<OnnxDifference>> ExportCheckedOnnx(const Model& model, const std::string& path,
                                                      const OnnxOptions& options, double atol) {
  TRY(const std::string runtime, FindOnnxRuntime());
  const Unchecked unchecked(path);
  TRY_VOID(ExportOnnx(model, unchecked.path(), options));
  TRY_VOID(CheckInterrupt());
  TRY(std::vector<OnnxDifference> differences,
      CompareWithOnnxRuntime(model, unchecked.path(), runtime));
  for (const OnnxDifference& difference : differences) {
    if (difference.largest <= atol) continue;
    return Error(ErrorCode::kMismatch,
                 "ONNX Runtime's output " + Quoted(difference.output) + " differs from ours by " +
                     FormatNumber("%.3g", difference.largest) + ", --atol allows " +
                     FormatNumber("%.3g", atol) + ": nothing was written");
  }
  TRY_VOID(unchecked.Rename(path));
  return differences;
}

}  // namespace thimble::cli
