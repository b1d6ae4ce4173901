// "Did you mean": the known name that was probably meant.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace thimble {

// The name that fewest edits (insert, remove, replace, swap neighbours) make of `given`; none where
// that would change about half of it or more. A name that begins with `given` is one edit away.
std::optional<std::string> ClosestName(std::string_view given, std::span<const std::string> names);

}  // namespace thimble
