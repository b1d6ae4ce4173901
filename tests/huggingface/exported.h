// A model's way out to a Hugging Face directory and back.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "thimble/formats/huggingface/export.h"
#include "thimble/formats/huggingface/import.h"
#include "thimble/formats/safetensors/safetensors.h"

namespace thimble {

class Exported : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "thimble-export-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    directory_ = folder_ + "/model";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Exports and imports again.
  Result<HuggingFaceImport> ThereAndBack(const Model& model,
                                         PrunedHeads heads = PrunedHeads::kNamed) {
    TRY(exported_, ExportHuggingFace(model, directory_, heads));
    return ImportHuggingFace(directory_);
  }
  std::string Text(const char* file) const {
    std::stringstream text;
    text << std::ifstream(directory_ + "/" + file).rdbuf();
    return text.str();
  }
  nlohmann::json Config() const { return nlohmann::json::parse(Text("config.json")); }
  SafetensorsFile Weights() const { return *OpenSafetensors(directory_ + "/model.safetensors"); }

  std::string folder_, directory_;
  HuggingFaceExport exported_;
};

}  // namespace thimble
