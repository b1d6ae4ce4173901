#include "thimble/graph/task.h"

#include <gtest/gtest.h>

namespace thimble {
namespace {

TEST(Task, IsFoundByTheNameThatFilesCarry) {
#define TASK(enumerator, name)                 \
  EXPECT_EQ(TaskName(Task::enumerator), name); \
  EXPECT_EQ(TaskFromName(name), Task::enumerator);
#include "thimble/graph/tasks.inc"
#undef TASK
  EXPECT_EQ(TaskFromName("translation"), std::nullopt);
}

}  // namespace
}  // namespace thimble
