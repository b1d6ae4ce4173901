// Bytes as a TensorFlow.js folder: model.json, vocab.json and the one file of weights, each ended
// by a zero byte (the last by the end).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "thimble/formats/tfjs/import.h"

namespace {

std::string_view TakePart(std::string_view& data) {
  const size_t end = std::min(data.find('\0'), data.size());
  const std::string_view part = data.substr(0, end);
  data.remove_prefix(std::min(end + 1, data.size()));
  return part;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view data(reinterpret_cast<const char*>(bytes), size);
  const std::string_view model_json = TakePart(data);
  const std::string_view vocab_json = TakePart(data);
  auto weights = thimble::TfjsModel::Parse(
      model_json, [&](const std::string&) -> thimble::Result<thimble::TfjsModel::File> {
        return thimble::TfjsModel::File{std::as_bytes(std::span(data)), nullptr};
      });
  if (weights.has_value()) {
    const auto model = thimble::ImportTfjs(*weights, vocab_json);
    if (model.has_value() && !thimble::Verify(model->graph).has_value()) __builtin_trap();
  } else {
    (void)thimble::ParseUnigramVocabulary(vocab_json);
  }
  return 0;
}
