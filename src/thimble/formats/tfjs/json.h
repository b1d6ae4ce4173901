// Fields of JSON objects that come from outside.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "thimble/base/result.h"

namespace thimble {

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
