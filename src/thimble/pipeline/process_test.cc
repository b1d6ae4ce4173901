#include "thimble/pipeline/process.h"

#include <gtest/gtest.h>

#include "thimble/base/file.h"

namespace thimble::pipeline {
namespace {

Status GoOn() { return {}; }

class ProcessTest : public testing::Test {
 protected:
  Result<int> Run(const std::string& script, const std::function<Status()>& waiting = GoOn) {
    return RunProcess({"/bin/sh", "-c", script}, out_, err_, waiting);
  }

  std::string out_ = testing::TempDir() + "process_test.out";
  std::string err_ = testing::TempDir() + "process_test.err";
};

TEST_F(ProcessTest, KeepsWhatTheProgramSays) {
  const auto result = Run("echo said; echo told >&2; cat; exit 3");  // cat: there is no input
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(*result, 3);
  EXPECT_EQ(*ReadFile(out_), "said\n");
  EXPECT_EQ(*ReadFile(err_), "told\n");
}

TEST_F(ProcessTest, PassesAnInterruptOnAndWaits) {
  const auto interrupt = [] { return Status(Error(ErrorCode::kInterrupted, "stop")); };
  const auto result =
      Run("trap 'echo cleaned; exit 130' INT; while :; do sleep 0.01; done", interrupt);
  // The interrupt may come before the trap is set.
  if (result) {
    EXPECT_EQ(*result, 130);
    EXPECT_EQ(*ReadFile(out_), "cleaned\n");
  } else {
    EXPECT_EQ(result.error().code(), ErrorCode::kInterrupted);
  }
}

TEST_F(ProcessTest, ASignalAndAMissingProgramAreErrors) {
  const auto killed = Run("kill -9 $$");
  ASSERT_FALSE(killed);
  EXPECT_EQ(killed.error().message(), "/bin/sh was ended by signal 9 (out of memory?)");
  const auto missing = RunProcess({"/nowhere/program"}, out_, err_, GoOn);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace thimble::pipeline
