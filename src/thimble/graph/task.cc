#include "thimble/graph/task.h"

#include <iterator>

namespace thimble {
namespace {

constexpr std::string_view kTaskNames[] = {
#define TASK(enumerator, name) name,
#include "thimble/graph/tasks.inc"
#undef TASK
};

}  // namespace

std::string_view TaskName(Task task) { return kTaskNames[static_cast<size_t>(task)]; }

std::optional<Task> TaskFromName(std::string_view name) {
  for (size_t i = 0; i < std::size(kTaskNames); ++i) {
    if (kTaskNames[i] == name) return static_cast<Task>(i);
  }
  return std::nullopt;
}

}  // namespace thimble
