#include "thimble/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <utility>

namespace thimble {
namespace {

class File : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "thimble-file-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  size_t FilesInFolder() const {
    size_t n = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_)) ++n;
    return n;
  }

  std::string folder_;
};

TEST_F(File, WritesThenReadsThenMaps) {
  const std::string path = folder_ + "/a";
  Result<AtomicFile> file = AtomicFile::Create(path);
  ASSERT_TRUE(file.has_value());
  ASSERT_TRUE(file->Append("thim").has_value());
  ASSERT_TRUE(file->Append("ble").has_value());
  EXPECT_EQ(file->size(), 7u);
  EXPECT_FALSE(FileExists(path));
  ASSERT_TRUE(file->Commit().has_value());
  EXPECT_EQ(*ReadFile(path), "thimble");
  const Result<MappedFile> mapped = MappedFile::Open(path);
  ASSERT_TRUE(mapped.has_value());
  ASSERT_EQ(mapped->bytes().size(), 7u);
  EXPECT_EQ(static_cast<char>(mapped->bytes()[6]), 'e');
  EXPECT_EQ(FilesInFolder(), 1u);
}

TEST_F(File, LeavesNothingBehindWithoutCommit) {
  {
    Result<AtomicFile> file = AtomicFile::Create(folder_ + "/a");
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE(file->Append("half").has_value());
  }
  EXPECT_EQ(FilesInFolder(), 0u);
}

TEST_F(File, SaysWhatIsWrong) {
  EXPECT_EQ(ReadFile(folder_ + "/none").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(MappedFile::Open(folder_ + "/none").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(ReadFile(folder_).error().code(), ErrorCode::kIo);
  EXPECT_FALSE(AtomicFile::Create(folder_ + "/no/such/folder").has_value());
}

TEST_F(File, SaysWhereGitLfsLeftAPointer) {
  Result<AtomicFile> file = AtomicFile::Create(folder_ + "/model.safetensors");
  ASSERT_TRUE(file->Append("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n")
                  .has_value());
  ASSERT_TRUE(file->Commit().has_value());
  EXPECT_THAT(ReadFile(folder_ + "/model.safetensors").error().message(),
              testing::HasSubstr("git lfs pull"));
  EXPECT_THAT(MappedFile::Open(folder_ + "/model.safetensors").error().message(),
              testing::HasSubstr("git lfs pull"));
}

TEST_F(File, RefusesMoreThanTheLimit) {
  Result<AtomicFile> file = AtomicFile::Create(folder_ + "/a");
  ASSERT_TRUE(file->Append("12345").has_value());
  ASSERT_TRUE(file->Commit().has_value());
  EXPECT_TRUE(ReadFile(folder_ + "/a", 5).has_value());
  EXPECT_EQ(ReadFile(folder_ + "/a", 4).error().code(), ErrorCode::kResourceExhausted);
}

TEST_F(File, MapsAnEmptyFile) {
  Result<AtomicFile> file = AtomicFile::Create(folder_ + "/a");
  ASSERT_TRUE(file->Commit().has_value());
  const Result<MappedFile> mapped = MappedFile::Open(folder_ + "/a");
  ASSERT_TRUE(mapped.has_value());
  EXPECT_TRUE(mapped->bytes().empty());
}

TEST_F(File, LocksAreHeldByOneAndLeaveNothing) {
  const std::string path = folder_ + "/lock";
  const auto give_up = [] { return Status(Error(ErrorCode::kInterrupted, "stop")); };
  {
    const Result<FileLock> held = FileLock::Acquire(path, give_up);
    ASSERT_TRUE(held.has_value());
    const Result<FileLock> second = FileLock::Acquire(path, give_up);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), ErrorCode::kInterrupted);
    EXPECT_TRUE(FileExists(path));
  }
  EXPECT_EQ(FilesInFolder(), 0u);
  EXPECT_TRUE(FileLock::Acquire(path, give_up).has_value());
}

TEST_F(File, WaitsForALock) {
  const std::string path = folder_ + "/lock";
  std::optional<FileLock> held = *FileLock::Acquire(path, [] { return Status(); });
  int calls = 0;
  const auto waiting = [&]() -> Status {
    if (++calls == 2) held.reset();
    return {};
  };
  EXPECT_TRUE(FileLock::Acquire(path, waiting).has_value());
  EXPECT_EQ(calls, 2);
}

TEST_F(File, ALockNeedsAFolder) {
  EXPECT_FALSE(FileLock::Acquire(folder_ + "/missing/lock", [] { return Status(); }).has_value());
}

}  // namespace
}  // namespace thimble
