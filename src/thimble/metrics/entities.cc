#include "thimble/metrics/entities.h"

namespace thimble {
namespace {

struct Tag {
  char place = 'O';  // B, I, E, S or O
  std::string_view type;
};

Tag TagOf(std::string_view label) {
  if (label == "O" || label.empty()) return {};
  const bool prefix = std::string_view("BIES").find(label[0]) != std::string_view::npos;
  if (prefix && label.size() == 1) return {label[0], "_"};
  if (prefix && label[1] == '-') return {label[0], label.substr(2)};
  return {'I', label};
}

// Whether an entity that `before` belongs to ends there, and whether one begins at `now`.
bool Ends(Tag before, Tag now) {
  if (before.place == 'O') return false;
  if (before.place == 'E' || before.place == 'S') return true;
  return now.place == 'B' || now.place == 'S' || now.place == 'O' || before.type != now.type;
}

bool Begins(Tag before, Tag now) {
  if (now.place == 'O') return false;
  if (now.place == 'B' || now.place == 'S') return true;
  return before.place == 'E' || before.place == 'S' || before.place == 'O' ||
         before.type != now.type;
}

}  // namespace

std::vector<Entity> EntitiesOf(std::span<const std::string_view> labels) {
  std::vector<Entity> entities;
  Tag before;
  size_t begin = 0;
  for (size_t i = 0; i <= labels.size(); ++i) {
    const Tag now = i < labels.size() ? TagOf(labels[i]) : Tag{};
    if (Ends(before, now)) entities.push_back({std::string(before.type), begin, i});
    if (Begins(before, now)) begin = i;
    before = now;
  }
  return entities;
}

}  // namespace thimble
