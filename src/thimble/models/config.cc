#include "thimble/models/config.h"

#include <algorithm>
#include <set>

namespace thimble {
namespace {

constexpr int64_t kLargestSize = int64_t{1} << 20;

std::string Quoted(const char* key) { return std::string("\"") + key + "\""; }

// Values from a file, short enough for a message.
std::string Shown(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 40) text = text.substr(0, 40) + "...";
  return text;
}

}  // namespace

ConfigReader::ConfigReader(const nlohmann::json& config) : config_(config) {
  if (!config.is_object()) Fail(InvalidData("is not a JSON object"));
}

const nlohmann::json* ConfigReader::Find(const char* key) {
  if (!config_.is_object()) return nullptr;
  const auto found = config_.find(key);
  return found == config_.end() || found->is_null() ? nullptr : &*found;
}

void ConfigReader::Fail(Error error) {
  if (!error_.has_value()) error_ = std::move(error);
}

int64_t ConfigReader::Size(const char* key, int64_t fallback) {
  return Integer(key, fallback, 1, kLargestSize);
}

int64_t ConfigReader::Count(const char* key, int64_t fallback) {
  return Integer(key, fallback, 1, kMostLayers);
}

int64_t ConfigReader::Integer(const char* key, int64_t fallback, int64_t least, int64_t most) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  const bool fits = value->is_number_unsigned()
                        ? value->get<uint64_t>() <= static_cast<uint64_t>(most)
                        : value->is_number_integer() && value->get<int64_t>() <= most;
  if (!fits || value->get<int64_t>() < least) {
    Fail(InvalidData(Quoted(key) + " is " + Shown(*value) + ", must be an integer from " +
                     std::to_string(least) + " to " + std::to_string(most)));
    return fallback;
  }
  return value->get<int64_t>();
}

double ConfigReader::Epsilon(const char* key, double fallback) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number() || !(value->get<double>() >= 0 && value->get<double>() <= 1)) {
    Fail(InvalidData(Quoted(key) + " is " + Shown(*value) + ", must be a number from 0 to 1"));
    return fallback;
  }
  return value->get<double>();
}

bool ConfigReader::Flag(const char* key, bool fallback) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    Fail(InvalidData(Quoted(key) + " is " + Shown(*value) + ", must be true or false"));
    return fallback;
  }
  return value->get<bool>();
}

std::string ConfigReader::Text(const char* key, std::string fallback) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    Fail(InvalidData(Quoted(key) + " is " + Shown(*value) + ", must be a text"));
    return fallback;
  }
  return value->get<std::string>();
}

Activation ConfigReader::Function(const char* key, std::string_view fallback) {
  const std::string name = Text(key, std::string(fallback));
  const std::optional<Activation> function = ActivationFromName(name);
  if (!function.has_value()) {
    Fail(Unsupported(Quoted(key) + " is \"" + name.substr(0, 40) +
                     "\", an activation function that is not known here"));
  }
  return function.value_or(Activation::kIdentity);
}

void ConfigReader::Require(const char* key, std::string_view only) {
  const std::string value = Text(key, std::string(only));
  if (value != only) {
    Fail(Unsupported(Quoted(key) + " is \"" + value.substr(0, 40) + "\", only \"" +
                     std::string(only) + "\" is handled"));
  }
}

void ConfigReader::RequireFlag(const char* key, bool only) {
  if (Flag(key, only) != only) {
    Fail(Unsupported(Quoted(key) + " is " + (only ? "false" : "true") + ", which is not handled"));
  }
}

std::vector<int64_t> ConfigReader::KeptHeads(int64_t layers, int64_t heads) {
  std::vector<int64_t> kept(static_cast<size_t>(layers), heads);
  const nlohmann::json* pruned = Find("pruned_heads");
  if (pruned == nullptr) return kept;
  const auto index = [](const nlohmann::json& value, int64_t limit) {
    return value.is_number_unsigned() && value.get<uint64_t>() < static_cast<uint64_t>(limit);
  };
  const Error wrong =
      InvalidData("\"pruned_heads\" must give lists of heads below " + std::to_string(heads) +
                  " by layers below " + std::to_string(layers));
  if (!pruned->is_object()) {
    Fail(wrong);
    return kept;
  }
  for (const auto& [key, list] : pruned->items()) {
    const nlohmann::json layer = nlohmann::json::parse(key, nullptr, /*allow_exceptions=*/false);
    const bool fits =
        index(layer, layers) && list.is_array() &&
        std::ranges::all_of(list, [&](const auto& head) { return index(head, heads); });
    if (!fits) {
      Fail(wrong);
      return kept;
    }
    std::set<uint64_t> gone;
    for (const nlohmann::json& head : list) gone.insert(head.get<uint64_t>());
    int64_t& left = kept[layer.get<size_t>()];
    left -= static_cast<int64_t>(gone.size());
    if (left == 0)
      Fail(Unsupported("\"pruned_heads\" leaves layer " + key.substr(0, 20) + " no head"));
  }
  return kept;
}

void ConfigReader::RequireDivides(const char* count_key, int64_t count, const char* size_key,
                                  int64_t size) {
  if (size % count != 0) {
    Fail(InvalidData(Quoted(size_key) + " " + std::to_string(size) + " does not divide by " +
                     Quoted(count_key) + " " + std::to_string(count)));
  }
}

}  // namespace thimble
