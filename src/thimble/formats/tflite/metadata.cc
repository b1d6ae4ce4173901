#include "thimble/formats/tflite/metadata.h"

#include <algorithm>

#include "thimble/formats/tflite/tflite_metadata_generated.h"

namespace thimble {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using Files = std::vector<Offset<tfl::AssociatedFile>>;
using Tensors = std::vector<Offset<tfl::TensorMetadata>>;

constexpr char kVocabularyFile[] = "vocab.txt", kLabelsFile[] = "labels.txt";

bool AreLines(const std::vector<std::string>& texts) {
  return std::none_of(texts.begin(), texts.end(),
                      [](const std::string& text) { return text.find('\n') != std::string::npos; });
}

std::string Lines(const std::vector<std::string>& texts) {
  std::string lines;
  for (const std::string& text : texts) lines += text + '\n';
  return lines;
}

bool HasPiece(const TokenizerSpec& spec, int32_t id, std::string_view piece) {
  return id >= 0 && static_cast<size_t>(id) < spec.pieces.size() &&
         spec.pieces[static_cast<size_t>(id)] == piece;
}

// What such libraries take for granted.
bool IsBertTokenizer(const TokenizerSpec& spec) {
  return spec.kind == TokenizerKind::kWordPiece && spec.basic_tokenize &&
         spec.continuing_prefix == "##" && AreLines(spec.pieces) &&
         HasPiece(spec, spec.unknown_id, "[UNK]") && HasPiece(spec, spec.cls_id, "[CLS]") &&
         HasPiece(spec, spec.sep_id, "[SEP]");
}

Offset<tfl::AssociatedFile> File(FlatBufferBuilder& builder, const char* name,
                                 const char* description, tfl::AssociatedFileType type) {
  return tfl::CreateAssociatedFileDirect(builder, name, description, type);
}

struct Described {
  const char *name, *description;
};
constexpr Described kInputs[] = {
    {"ids", "Ids of the tokens, [CLS] and [SEP] included; the rest is padding."},
    {"mask", "1 for tokens, 0 for padding."},
    {"segment_ids", "0 for tokens of the first text, 1 for those of the second."},
};

// The libraries find a classifier's output by the name of probabilities, whatever it is.
Described Output(const Model& model, const std::string& name) {
  const bool classifies = model.task == Task::kSingleLabel || model.task == Task::kMultiLabel;
  if (name == "probability") return {"probability", "Probabilities of the labels."};
  if (name == "logits" && classifies) {
    return {"probability", model.task == Task::kMultiLabel
                               ? "Logits of the labels: their sigmoid is the probability."
                               : "Logits of the labels: their softmax is the probability."};
  }
  if (name == "end_logits") return {"end_logits", "For each token, how well an answer ends there."};
  if (name == "start_logits") {
    return {"start_logits", "For each token, how well an answer begins there."};
  }
  return {name.c_str(), ""};
}

Offset<tfl::TensorMetadata> Tensor(FlatBufferBuilder& builder, const Described& tensor,
                                   const Files& files) {
  const auto content = tfl::CreateContent(builder, tfl::ContentProperties::FeatureProperties,
                                          tfl::CreateFeatureProperties(builder).Union());
  return tfl::CreateTensorMetadataDirect(builder, tensor.name, tensor.description, nullptr, content,
                                         nullptr, 0, files.empty() ? nullptr : &files);
}

Tensors Inputs(FlatBufferBuilder& builder, bool has_vocabulary) {
  Tensors tensors;
  for (const Described& input : kInputs) {
    Files files;
    if (has_vocabulary && tensors.empty()) {
      files = {File(builder, kVocabularyFile, "One piece a line; its number is the id.",
                    tfl::AssociatedFileType::VOCABULARY)};
    }
    tensors.push_back(Tensor(builder, input, files));
  }
  return tensors;
}

Tensors Outputs(FlatBufferBuilder& builder, const Model& model, const TfliteWriter& writer,
                bool has_labels) {
  Tensors tensors;
  for (const TfliteWriter::Border& output : writer.outputs()) {
    Files files;
    if (has_labels && (output.name == "logits" || output.name == "probability")) {
      files = {File(builder, kLabelsFile, "Labels of the last dimension, one a line.",
                    tfl::AssociatedFileType::TENSOR_AXIS_LABELS)};
    }
    tensors.push_back(Tensor(builder, Output(model, output.name), files));
  }
  return tensors;
}

std::vector<Offset<tfl::ProcessUnit>> Tokenizers(FlatBufferBuilder& builder) {
  const Files files = {File(builder, kVocabularyFile, "One piece a line; its number is the id.",
                            tfl::AssociatedFileType::VOCABULARY)};
  const auto options = tfl::CreateBertTokenizerOptionsDirect(builder, &files);
  return {tfl::CreateProcessUnit(builder, tfl::ProcessUnitOptions::BertTokenizerOptions,
                                 options.Union())};
}

std::string Summary(const Model& model) {
  std::string text = "Made by Thimble. Task: " + std::string(TaskName(model.task)) + ".";
  for (const auto& [key, value] : model.provenance)
    text.append("\n").append(key).append(": ").append(value);
  return text;
}

}  // namespace

TfliteMetadata DescribeTflite(const Model& model, const TfliteWriter& writer) {
  TfliteMetadata metadata;
  const bool has_vocabulary = IsBertTokenizer(model.tokenizer);
  const bool has_labels = !model.labels.empty() && AreLines(model.labels);
  if (has_vocabulary) metadata.files.push_back({kVocabularyFile, Lines(model.tokenizer.pieces)});
  if (has_labels) metadata.files.push_back({kLabelsFile, Lines(model.labels)});

  FlatBufferBuilder builder;
  const Tensors inputs = Inputs(builder, has_vocabulary);
  const Tensors outputs = Outputs(builder, model, writer, has_labels);
  std::vector<Offset<tfl::ProcessUnit>> tokenizers;
  if (has_vocabulary) tokenizers = Tokenizers(builder);
  const std::vector subgraphs = {
      tfl::CreateSubGraphMetadataDirect(builder, nullptr, nullptr, &inputs, &outputs, nullptr,
                                        has_vocabulary ? &tokenizers : nullptr)};
  tfl::FinishModelMetadataBuffer(
      builder,
      tfl::CreateModelMetadataDirect(builder, model.architecture.c_str(), Summary(model).c_str(),
                                     nullptr, &subgraphs, nullptr, nullptr, nullptr, "1.1.0"));
  metadata.buffer.assign(reinterpret_cast<const char*>(builder.GetBufferPointer()),
                         builder.GetSize());
  return metadata;
}

}  // namespace thimble
