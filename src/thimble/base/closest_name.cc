#include "thimble/base/closest_name.h"

#include <algorithm>
#include <vector>

namespace thimble {
namespace {

// Optimal string alignment distance, three rows at a time.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = above[j - 1] + (a[i - 1] != b[j - 1]);
      row[j] = std::min({replace, above[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

}  // namespace

std::optional<std::string> ClosestName(std::string_view given, std::span<const std::string> names) {
  constexpr size_t kLongest = 64;  // nobody mistypes more, and the distance costs length squared
  if (given.empty() || given.size() > kLongest) return std::nullopt;
  std::optional<std::string> best;
  size_t best_distance = std::max<size_t>(1, (given.size() - 1) / 2) + 1;
  for (const std::string& name : names) {
    const bool prefix = given.size() >= 2 && name.starts_with(given);
    const size_t distance = prefix ? 1 : EditDistance(given, name);
    if (distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace thimble
