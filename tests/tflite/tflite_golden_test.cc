// Every text golden, exported and run in LiteRT, against what the original computed.
#include <set>

#include "tests/support/golden_runner.h"
#include "tests/support/shared.h"
#include "tests/tflite/litert.h"
#include "thimble/formats/tflite/export.h"
#include "thimble/passes/passes.h"

namespace thimble {
namespace {

class TfliteGoldens : public LiteRt {
 protected:
  // Exports each golden after `pass` (empty: as it is), once for each length of its runs or for the longest, and runs
  // them all.
  enum class Lengths : uint8_t { kAll, kLongest };
  void Check(std::string_view pass, Lengths which, const std::string& judgement) {
    std::string pairs;
    for (const auto& golden : StoredTextCases()) {
      Result<GoldenCase> loaded = LoadGoldenCase(golden);
      ASSERT_TRUE(loaded.has_value()) << loaded.error().message();
      Model model;
      model.architecture = golden.filename();
      if (loaded->runs[0].outputs[0].name == "start_logits") model.task = Task::kAnswers;
      model.graph = std::move(loaded->graph);
      if (!pass.empty()) {
        Result<Graph> passed = RunPass(*FindPass(pass), model.graph);
        ASSERT_TRUE(passed.has_value()) << passed.error().message();
        model.graph = *std::move(passed);
      }
      std::set<size_t> lengths;
      for (const GoldenRun& run : loaded->runs) lengths.insert(run.length);
      if (which == Lengths::kLongest) lengths = {*lengths.rbegin()};
      for (const size_t length : lengths) {
        const std::string file =
            folder_ + "/" + model.architecture + "-" + std::to_string(length) + ".tflite";
        const Status exported =
            ExportTflite(model, file, {.sequence = static_cast<int64_t>(length), .hidden = true});
        ASSERT_TRUE(exported.has_value()) << exported.error().message();
        pairs += " " + file + " " + (golden / "expected.safetensors").string();
      }
    }
    if (pairs.empty()) {
      GTEST_SKIP() << "no goldens: set THIMBLE_SHARED to the folder that holds goldens/hf";
    }
    EXPECT_TRUE(Agrees(judgement + pairs));
  }
};

TEST_F(TfliteGoldens, AgreeInFloat32) { Check("", Lengths::kAll, "--tolerance 1e-4"); }
TEST_F(TfliteGoldens, AreCloseWithFloat16Weights) {
  Check("weights_to_f16", Lengths::kLongest, "--tolerance 1e-2");
}
// Random weights, and activations quantized as they come.
TEST_F(TfliteGoldens, AreSaneInInt8) {
  Check("weights_to_int8", Lengths::kLongest, "--tolerance 0.15");
}

}  // namespace
}  // namespace thimble
