// Universal Sentence Encoder Lite inside a TensorFlow.js model: where its graph keeps what
// models/universal_sentence_encoder.cc asks for.
//
// The published graph differs from ours in form only, and what differs is folded here:
//   x = 2 * words + timing             the factor goes into the word table, the timing signal (sine
//   and
//                                      cosine of position times a stored vector) into a position
//                                      table
//   1 x 1 convolutions, [in, out]      linear weights, [out, in]
//   one kernel for query, key, value   three weights
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "thimble/base/result.h"
#include "thimble/formats/tfjs/tfjs_model.h"
#include "thimble/models/architecture.h"

namespace thimble {

// The configuration of the model, as BuildGraph takes it. Fails for every graph that computes
// something else, as far as its operations and constants show.
Result<nlohmann::json> ReadSentenceEncoderConfig(TfjsModel& model);

// The weights under the architecture's own names. The model must outlive it.
class SentenceEncoderWeights final : public WeightSource {
 public:
  SentenceEncoderWeights(TfjsModel& model, int64_t positions)
      : model_(model), positions_(positions) {}

  Result<Tensor> Get(std::string_view name, const Shape& shape) override;
  bool Has(std::string_view name) const override;

 private:
  Result<Tensor> Load(std::string_view name);
  Result<Tensor> WordTable();
  Result<Tensor> PositionTable();

  TfjsModel& model_;
  int64_t positions_;
};

}  // namespace thimble
