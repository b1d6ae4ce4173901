// The JSON files of a Hugging Face directory: parsed with bounds, read with checks.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "thimble/base/result.h"

namespace thimble {

using Json = nlohmann::json;

// A JSON object. Of a key that occurs twice the last value counts, as in Python. Refuses nesting that no
// such file has, for which nlohmann's own parser has no limit.
Result<Json> ParseJsonObject(std::string_view text);

// The same from a file; errors name the path.
Result<Json> ReadJsonObject(const std::string& path);
// The same, or an empty object where there is no such file.
Result<Json> ReadOptionalJsonObject(const std::string& path);

// The value under `key`; null where it is missing or null, or where `object` is something else.
const Json* Find(const Json& object, const char* key);

// Values of one type: nothing where the key is missing or null, an error naming the key for other types.
Result<std::optional<bool>> FindFlag(const Json& object, const char* key);
Result<std::optional<std::string>> FindText(const Json& object, const char* key);
Result<std::optional<int64_t>> FindInteger(const Json& object, const char* key);

// An integer in [0, limit), or nothing.
std::optional<int64_t> AsIndex(const Json& value, int64_t limit);
// The same of a decimal number as text: JSON has no numbers as keys.
std::optional<int64_t> KeyAsIndex(std::string_view key, int64_t limit);

}  // namespace thimble
