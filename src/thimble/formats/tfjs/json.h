// Fields of JSON objects that come from outside, and text from there in messages.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "thimble/base/result.h"

namespace thimble {

// In quotes, cut to a length that a line of text can hold, control characters shown as '?'.
inline std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 80)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return out + (text.size() > 80 ? "...'" : "'");
}

// object[key], which must be of type `type`.
inline Result<const nlohmann::json*> Field(const nlohmann::json& object, const char* key,
                                           nlohmann::json::value_t type) {
  if (object.is_object()) {
    if (const auto found = object.find(key); found != object.end() && found->type() == type) {
      return &*found;
    }
  }
  return InvalidData(std::string("there is no ") + nlohmann::json(type).type_name() + " \"" + key +
                     "\"");
}

inline Result<std::string> TextField(const nlohmann::json& object, const char* key) {
  TRY(const nlohmann::json* field, Field(object, key, nlohmann::json::value_t::string));
  return field->get<std::string>();
}

}  // namespace thimble
