// Every text golden, exported and run in ONNX Runtime, against what the original computed.
#include "tests/onnx/onnx_runtime.h"
#include "tests/support/golden_runner.h"
#include "tests/support/shared.h"
#include "thimble/formats/onnx/export.h"
#include "thimble/passes/passes.h"

namespace thimble {
namespace {

class OnnxGoldens : public OnnxRuntime {
 protected:
  // Exports each golden after `pass` (empty: as it is) and runs them all.
  void Check(std::string_view pass, int opset, const char* tolerance) {
    std::string pairs;
    for (const auto& golden : GoldenFolders("expected.safetensors", TextModels())) {
      if (std::filesystem::exists(golden / "recipe.json")) continue;
      Result<GoldenCase> loaded = LoadGoldenCase(golden);
      ASSERT_TRUE(loaded.has_value()) << loaded.error().message();
      Model model;
      model.architecture = golden.filename();
      model.graph = std::move(loaded->graph);
      if (!pass.empty()) {
        Result<Graph> passed = RunPass(*FindPass(pass), model.graph);
        ASSERT_TRUE(passed.has_value()) << passed.error().message();
        model.graph = *std::move(passed);
      }
      const std::string file = folder_ + "/" + model.architecture + ".onnx";
      // Of signed codes ONNX Runtime's products saturate where a processor has no VNNI.
      const Status exported =
          ExportOnnx(model, file, {.opset = opset, .codes = OnnxCodes::kUnsigned});
      ASSERT_TRUE(exported.has_value()) << exported.error().message();
      pairs += " " + file + " " + (golden / "expected.safetensors").string();
    }
    if (pairs.empty()) {
      GTEST_SKIP() << "no goldens: set THIMBLE_SHARED to the folder that holds goldens/hf";
    }
    EXPECT_TRUE(Agrees(pairs, tolerance));
  }
};

TEST_F(OnnxGoldens, AgreeInFloat32) { Check("", 17, "2e-5"); }
TEST_F(OnnxGoldens, AgreeInTheOldestOpset) { Check("", 13, "2e-5"); }
TEST_F(OnnxGoldens, AreCloseWithFloat16Weights) { Check("weights_to_f16", 17, "1e-2"); }
// Random weights, and activations quantized per tensor by ONNX Runtime: sane is what is asked.
TEST_F(OnnxGoldens, AreSaneInInt8) { Check("weights_to_int8", 17, "0.15"); }

}  // namespace
}  // namespace thimble
