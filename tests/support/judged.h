// Exported files run by others: fixtures that skip where Node or the npm package of a runtime is missing. Names of tests
// begin with Judged: nothing is learned from running somebody else's program again beside a sanitizer.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace thimble {

class Judged : public testing::Test {
 protected:
  explicit Judged(const char* package) : package_(package) {}

  void SetUp() override {
    const char* npm = std::getenv("THIMBLE_NPM");
    npm_ = npm != nullptr ? npm : THIMBLE_SOURCE_DIR "/build/npm";
    if (!std::filesystem::exists(npm_ + "/node_modules/" + package_)) {
      GTEST_SKIP() << "no " << package_ << " in " << npm_ << ": sh tools/judges.sh fetches it";
    }
    if (std::system("node --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no node";
    std::string pattern = testing::TempDir() + "thimble-judged-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  // Whether exported files agree with recordings; `arguments` are those of tools/check_export.mjs.
  bool Agrees(const std::string& arguments) const {
    const std::string command =
        "node " THIMBLE_SOURCE_DIR "/tools/check_export.mjs --npm " + npm_ + " " + arguments;
    return std::system(command.c_str()) == 0;
  }

  std::string package_, npm_, folder_;
};

class JudgedByLiteRt : public Judged {
 protected:
  JudgedByLiteRt() : Judged("@litertjs/core") {}
};

class JudgedByOnnxRuntime : public Judged {
 protected:
  JudgedByOnnxRuntime() : Judged("onnxruntime-node") {}
};

}  // namespace thimble
