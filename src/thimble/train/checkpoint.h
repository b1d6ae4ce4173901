// The state of a run on disk: one safetensors file, replaced atomically.
#pragma once

#include <map>
#include <string>

#include "thimble/base/result.h"
#include "thimble/train/torch.h"

namespace thimble::train {

struct Checkpoint {
  std::map<std::string, std::string> fields;  // numbers as text, exactly
  std::map<std::string, at::Tensor> tensors;  // float32, one dimension
};

Status WriteCheckpoint(const std::string& path, const Checkpoint& checkpoint);
Result<Checkpoint> ReadCheckpoint(const std::string& path);

// Exact round trips.
std::string ToField(double value);
std::string ToField(int64_t value);
Result<double> DoubleField(const Checkpoint& checkpoint, const std::string& name);
Result<int64_t> IntegerField(const Checkpoint& checkpoint, const std::string& name);

}  // namespace thimble::train
