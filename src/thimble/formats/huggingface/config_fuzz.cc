// config.json: the head that it names, the graph that an obliging checkpoint would give for it, and that the way back to
// a configuration gives the same graph.
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "thimble/formats/huggingface/head_config.h"
#include "thimble/formats/huggingface/write_weights.h"
#include "thimble/models/architecture.h"

namespace {

using namespace thimble;

// Has every tensor of every shape, up to what a run can afford.
class Obliging final : public WeightSource {
 public:
  Result<Tensor> Get(std::string_view, const Shape& shape) override {
    Shape known = shape;
    for (int64_t& dim : known) dim = dim == -1 ? 3 : dim;
    const std::optional<size_t> count = ElementCount(known);
    if (!count || *count > 4096 || ++tensors_ > 500) return NotFound("no tensor as large as that");
    const std::vector<float> zeros(*count);
    return Tensor::FromFloats(known, zeros);
  }
  bool Has(std::string_view) const override { return true; }

 private:
  size_t tensors_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Result<Json> config = ParseJsonObject({reinterpret_cast<const char*>(data), size});
  if (!config) return 0;
  const Result<HeadConfig> head = ReadHeadConfig(*config, {}, {});
  if (!head) return 0;
  Obliging weights;
  const Result<Graph> graph =
      BuildGraph(*config, {.task = head->task, .labels = head->labels}, weights);
  if (!graph) return 0;
  THIMBLE_CHECK(Verify(*graph).has_value());
  const Result<Json> described = DescribeGraph(*graph);
  if (!described) return 0;  // an architecture that is not Hugging Face's
  Model model;
  model.task = head->task;
  model.graph = *graph;
  const Result<WrittenWeights> written = WriteWeights(model);
  if (!written) std::fprintf(stderr, "%s\n", written.error().message().c_str());
  THIMBLE_CHECK(written.has_value());
  return 0;
}
