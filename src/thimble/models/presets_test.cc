#include "thimble/models/presets.h"

#include <gtest/gtest.h>

#include "thimble/models/architecture.h"
#include "thimble/models/testing.h"

namespace thimble {
namespace {

TEST(Presets, AreKnownByName) {
  EXPECT_NE(FindPreset("mobilebert"), nullptr);
  EXPECT_EQ(FindPreset("mobilebert-huge"), nullptr);
}

int64_t Parameters(std::string_view preset) {
  ZeroWeights weights;
  const auto graph = BuildGraph(nlohmann::json::parse(FindPreset(preset)->config), {}, weights);
  EXPECT_TRUE(graph.has_value()) << preset << ": " << graph.error().message();
  return graph.has_value() ? ComputeCost(*graph, {}).parameters : 0;
}

TEST(Presets, Build) {
  for (const Preset& preset : AllPresets()) EXPECT_GT(Parameters(preset.name), 0);
}

// The counts that follow from the papers' tables of sizes, without a head.
TEST(Presets, HaveThePublishedSizes) {
  EXPECT_EQ(Parameters("mobilebert"), 24'581'888);
  EXPECT_EQ(Parameters("mobilebert-tiny"), 15'485'696);
  EXPECT_EQ(Parameters("tinybert-4"), 14'350'248);  // with its pooler
}

TEST(OverrideConfig, ReadsValuesAsJsonAndElseAsText) {
  nlohmann::json config = {{"hidden_size", 128}};
  ASSERT_TRUE(OverrideConfig(config, "hidden_size=64").has_value());
  ASSERT_TRUE(OverrideConfig(config, "hidden_act=relu").has_value());
  ASSERT_TRUE(OverrideConfig(config, "trigram_input=false").has_value());
  EXPECT_EQ(config.dump(), R"({"hidden_act":"relu","hidden_size":64,"trigram_input":false})");
}

TEST(OverrideConfig, RefusesWhatIsNoAssignment) {
  nlohmann::json config;
  for (const char* text : {"", "=3", "hidden_size", "a b=1", "a.b=1"}) {
    EXPECT_EQ(OverrideConfig(config, text).error().code(), ErrorCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace thimble
