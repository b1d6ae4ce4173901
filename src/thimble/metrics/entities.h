// Entities from word labels, as seqeval's default mode reads them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace thimble {

struct Entity {
  std::string type;
  size_t begin = 0, end = 0;  // words
  auto operator<=>(const Entity&) const = default;
};

// Labels are O, B-x, I-x, E-x, S-x (IOB1, IOB2 and BIOES alike); a label without such a prefix is an entity
// type of its own and neighbours of one type are one entity.
std::vector<Entity> EntitiesOf(std::span<const std::string_view> labels);

}  // namespace thimble
