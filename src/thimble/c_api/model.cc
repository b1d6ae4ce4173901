// thimble.h: models.
#include <memory>
#include <span>
#include <utility>

#include "thimble/c_api/boundary.h"
#include "thimble/c_api/handles.h"
#include "thimble/formats/thimble/reader.h"
#include "thimble/graph/tensor.h"
#include "thimble/runtime/decisions.h"

namespace thimble::c_api {
namespace {

// The values of thimble_task are part of the interface, those of Task are not.
constexpr thimble_task TaskOf(Task task) {
  switch (task) {
    case Task::kFeatures:
      return THIMBLE_FEATURES;
    case Task::kSingleLabel:
      return THIMBLE_SINGLE_LABEL;
    case Task::kMultiLabel:
      return THIMBLE_MULTI_LABEL;
    case Task::kRegression:
      return THIMBLE_REGRESSION;
    case Task::kTokenLabels:
      return THIMBLE_TOKEN_LABELS;
    case Task::kAnswers:
      return THIMBLE_ANSWERS;
    case Task::kMaskedLm:
      return THIMBLE_MASKED_LM;
    case Task::kPretraining:
      return THIMBLE_PRETRAINING;
  }
  return THIMBLE_FEATURES;
}

size_t LabelCount(const Model& model) {
  switch (model.task) {
    case Task::kSingleLabel:
    case Task::kMultiLabel:
    case Task::kRegression:
    case Task::kTokenLabels:
      return static_cast<size_t>(
          model.graph.value(model.graph.FindOutput("logits")->value).type.width);
    default:
      return 0;
  }
}

// Bytes where the reader wants them, and who keeps them alive.
struct FileBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

Result<FileBytes> Place(const void* bytes, size_t size, int32_t use) {
  if (bytes == nullptr) return InvalidArgument("the bytes of the model are NULL");
  const std::span<const std::byte> given(static_cast<const std::byte*>(bytes), size);
  if (use == THIMBLE_IN_PLACE) return FileBytes{given, nullptr};
  if (use != THIMBLE_COPY) return InvalidArgument("no such use of bytes");
  // A tensor for its aligned storage.
  auto copy =
      std::make_shared<Tensor>(Tensor::Copy(DType::kU8, {static_cast<int64_t>(size)}, given));
  const std::span<const std::byte> placed = copy->data();
  return FileBytes{placed, std::move(copy)};
}

Result<std::unique_ptr<thimble_model>> Handle(Result<Model> model) {
  if (!model.has_value()) return std::move(model).error();
  return std::make_unique<thimble_model>(
      thimble_model{std::make_shared<const LoadedModel>(*std::move(model))});
}

Status NeedBase(const thimble_model* base) {
  if (base == nullptr) return InvalidArgument("the base of the adapter is NULL");
  return {};
}

Status NeedPath(const char* path) {
  if (path == nullptr) return InvalidArgument("the path of the model is NULL");
  return {};
}

}  // namespace

LoadedModel::LoadedModel(Model loaded) : model(std::move(loaded)) {
  const size_t count = LabelCount(model);
  for (size_t i = 0; i < count; ++i) label_names.push_back(LabelName(model, i));
}

}  // namespace thimble::c_api

using namespace thimble;         // NOLINT: this file implements C functions
using namespace thimble::c_api;  // NOLINT

thimble_status thimble_model_load(const char* path, thimble_model** model) {
  return Make(model, [&]() -> Result<std::unique_ptr<thimble_model>> {
    TRY_VOID(NeedPath(path));
    return Handle(ReadThimble(path));
  });
}

thimble_status thimble_model_load_bytes(const void* bytes, size_t size, int32_t use,
                                        thimble_model** model) {
  return Make(model, [&]() -> Result<std::unique_ptr<thimble_model>> {
    TRY(const FileBytes file, Place(bytes, size, use));
    return Handle(ParseThimble(file.bytes, file.owner));
  });
}

thimble_status thimble_adapter_load(const thimble_model* base, const char* path,
                                    thimble_model** model) {
  return Make(model, [&]() -> Result<std::unique_ptr<thimble_model>> {
    TRY_VOID(NeedBase(base));
    TRY_VOID(NeedPath(path));
    return Handle(ReadAdapter(path, base->loaded->model));
  });
}

thimble_status thimble_adapter_load_bytes(const thimble_model* base, const void* bytes, size_t size,
                                          int32_t use, thimble_model** model) {
  return Make(model, [&]() -> Result<std::unique_ptr<thimble_model>> {
    TRY_VOID(NeedBase(base));
    TRY(const FileBytes file, Place(bytes, size, use));
    return Handle(ParseAdapter(file.bytes, file.owner, base->loaded->model));
  });
}

void thimble_model_free(thimble_model* model) { delete model; }

thimble_task thimble_model_task(const thimble_model* model) {
  return model == nullptr ? THIMBLE_FEATURES : TaskOf(model->loaded->model.task);
}

const char* thimble_model_architecture(const thimble_model* model) {
  return model == nullptr ? nullptr : model->loaded->model.architecture.c_str();
}

size_t thimble_model_label_count(const thimble_model* model) {
  return model == nullptr ? 0 : model->loaded->label_names.size();
}

const char* thimble_model_label(const thimble_model* model, size_t label) {
  return label < thimble_model_label_count(model) ? model->loaded->label_names[label].c_str()
                                                  : nullptr;
}

size_t thimble_model_max_tokens(const thimble_model* model) {
  if (model == nullptr) return 0;
  return static_cast<size_t>(std::max<int64_t>(model->loaded->model.graph.max_sequence_length, 0));
}

int32_t thimble_model_reads_text(const thimble_model* model) {
  return model != nullptr && model->loaded->model.tokenizer.kind != TokenizerKind::kNone;
}

size_t thimble_model_output_count(const thimble_model* model) {
  return model == nullptr ? 0 : model->loaded->model.graph.outputs.size();
}

const char* thimble_model_output_name(const thimble_model* model, size_t output) {
  return output < thimble_model_output_count(model)
             ? model->loaded->model.graph.outputs[output].name.c_str()
             : nullptr;
}
