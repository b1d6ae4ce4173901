// What a model is besides its graph, in the metadata of an ONNX file:
//
//   thimble.architecture, thimble.task, thimble.max_sequence_length
//   thimble.label.<i>, thimble.threshold.<i>
//   thimble.tokenizer     JSON: kind, pieces in the order of their ids, settings; nothing where there is none
//   thimble.provenance.<key>
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"

namespace thimble {

void WriteOnnxMetadata(
    const Model& model,
    const std::function<void(std::string_view key, std::string_view value)>& put);

using OnnxMetadata = std::map<std::string, std::string, std::less<>>;

// Whether our exporter left its keys.
bool HasOnnxMetadata(const OnnxMetadata& metadata);
// Fills everything but the graph.
Status ReadOnnxMetadata(const OnnxMetadata& metadata, Model& model);

// The tokenizer as JSON and back: what text becomes ids by, whole.
std::string TokenizerToJson(const TokenizerSpec& spec);
Result<TokenizerSpec> TokenizerFromJson(std::string_view text);

}  // namespace thimble
