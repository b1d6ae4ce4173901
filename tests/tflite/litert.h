// LiteRT as a judge: a fixture that skips where Node or the npm package @litertjs/core is missing.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace thimble {

class LiteRt : public testing::Test {
 protected:
  void SetUp() override {
    const char* npm = std::getenv("THIMBLE_NPM");
    npm_ = npm != nullptr ? npm : THIMBLE_SOURCE_DIR "/build/npm";
    if (!std::filesystem::exists(npm_ + "/node_modules/@litertjs/core")) {
      GTEST_SKIP() << "no @litertjs/core in " << npm_ << ": npm install --ignore-scripts --prefix "
                   << npm_ << " @litertjs/core@2.5.3 fetches it (THIMBLE_NPM names another folder)";
    }
    if (std::system("node --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no node";
    std::string pattern = testing::TempDir() + "thimble-tflite-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  // Whether LiteRT agrees with recordings; `arguments` are those of tools/check_tflite.mjs.
  bool Agrees(const std::string& arguments) const {
    const std::string command =
        "node " THIMBLE_SOURCE_DIR "/tools/check_tflite.mjs --npm " + npm_ + " " + arguments;
    return std::system(command.c_str()) == 0;
  }

  std::string npm_, folder_;
};

}  // namespace thimble
