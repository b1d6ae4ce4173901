#include "thimble/formats/tfjs/import.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "thimble/base/file.h"
#include "thimble/formats/tfjs/sentence_encoder.h"

namespace thimble {
namespace {

using nlohmann::json;

constexpr size_t kMaxVocabularyBytes = size_t{64} << 20;
constexpr int32_t kReservedIds = 6;  // of the publisher's tokenizer; its files do not say it

// "model-embeddings-en/dist": packages keep their model in a folder whose own name says nothing.
std::string SourceName(const std::string& directory) {
  std::filesystem::path path = std::filesystem::path(directory).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return (path.parent_path().filename() / path.filename()).string();
}

}  // namespace

Result<TokenizerSpec> ParseUnigramVocabulary(std::string_view text) {
  const json root = json::parse(text, nullptr, false);
  if (!root.is_array()) return InvalidData("is not a JSON list of [piece, score]");
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kUnigram;
  spec.unknown_id = 0;
  spec.reserved_ids = kReservedIds;
  for (const json& entry : root) {
    const bool valid = entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
                       (entry[1].is_number() || entry[1].is_null());
    if (!valid) {
      return InvalidData("entry " + std::to_string(spec.pieces.size()) + " is not [piece, score]");
    }
    spec.pieces.push_back(entry[0].get<std::string>());
    spec.scores.push_back(entry[1].is_null() ? 0.0 : entry[1].get<double>());
  }
  return spec;
}

Result<Model> ImportTfjs(TfjsModel& weights, std::string_view vocabulary_json) {
  Result<TokenizerSpec> tokenizer = ParseUnigramVocabulary(vocabulary_json);
  if (!tokenizer.has_value()) return std::move(tokenizer).error().In("vocab.json");
  Result<json> config = ReadSentenceEncoderConfig(weights);
  if (!config.has_value()) return std::move(config).error().In("model.json");
  SentenceEncoderWeights source(weights, (*config)["max_position_embeddings"].get<int64_t>());

  Model model;
  model.architecture = (*config)["model_type"].get<std::string>();
  model.task = Task::kFeatures;
  TRY(model.graph, BuildGraph(*config, {.task = model.task, .labels = {}}, source));
  model.tokenizer = *std::move(tokenizer);
  model.tokenizer.model_max_length = model.graph.max_sequence_length;
  const auto rows = static_cast<size_t>((*config)["vocab_size"].get<int64_t>());
  if (model.tokenizer.pieces.size() > rows) {
    return InvalidData("vocab.json has " + std::to_string(model.tokenizer.pieces.size()) +
                       " pieces, the model embeds " + std::to_string(rows));
  }
  TRY_VOID(VerifyModel(model));
  return model;
}

Result<Model> ImportTfjs(const std::string& directory) {
  TRY(TfjsModel weights, TfjsModel::Open(directory));
  TRY(const std::string vocabulary, ReadFile(directory + "/vocab.json", kMaxVocabularyBytes));
  Result<Model> model = ImportTfjs(weights, vocabulary);
  if (!model.has_value()) return std::move(model).error().In(directory);
  model->provenance = {{"source", SourceName(directory)}, {"source_sha256", weights.FilesSha256()}};
  return model;
}

}  // namespace thimble
