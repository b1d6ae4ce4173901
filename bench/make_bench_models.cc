// make_bench_models FOLDER: writes models of real size with random weights, each as .thimble and .onnx in
// float32 and int8, so that every runtime multiplies the very same numbers.
// make_bench_models FOLDER NAME: writes one model as .thimble in float32 alone.
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "thimble/formats/onnx/export.h"
#include "thimble/formats/thimble/writer.h"
#include "thimble/models/architecture.h"
#include "thimble/passes/passes.h"

namespace thimble {
namespace {

// Matrices keep the size of what goes through them, gains are near 1, everything else near 0: activations
// stay in a range that every number format can hold.
class RandomWeights : public WeightSource {
 public:
  bool Has(std::string_view) const override { return true; }
  Result<Tensor> Get(std::string_view name, const Shape& asked) override {
    if (const auto made = made_.find(name); made != made_.end()) return made->second;
    Shape shape = asked;
    for (int64_t& dim : shape) {
      if (dim < 0) dim = 2;  // outputs of the classifier
    }
    const bool gain = shape.size() == 1 && name.ends_with(".weight");
    const float centre = gain ? 1.0f : 0.0f;
    const float spread = shape.size() == 1 ? 0.1f
                         : name.find("embeddings") != std::string_view::npos
                             ? 0.1f
                             : std::sqrt(1.0f / static_cast<float>(shape[1]));
    std::uniform_real_distribution<float> uniform(centre - spread, centre + spread);
    std::vector<float> values(*ElementCount(shape));
    for (float& v : values) v = uniform(rng_);
    return made_.emplace(name, Tensor::FromFloats(shape, values)).first->second;
  }

 private:
  std::mt19937 rng_{20};
  std::map<std::string, Tensor, std::less<>> made_;
};

struct BenchModel {
  const char* name;
  const char* config;
};

// Sizes as published; everything else is the default of the architecture.
constexpr BenchModel kModels[] = {
    {"mobilebert", R"({"model_type": "mobilebert", "classifier_activation": false})"},
    {"tinybert-4", R"({"model_type": "bert", "hidden_size": 312, "num_hidden_layers": 4,
                       "num_attention_heads": 12, "intermediate_size": 1200})"},
    {"minilm-6", R"({"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6,
                     "num_attention_heads": 12, "intermediate_size": 1536})"},
    {"distilbert", R"({"model_type": "distilbert"})"},
};

// What others are compared in size with; 1.3 GB.
constexpr BenchModel kBertLarge = {
    "bert-large", R"({"model_type": "bert", "hidden_size": 1024, "num_hidden_layers": 24,
                      "num_attention_heads": 16, "intermediate_size": 4096})"};

Status WriteBoth(const Model& model, const std::string& stem) {
  TRY_VOID(WriteThimble(model, stem + ".thimble"));
  return ExportOnnx(model, stem + ".onnx");
}

Status WriteInt8(const Model& model, const std::string& stem) {
  TRY_VOID(WriteBoth(model, stem));
  return ExportOnnx(model, stem + "-unsigned.onnx", {.codes = OnnxCodes::kUnsigned});
}

Result<Model> Build(const BenchModel& bench) {
  RandomWeights weights;
  const nlohmann::json config = nlohmann::json::parse(bench.config, nullptr, false);
  Model model;
  model.architecture = config["model_type"].get<std::string>();
  model.task = Task::kSingleLabel;
  model.labels = {"no", "yes"};
  TRY(model.graph, BuildGraph(config, {.task = model.task, .labels = 2}, weights));
  model.provenance = {{"source", "random weights for benchmarks"}};
  return model;
}

Status MakeAllForms(const BenchModel& bench, const std::string& folder) {
  TRY(Model model, Build(bench));
  TRY_VOID(WriteBoth(model, folder + "/" + bench.name + "-f32"));
  TRY(model.graph, RunPass(*FindPass("weights_to_int8"), model.graph));
  return WriteInt8(model, folder + "/" + bench.name + "-int8");
}

Status MakeOne(std::string_view name, const std::string& folder) {
  const BenchModel* found = name == kBertLarge.name ? &kBertLarge : nullptr;
  for (const BenchModel& bench : kModels) {
    if (name == bench.name) found = &bench;
  }
  if (found == nullptr) return InvalidArgument("there is no model '" + std::string(name) + "'");
  TRY(const Model model, Build(*found));
  return WriteThimble(model, folder + "/" + found->name + "-f32.thimble");
}

Status MakeAll(const std::string& folder) {
  for (const BenchModel& bench : kModels) TRY_VOID(MakeAllForms(bench, folder));
  return {};
}

}  // namespace
}  // namespace thimble

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "make_bench_models: name the folder to write to\n");
    return 2;
  }
  const thimble::Status made =
      argc == 3 ? thimble::MakeOne(argv[2], argv[1]) : thimble::MakeAll(argv[1]);
  if (made.has_value()) return 0;
  std::fprintf(stderr, "make_bench_models: %s\n", made.error().message().c_str());
  return 1;
}
