// Attributes of operations as name and value: the values that Visit meets, under names that stay
// the same when enumerations grow.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "thimble/graph/ops.h"

namespace thimble {

inline std::string_view EnumName(Activation value) { return ActivationName(value); }
inline void EnumFromName(std::string_view name, std::optional<Activation>& value) {
  value = ActivationFromName(name);
}

inline constexpr std::array<std::string_view, 2> kPoolKindNames = {"first", "mean"};
inline std::string_view EnumName(PoolKind value) {
  return kPoolKindNames[static_cast<size_t>(value)];
}
inline void EnumFromName(std::string_view name, std::optional<PoolKind>& value) {
  for (size_t i = 0; i < kPoolKindNames.size(); ++i) {
    if (kPoolKindNames[i] == name) value = static_cast<PoolKind>(i);
  }
}

// The alternative that stands at `index` of Attributes, with default values.
template <size_t... I>
Attributes MakeAttributes(size_t index, std::index_sequence<I...>) {
  Attributes attributes;
  ((index == I ? void(attributes.emplace<I>()) : void()), ...);
  return attributes;
}
inline Attributes MakeAttributes(size_t index) {
  return MakeAttributes(index, std::make_index_sequence<std::variant_size_v<Attributes>>());
}

}  // namespace thimble
