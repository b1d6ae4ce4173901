// Reading a config.json that may come from anywhere: every value is checked where it is read, and the
// message names the key. The first error sticks, so that a configuration is read in one go:
//
//   ConfigReader read(json);
//   config.hidden = read.Size("hidden_size", 768);
//   TRY_VOID(read.status());
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/ops.h"

namespace thimble {

inline constexpr int64_t kMostLayers = 1024;

class ConfigReader {
 public:
  explicit ConfigReader(const nlohmann::json& config);

  // A dimension or count in [1, 2^20]; `fallback` where the key is missing, as Hugging Face's own
  // configuration classes have it.
  int64_t Size(const char* key, int64_t fallback);
  // How often something is built, in [1, kMostLayers]: a file must not make a graph without end.
  int64_t Count(const char* key, int64_t fallback);
  // An integer in [least, most].
  int64_t Integer(const char* key, int64_t fallback, int64_t least, int64_t most);
  // A small positive number, as epsilons are.
  double Epsilon(const char* key, double fallback);
  bool Flag(const char* key, bool fallback);
  std::string Text(const char* key, std::string fallback);
  Activation Function(const char* key, std::string_view fallback);
  // Fails unless the key is missing or has this value: settings that would change what is computed.
  void Require(const char* key, std::string_view only);
  void RequireFlag(const char* key, bool only);

  // Heads that "pruned_heads" ({"3": [0, 2]}: layer 3 has lost two) leaves in each of `layers` layers of `heads`; the
  // others are numbered anew, so that only their number matters. A layer must keep one.
  std::vector<int64_t> KeptHeads(int64_t layers, int64_t heads);

  // Makes `size` a multiple of `count`, or fails naming both keys.
  void RequireDivides(const char* count_key, int64_t count, const char* size_key, int64_t size);
  void Fail(Error error);

  Status status() const { return error_.has_value() ? Status(*error_) : Status(); }

 private:
  const nlohmann::json* Find(const char* key);  // null if missing or null

  const nlohmann::json& config_;
  std::optional<Error> error_;
};

}  // namespace thimble
