// ONNX Runtime as a judge: a fixture that skips where Node or the npm package onnxruntime-node is
// missing.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace thimble {

class OnnxRuntime : public testing::Test {
 protected:
  void SetUp() override {
    const char* npm = std::getenv("THIMBLE_NPM");
    npm_ = npm != nullptr ? npm : THIMBLE_SOURCE_DIR "/build/npm";
    if (!std::filesystem::exists(npm_ + "/node_modules/onnxruntime-node")) {
      GTEST_SKIP() << "no onnxruntime-node in " << npm_ << " (THIMBLE_NPM names another folder)";
    }
    if (std::system("node --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no node";
    std::string pattern = testing::TempDir() + "thimble-onnx-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  // Whether ONNX Runtime agrees with recordings; `pairs` are arguments of tools/check_onnx.mjs.
  bool Agrees(const std::string& pairs, const char* tolerance) const {
    const std::string command = "node " THIMBLE_SOURCE_DIR "/tools/check_onnx.mjs " + pairs +
                                " --npm " + npm_ + " --tolerance " + tolerance;
    return std::system(command.c_str()) == 0;
  }

  std::string npm_, folder_;
};

}  // namespace thimble
