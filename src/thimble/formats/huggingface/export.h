// Writes a model as a directory that Hugging Face's Python library loads: the inverse of import.h.
//
//   config.json, model.safetensors   what the class needs, under its own names; what it computes is what the graph does
//   tokenizer.json, vocab.txt, tokenizer_config.json, special_tokens_map.json   unless the model takes ids only
//   README.md                        a model card
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/formats/huggingface/write_weights.h"
#include "thimble/formats/model.h"

namespace thimble {

struct HuggingFaceExport {
  std::string model_class;         // "BertForSequenceClassification"
  std::vector<std::string> files;  // names, sorted
  size_t bytes = 0;                // of all files
  // What was padded for the class to hold it, one line each (write_weights.h).
  std::vector<std::string> notes;
};

// The directory appears whole or not at all; it replaces an empty one and one that holds nothing but such files.
// Quantized weights are written as float32, others in the type that they have.
// kUnsupported: what the classes cannot hold, by name.
Result<HuggingFaceExport> ExportHuggingFace(const Model& model, const std::string& directory,
                                            PrunedHeads heads = PrunedHeads::kNamed);

}  // namespace thimble
