// Configurations of well-known architectures by name.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "thimble/base/result.h"

namespace thimble {

struct Preset {
  std::string_view name, summary, config;
};
std::span<const Preset> AllPresets();
const Preset* FindPreset(std::string_view name);  // null if there is none

// Replaces one key of a configuration by "key=value": the value is read as JSON, and as text where it is none.
// The key must be one that an architecture could read: a plain name.
Status OverrideConfig(nlohmann::json& config, std::string_view assignment);

}  // namespace thimble
