#include "thimble/models/presets.h"

#include <algorithm>
#include <cctype>

namespace thimble {
namespace {

constexpr Preset kPresets[] = {
#define PRESET(name, summary, config) {name, summary, config},
#include "thimble/models/presets.inc"
#undef PRESET
};

}  // namespace

std::span<const Preset> AllPresets() { return kPresets; }

const Preset* FindPreset(std::string_view name) {
  const auto* found = std::find_if(std::begin(kPresets), std::end(kPresets),
                                   [&](const Preset& p) { return p.name == name; });
  return found == std::end(kPresets) ? nullptr : found;
}

Status OverrideConfig(nlohmann::json& config, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  const std::string key(assignment.substr(0, equals));
  const bool plain = !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  });
  if (equals == std::string_view::npos || !plain) {
    return InvalidArgument("'" + std::string(assignment.substr(0, 60)) + "' is not key=value");
  }
  const std::string text(assignment.substr(equals + 1));
  nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  config[key] = value.is_discarded() ? nlohmann::json(text) : std::move(value);
  return {};
}

}  // namespace thimble
