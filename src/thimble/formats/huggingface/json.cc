#include "thimble/formats/huggingface/json.h"

#include <charconv>
#include <limits>
#include <utility>

#include "thimble/base/file.h"

namespace thimble {
namespace {

constexpr size_t kMaxFileBytes = size_t{32} << 20;
constexpr int kMaxDepth = 64;

// Brackets that are open at once, texts aside.
bool IsTooDeep(std::string_view text) {
  int depth = 0;
  bool in_text = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_text) {
      if (c == '\\') ++i;
      if (c == '"') in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

Error WrongType(const char* key, const char* wanted) {
  return InvalidData(std::string("\"") + key + "\" must be " + wanted);
}

}  // namespace

Result<Json> ParseJsonObject(std::string_view text) {
  if (IsTooDeep(text)) return InvalidData("is nested too deeply");
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidData("is not valid JSON");
  if (!json.is_object()) return InvalidData("is not a JSON object");
  return json;
}

Result<Json> ReadJsonObject(const std::string& path) {
  TRY(const std::string text, ReadFile(path, kMaxFileBytes));
  Result<Json> json = ParseJsonObject(text);
  if (!json) return std::move(json).error().In(path);
  return json;
}

Result<Json> ReadOptionalJsonObject(const std::string& path) {
  return FileExists(path) ? ReadJsonObject(path) : Json::object();
}

const Json* Find(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Result<std::optional<bool>> FindFlag(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_boolean()) return WrongType(key, "true or false");
  return std::optional(value->get<bool>());
}

Result<std::optional<std::string>> FindText(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return WrongType(key, "a text");
  return std::optional(value->get<std::string>());
}

Result<std::optional<int64_t>> FindInteger(const Json& object, const char* key) {
  const Json* value = Find(object, key);
  if (value == nullptr) return std::optional<int64_t>();
  const std::optional<int64_t> index = AsIndex(*value, std::numeric_limits<int64_t>::max());
  if (!index) return WrongType(key, "a whole number");
  return index;
}

std::optional<int64_t> AsIndex(const Json& value, int64_t limit) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto number = value.get<uint64_t>();
  if (number >= static_cast<uint64_t>(limit)) return std::nullopt;
  return static_cast<int64_t>(number);
}

std::optional<int64_t> KeyAsIndex(std::string_view key, int64_t limit) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), number);
  const bool is_index = error == std::errc() && end == key.data() + key.size() && number >= 0;
  return is_index && number < limit ? std::optional(number) : std::nullopt;
}

}  // namespace thimble
