#include "thimble/base/directory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace thimble {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFiles[] = {"a", "b"};

class Directory : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "thimble-directory-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/out";
  }
  void TearDown() override { fs::remove_all(folder_); }

  static void Touch(const std::string& path) { std::ofstream(path) << "x"; }
  Status Write(const std::string& path, const char* file) {
    TRY(AtomicDirectory directory, AtomicDirectory::Create(path, kFiles));
    Touch(directory.temporary() + "/" + file);
    return directory.Commit();
  }
  static size_t Count(const std::string& folder) {
    size_t n = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder)) ++n;
    return n;
  }

  std::string folder_, path_;
};

TEST_F(Directory, AppearsWhole) {
  ASSERT_TRUE(Write(path_ + "/", "a").has_value());
  EXPECT_TRUE(fs::exists(path_ + "/a"));
  EXPECT_EQ(Count(folder_), 1u);
}

TEST_F(Directory, LeavesNothingBehindWithoutCommit) {
  {
    const Result<AtomicDirectory> directory = AtomicDirectory::Create(path_, kFiles);
    ASSERT_TRUE(directory.has_value());
    Touch(directory->temporary() + "/a");
  }
  EXPECT_EQ(Count(folder_), 0u);
}

TEST_F(Directory, ReplacesAnEmptyOneAndItsOwn) {
  fs::create_directory(path_);
  ASSERT_TRUE(Write(path_, "a").has_value());
  ASSERT_TRUE(Write(path_, "b").has_value());
  EXPECT_FALSE(fs::exists(path_ + "/a"));
  EXPECT_TRUE(fs::exists(path_ + "/b"));
  EXPECT_EQ(Count(folder_), 1u);
}

TEST_F(Directory, LeavesWhatIsNotItsOwn) {
  fs::create_directory(path_);
  Touch(path_ + "/thesis");
  const Status status = Write(path_, "a");
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(status.error().message().find("'thesis'"), std::string::npos);
  EXPECT_EQ(Count(path_), 1u);
  EXPECT_FALSE(Write(path_ + "/thesis", "a").has_value());
  EXPECT_FALSE(Write(folder_ + "/none/out", "a").has_value());
  EXPECT_EQ(Count(folder_), 1u);
}

}  // namespace
}  // namespace thimble
