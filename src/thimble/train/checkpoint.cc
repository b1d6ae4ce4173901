#include "thimble/train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>
#include <vector>

#include "thimble/formats/safetensors/safetensors.h"

namespace thimble::train {
namespace {

template <class T>
Result<T> NumberField(const Checkpoint& checkpoint, const std::string& name) {
  const auto field = checkpoint.fields.find(name);
  if (field == checkpoint.fields.end()) return InvalidData("it has no field '" + name + "'");
  const std::string& text = field->second;
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidData("its field '" + name + "' is no number");
  }
  return value;
}

template <class T>
std::string Text(T value) {
  char buffer[64];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  return {buffer, error == std::errc() ? end : buffer};
}

}  // namespace

Status WriteCheckpoint(const std::string& path, const Checkpoint& checkpoint) {
  std::vector<NamedTensor> tensors;
  std::vector<at::Tensor> kept;  // the views point into these
  for (const auto& [name, tensor] : checkpoint.tensors) {
    kept.push_back(tensor.cpu().contiguous());
    const std::span<const float> values{kept.back().data_ptr<float>(),
                                        static_cast<size_t>(kept.back().numel())};
    tensors.push_back(
        {name, Tensor::View(DType::kF32, {kept.back().numel()}, std::as_bytes(values), nullptr)});
  }
  return WriteSafetensors(path, tensors, checkpoint.fields);
}

Result<Checkpoint> ReadCheckpoint(const std::string& path) {
  TRY(const SafetensorsFile file, OpenSafetensors(path));
  Checkpoint checkpoint;
  checkpoint.fields = file.metadata;
  for (const auto& [name, stored] : file.tensors) {
    TRY(const Tensor tensor, Load(stored));
    if (tensor.dtype() != DType::kF32 || tensor.rank() != 1) {
      return InvalidData("tensor '" + name + "' is not of a checkpoint").In(path);
    }
    const at::Tensor values = at::empty({tensor.dim(0)}, at::kFloat);
    std::memcpy(values.data_ptr<float>(), tensor.data().data(), tensor.data().size());
    checkpoint.tensors.emplace(name, values);
  }
  return checkpoint;
}

std::string ToField(double value) { return Text(value); }
std::string ToField(int64_t value) { return Text(value); }

Result<double> DoubleField(const Checkpoint& checkpoint, const std::string& name) {
  return NumberField<double>(checkpoint, name);
}
Result<int64_t> IntegerField(const Checkpoint& checkpoint, const std::string& name) {
  return NumberField<int64_t>(checkpoint, name);
}

}  // namespace thimble::train
