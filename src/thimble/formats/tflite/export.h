// Writes a model as a TensorFlow Lite file (.tflite), for LiteRT and the task libraries of Android.
//
//   inputs   ids, mask, segment_ids, in this order: int32 [batch, sequence]. All three are always there,
//            since the task libraries want them; a model without token types does not look at the last.
//            The mask does what Hugging Face's does: masked keys get the most negative score.
//   outputs  what the task reads, by the graph's names, float32: [batch, sequence, width] or
//            [batch, width]. An answer's logits are end_logits and start_logits [batch, sequence]
//            instead; logits as scores (kScores) are called probability.
//
// Only operators of TensorFlow Lite itself, those that XNNPACK takes where there is a choice. The batch is
// fixed, the sequence fixed or free. What the weights are stored as decides the arithmetic:
//   f32      plain
//   f16      matrices and tables are float16, widened when the model is loaded: float32 arithmetic
//   int8     products are hybrid: float32 inputs, quantized row by row as they come, int8 weights with a
//            scale per output channel; tables are looked up as codes and scales. So results differ from
//            ours in rounding. With ranges (TfliteOptions::ranges) products are int8 throughout:
//            QUANTIZE, int8 FULLY_CONNECTED with int32 biases, DEQUANTIZE; what stands between them is
//            float32.
//   others   bfloat16 and block-sparse as float32, groups of int8 or int4 as float16
//
// The vocabulary, the labels and the tokenizer's settings are in the file as TensorFlow Lite's metadata says
// (metadata.h), where the model has a WordPiece vocabulary.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"

namespace thimble {

// What a classifier gives.
enum class TfliteLogits : uint8_t {
  kLogits,  // as they are
  kScores,  // softmax of them, or sigmoid for several labels: what the task libraries show
};

// Least and largest value that was seen of a tensor.
struct TfliteRange {
  float least = 0, most = 0;
};

struct TfliteOptions {
  // Tokens; 0: 128, for answers 384 (BertQuestionAnswerer takes no other), or the model's maximum where that is
  // less.
  int64_t sequence = 0;
  int64_t batch = 1;       // sequences
  bool resizable = false;  // the sequence is free; `sequence` means nothing
  bool hidden = false;     // all outputs of the graph, hidden states too
  TfliteLogits logits = TfliteLogits::kLogits;

  // By the name of a value of the graph. Where there are any, products with int8 weights are int8 throughout, and
  // what they read and give must be here: TfliteRangesFor says which values those are. The scale that a linear has
  // for its input goes before the range.
  std::map<std::string, TfliteRange> ranges = {};
  bool int8_outputs = false;  // as codes; needs ranges
};

// The values whose ranges integer arithmetic needs, each once, in the order of the graph: inputs and outputs of
// products with int8 weights, and the outputs of the graph. Empty where there are no such products.
std::vector<ValueId> TfliteRangesFor(const Graph& graph);

// Replaces the file under `path` atomically. A model that cannot be represented is an error, and nothing
// is written.
Status ExportTflite(const Model& model, const std::string& path, const TfliteOptions& options = {});

// The bytes of the same file.
Result<std::string> SerializeTflite(const Model& model, const TfliteOptions& options = {});

// How long the sequences of the file are: -1 where that is free.
int64_t TfliteSequence(const Model& model, const TfliteOptions& options);

}  // namespace thimble
