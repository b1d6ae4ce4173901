// What a graph's reference gives on a small batch, as tools/check_export.mjs reads it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <type_traits>
#include <vector>

#include "thimble/base/file.h"
#include "thimble/graph/graph.h"

namespace thimble {

inline constexpr size_t kSequences = 3;
inline constexpr size_t kTokens = 5;  // of each sequence

// A batch in which one sequence has a hole in its mask and one is short, with ids that position
// counting skips.
struct Batch {
  std::vector<int32_t> ids = {2, 5, 1, 7, 3, 4, 1, 9, 1, 1, 12, 11, 10, 0, 6};
  std::vector<int32_t> types = {0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0};
  std::vector<uint8_t> mask = {1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1};
};

// name -> int64 or float32 values, in the safetensors format.
class Recording {
 public:
  template <class T>
  void Add(const std::string& name, const std::vector<T>& values, const std::string& shape) {
    const char* type = std::is_same_v<T, float> ? "F32" : "I64";
    header_ += (header_.empty() ? "{\"" : ",\"") + name + "\":{\"dtype\":\"" + type +
               "\",\"shape\":" + shape + ",\"data_offsets\":[" + std::to_string(data_.size()) + ",";
    data_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    header_ += std::to_string(data_.size()) + "]}";
  }
  Status Write(const std::string& path) const {
    TRY(AtomicFile file, AtomicFile::Create(path));
    const uint64_t size = header_.size() + 1;
    TRY_VOID(file.Append(std::as_bytes(std::span(&size, 1))));
    TRY_VOID(file.Append(header_ + "}"));
    TRY_VOID(file.Append(data_));
    return file.Commit();
  }

 private:
  std::string header_, data_;
};

inline Recording Record(const Graph& graph) {
  const Batch batch;
  const std::vector<int32_t> offsets = {0, kTokens, 2 * kTokens, 3 * kTokens};
  const std::span<const int32_t> inputs[] = {batch.ids, batch.types};
  std::vector<std::string_view> names;
  for (const GraphOutput& output : graph.outputs) names.push_back(output.name);
  const auto values = RunReference(graph, {offsets, batch.mask}, inputs, names);
  EXPECT_TRUE(values.has_value()) << values.error().message();
  Recording recording;
  const auto input = [&](const char* name, const auto& ids) {
    recording.Add(std::string("run0.input.") + name, std::vector<int64_t>(ids.begin(), ids.end()),
                  "[3,5]");
  };
  input("input_ids", batch.ids);
  input("token_type_ids", batch.types);
  input("attention_mask", batch.mask);
  for (size_t i = 0; i < names.size(); ++i) {
    const std::vector<float>& floats = (*values)[i].floats;
    const auto width = static_cast<size_t>((*values)[i].type.width);
    recording.Add("run0.output." + std::string(names[i]), floats,
                  "[" + std::to_string(floats.size() / width) + "," + std::to_string(width) + "]");
  }
  return recording;
}

}  // namespace thimble
