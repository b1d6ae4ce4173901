#include "thimble/pipeline/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "thimble/base/file.h"
#include "thimble/pipeline/files.h"

namespace thimble::pipeline {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Json = nlohmann::ordered_json;

// A thimble whose models are files of three words: score, milliseconds, and what they were made from. Making a model
// takes its words from --score and --ms.
class FakeThimble {
 public:
  Result<int> Run(const std::vector<std::string>& call, const std::string& out,
                  const std::string& log) {
    std::ofstream stdout_file(out), stderr_file(log);
    if (call.back() == "--help") {
      stdout_file << "--score\n--ms\n--teacher\n--corpus\n--opset\n";
      return 0;
    }
    calls.push_back(call[0]);
    commands.push_back(call);
    const auto script = exit_codes.find(call[0]);
    if (script != exit_codes.end() && script->second != 0) {
      if (script->second == 130) std::ofstream(Output(call) + ".checkpoint") << "half";
      stderr_file << "a note\nthimble: " << call[0] << ": went wrong\n";
      return script->second;
    }
    const std::map<std::string, std::string> options = OptionsOf(call);
    const std::string& verb = call[0];
    if (verb == "inspect") {
      stdout_file
          << R"({"parameters": 10, "task": "single_label", "nodes": [{"name": "l", "params": 10}]})";
    } else if (verb == "eval") {
      stdout_file << R"({"main": "accuracy", "metrics": {"accuracy": )" << Words(call[1])[0]
                  << "}}";
    } else if (verb == "bench") {
      stdout_file << R"({"p50_ms": )" << Words(call[1])[1] << "}";
    } else if (verb == "prune") {
      std::filesystem::create_directories(options.at("-o"));
      // Two models: as asked, and one of half the time that has lost half.
      Write(options.at("-o") + "/a.thimble", options.at("--score"), options.at("--ms"));
      Write(options.at("-o") + "/b.thimble", "0.2", "0.5");
      stdout_file << R"({"targets": [1, 2]})";
    } else if (verb == "vocab" || verb == "export") {
      std::ofstream(options.at("-o")) << verb;
      stdout_file << "{}";
    } else {
      Write(options.at("-o"), options.at("--score"), options.at("--ms"));
      stdout_file << "a progress line\n{\"verb\": \"" << verb << "\"}\n";
    }
    return 0;
  }

  static std::vector<std::string> Words(const std::string& path) {
    std::ifstream file(path);
    return {std::istream_iterator<std::string>(file), {}};
  }

  std::vector<std::string> calls;
  std::vector<std::vector<std::string>> commands;
  std::map<std::string, int> exit_codes;

 private:
  static void Write(const std::string& path, const std::string& score, const std::string& ms) {
    std::ofstream(path) << score << ' ' << ms << '\n';
  }

  static std::map<std::string, std::string> OptionsOf(const std::vector<std::string>& call) {
    std::map<std::string, std::string> options;
    for (size_t i = 0; i + 1 < call.size(); ++i) {
      if (call[i].starts_with('-')) options[call[i]] = call[i + 1];
    }
    return options;
  }

  static std::string Output(const std::vector<std::string>& call) { return OptionsOf(call)["-o"]; }
};

class PipelineTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "pipeline_test";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    Write("valid.tsv", "valid");
    Write("train.tsv", "train");
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
  }

  Result<PipelineResult> Run(const std::string& recipe, bool resume = false, bool force = false) {
    Write("r.toml", "[files]\nvalid = 'valid.tsv'\ntrain = 'train.tsv'\n" + recipe);
    TRY(const Recipe read, ReadRecipe(folder_ + "/r.toml"));
    thimble_.calls.clear();
    thimble_.commands.clear();
    told_.clear();
    return RunPipeline(read,
                       {.folder = folder_ + "/out",
                        .version = version_,
                        .machine = machine_,
                        .resume = resume,
                        .force = force,
                        .run = [this](const auto& call, const auto& out,
                                      const auto& log) { return thimble_.Run(call, out, log); },
                        .tell = [this](const std::string& line) { told_.push_back(line); },
                        .check_interrupt = [] { return Status(); }});
  }

  // The steps' own calls, without those that judge models.
  std::vector<std::string> Steps() const {
    std::vector<std::string> steps;
    for (const std::string& call : thimble_.calls) {
      if (call != "inspect" && call != "eval" && call != "bench") steps.push_back(call);
    }
    return steps;
  }

  FakeThimble thimble_;
  std::vector<std::string> told_;
  std::string folder_, version_ = "1", machine_ = "here";
};

constexpr const char* kTeacher = R"(
[[step]]
name = "teacher"
verb = "train"
options = { score = 0.8, ms = 4, teacher = "{train}" }
)";

std::string Quantize(const std::string& score, const std::string& limits = "max-loss = 0.01") {
  return "[[step]]\nverb = 'quantize'\n" + limits + "\noptions = { score = " + score +
         ", ms = 2 }\n";
}

TEST_F(PipelineTest, KeepsWhatIsWithinTheBudget) {
  const auto result =
      Run(kTeacher + Quantize("0.796") + "[[step]]\nverb = 'export'\noutput = 'm.onnx'\n");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_TRUE(result->met);
  const Json& pass = result->report["passes"][0];
  EXPECT_EQ(pass["steps"][0]["decision"], "kept");
  EXPECT_EQ(pass["steps"][1]["decision"], "kept");
  EXPECT_NEAR(pass["steps"][1]["loss"].get<double>(), 0.005, 1e-9);
  EXPECT_EQ(pass["steps"][2]["decision"], "done");
  EXPECT_EQ(pass["result"]["faster"], 2);
  EXPECT_EQ(result->report["metric"], "accuracy");
  EXPECT_EQ(FakeThimble::Words(folder_ + "/out/model.thimble")[0], "0.796");
  EXPECT_EQ(*ReadFile(folder_ + "/out/m.onnx"), "export");
  // The report on disk is the one returned, and names the calls that made it.
  const Json disk = Json::parse(*ReadFile(folder_ + "/out/report.json"));
  EXPECT_EQ(disk, result->report);
  const Json& command = pass["steps"][0]["attempts"][0]["command"];
  EXPECT_EQ(command[0], "train");
  EXPECT_THAT(command, Contains(folder_ + "/train.tsv"));
}

TEST_F(PipelineTest, RollsBackToTheVeryModelBefore) {
  const auto result =
      Run(kTeacher + Quantize("0.7") + "[[step]]\nverb = 'export'\noutput = 'm.onnx'\n");
  ASSERT_TRUE(result) << result.error().message();
  const Json& steps = result->report["passes"][0]["steps"];
  EXPECT_EQ(steps[1]["decision"], "rolled back");
  EXPECT_EQ(steps[1]["reason"], "loses 12.50 % of accuracy, more than 1 %");
  EXPECT_THAT(told_, Contains("quantize: rolled back: loses 12.50 % of accuracy, more than 1 %"));
  EXPECT_EQ(result->report["passes"][0]["result"]["sha256"], steps[0]["model"]["sha256"]);
  EXPECT_EQ(Json(*ContentHash(folder_ + "/out/model.thimble")), steps[0]["model"]["sha256"]);
  for (const auto& call : thimble_.commands) {
    if (call[0] == "export") {
      EXPECT_EQ(Json(call[1]), steps[0]["model"]["path"]);
    }
  }
}

TEST_F(PipelineTest, ALimitThatAVerbMissesRollsBackToo) {
  thimble_.exit_codes["quantize"] = 3;
  const auto result = Run(kTeacher + Quantize("0.8"));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->report["passes"][0]["steps"][1]["decision"], "rolled back");
  EXPECT_EQ(result->report["passes"][0]["steps"][1]["reason"], "quantize: went wrong");
}

TEST_F(PipelineTest, ASecondRunMakesNothing) {
  const auto first = Run(kTeacher + Quantize("0.8"));
  ASSERT_TRUE(first) << first.error().message();
  const auto second = Run(kTeacher + Quantize("0.8"));
  ASSERT_TRUE(second);
  EXPECT_THAT(thimble_.calls, IsEmpty());
  EXPECT_EQ(second->report["passes"][0]["result"], first->report["passes"][0]["result"]);
  EXPECT_EQ(second->report["spent"]["cpu_seconds"], first->report["spent"]["cpu_seconds"]);
}

TEST_F(PipelineTest, MakesWhatChangedAndWhatDependsOnIt) {
  ASSERT_TRUE(Run(kTeacher + Quantize("0.8")));
  ASSERT_TRUE(Run(kTeacher + Quantize("0.799")));
  EXPECT_THAT(Steps(), ElementsAre("quantize"));  // an option
  Write("train.tsv", "other");
  ASSERT_TRUE(Run(kTeacher + Quantize("0.799")));
  // A file; the model that comes out is the same, so that what follows is known.
  EXPECT_THAT(Steps(), ElementsAre("train"));
  Write("valid.tsv", "other");
  ASSERT_TRUE(Run(kTeacher + Quantize("0.799")));
  EXPECT_THAT(Steps(), IsEmpty());
  EXPECT_THAT(thimble_.calls, Contains("eval"));
  machine_ = "elsewhere";
  ASSERT_TRUE(Run(kTeacher + Quantize("0.799")));
  EXPECT_THAT(Steps(), ElementsAre("quantize"));  // what it does depends on time
  EXPECT_THAT(thimble_.calls, Contains("bench"));
  EXPECT_THAT(thimble_.calls, Not(Contains("eval")));
  version_ = "2";
  ASSERT_TRUE(Run(kTeacher + Quantize("0.799")));
  EXPECT_THAT(Steps(), ElementsAre("train", "quantize"));
}

TEST_F(PipelineTest, NamesOfStepsAndFilesDoNotCount) {
  ASSERT_TRUE(Run(kTeacher));
  std::string renamed = kTeacher;
  renamed.replace(renamed.find("\"teacher\""), 9, "\"other\"");
  ASSERT_TRUE(Run(renamed));
  EXPECT_THAT(thimble_.calls, IsEmpty());
}

TEST_F(PipelineTest, AnOutputThatWasChangedIsMadeAgain) {
  const auto first = Run(kTeacher);
  ASSERT_TRUE(first);
  const std::string path = first->report["passes"][0]["steps"][0]["model"]["path"];
  std::ofstream(path) << "0.1 0.1";
  const auto second = Run(kTeacher);
  ASSERT_TRUE(second);
  EXPECT_THAT(Steps(), ElementsAre("train"));
  EXPECT_EQ(second->report["passes"][0]["result"], first->report["passes"][0]["result"]);
}

TEST_F(PipelineTest, ResumesWhereItWasInterrupted) {
  const auto whole = Run(kTeacher + Quantize("0.8"));
  ASSERT_TRUE(whole);
  std::filesystem::remove_all(folder_ + "/out");

  thimble_.exit_codes["train"] = 130;
  const auto stopped = Run(kTeacher + Quantize("0.8"));
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code(), ErrorCode::kInterrupted);
  EXPECT_THAT(stopped.error().message(), HasSubstr("step teacher; the same call with --resume"));
  thimble_.exit_codes.clear();
  const auto resumed = Run(kTeacher + Quantize("0.8"), /*resume=*/true);
  ASSERT_TRUE(resumed) << resumed.error().message();
  EXPECT_THAT(thimble_.commands[0], Contains("--resume"));
  EXPECT_EQ(resumed->report["passes"][0]["result"], whole->report["passes"][0]["result"]);
  // The command in the report is the one to call, without --resume.
  EXPECT_THAT(resumed->report["passes"][0]["steps"][0]["attempts"][0]["command"],
              Not(Contains("--resume")));
}

TEST_F(PipelineTest, WithoutResumeAnInterruptedStepBeginsAnew) {
  thimble_.exit_codes["train"] = 130;
  ASSERT_FALSE(Run(kTeacher));
  thimble_.exit_codes.clear();
  const auto result = Run(kTeacher);
  ASSERT_TRUE(result);
  EXPECT_THAT(thimble_.commands[0], Not(Contains("--resume")));
  const std::string path = result->report["passes"][0]["steps"][0]["model"]["path"];
  EXPECT_FALSE(FileExists(path + ".checkpoint"));
}

TEST_F(PipelineTest, AFailureIsToldOnceAndKeepsWhatWasMade) {
  thimble_.exit_codes["quantize"] = 1;
  const auto failed = Run(kTeacher + Quantize("0.8"));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message(), "step quantize: quantize: went wrong");
  thimble_.exit_codes.clear();
  ASSERT_TRUE(Run(kTeacher + Quantize("0.8")));
  EXPECT_THAT(Steps(), ElementsAre("quantize"));
}

TEST_F(PipelineTest, TriesInTurnUntilOneHolds) {
  const auto result = Run(std::string(kTeacher) + R"(
[[step]]
verb = "distill"
max-loss = 0.01
try = [ { score = 0.5, ms = 1 }, { score = 0.797, ms = 2 }, { score = 0.8, ms = 3 } ]
)");
  ASSERT_TRUE(result) << result.error().message();
  const Json& step = result->report["passes"][0]["steps"][1];
  EXPECT_EQ(step["decision"], "kept");
  EXPECT_EQ(step["attempts"].size(), 2);
  EXPECT_EQ(step["model"]["score"], 0.797);
}

TEST_F(PipelineTest, OfAFamilyTheFastestWithinTheBudgetIsKept) {
  const auto result =
      Run(std::string(kTeacher) +
          "[[step]]\nverb = 'prune'\nmax-loss = 0.01\noptions = { score = 0.799, ms = 2 }\n");
  ASSERT_TRUE(result) << result.error().message();
  const Json& step = result->report["passes"][0]["steps"][1];
  EXPECT_EQ(step["attempts"][0]["models"].size(), 2);
  EXPECT_EQ(step["model"]["p50_ms"], 2);
}

TEST_F(PipelineTest, APartIsTimedNotJudged) {
  const std::string recipe = R"(
[[step]]
name = "size"
verb = "train"
part = true
max-ms = 2
try = [ { score = 0, ms = 3 }, { score = 0, ms = 1.5 } ]
[[step]]
verb = "distill"
options = { score = 0.7, ms = 1.5, teacher = "{size}" }
)";
  const auto result = Run(recipe);
  ASSERT_TRUE(result) << result.error().message();
  const Json& steps = result->report["passes"][0]["steps"];
  EXPECT_EQ(steps[0]["decision"], "part");
  EXPECT_EQ(steps[0]["model"]["p50_ms"], 1.5);
  EXPECT_FALSE(steps[0]["model"].contains("score"));
  EXPECT_EQ(result->report["passes"][0]["reference"]["score"], 0.7);
  EXPECT_THAT(steps[1]["attempts"][0]["command"], Contains(steps[0]["model"]["path"]));

  std::string slow = recipe;
  slow.replace(slow.find("max-ms = 2"), 10, "max-ms = 1");
  const auto none = Run(slow);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), ErrorCode::kLimitNotMet);
  EXPECT_THAT(none.error().message(), HasSubstr("step size: takes 1.500 ms, more than 1"));
}

TEST_F(PipelineTest, VariesUntilTheLimitsAreMet) {
  const std::string steps =
      std::string(kTeacher) +
      "[[step]]\nverb = 'factorize'\noptions = { score = 0.8, ms = '{target}' }\n";
  const auto met = Run("[limits]\nmin-faster = 2\n[vary]\ntarget = [3, 2, 1]\n" + steps);
  ASSERT_TRUE(met) << met.error().message();
  EXPECT_TRUE(met->met);
  EXPECT_EQ(met->report["chosen"], 1);
  EXPECT_THAT(Steps(), ElementsAre("train", "factorize", "factorize"));
  EXPECT_EQ(met->report["passes"][0]["missed"][0], "is 1.33 times faster, the limit is 2");
  EXPECT_EQ(FakeThimble::Words(folder_ + "/out/model.thimble")[1], "2");
}

TEST_F(PipelineTest, AMissedLimitWritesTheReportAlone) {
  const std::string recipe =
      "[limits]\nmax-loss = 0.01\nmax-ms = 1\nmax-bytes = 3\nmin-smaller = 5\n" +
      (kTeacher + Quantize("0.7", ""));
  const auto missed = Run(recipe);
  ASSERT_TRUE(missed) << missed.error().message();
  EXPECT_FALSE(missed->met);
  EXPECT_THAT(missed->missed,
              HasSubstr("loses 12.50 % of accuracy, the limit is 1 %; takes 2.000 ms"));
  EXPECT_EQ(missed->report["passes"][0]["missed"].size(), 4);
  EXPECT_TRUE(FileExists(folder_ + "/out/report.json"));
  EXPECT_FALSE(FileExists(folder_ + "/out/model.thimble"));
  const auto forced = Run(recipe, /*resume=*/false, /*force=*/true);
  ASSERT_TRUE(forced);
  EXPECT_FALSE(forced->met);
  EXPECT_TRUE(FileExists(folder_ + "/out/model.thimble"));
}

TEST_F(PipelineTest, AnUnknownOptionIsFoundBeforeTheFirstStep) {
  const auto result =
      Run(std::string(kTeacher) + "[[step]]\nverb = 'quantize'\noptions = { skore = 1 }\n");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(),
              HasSubstr("line 11: thimble quantize has no option 'skore', did you mean 'score'?"));
  EXPECT_THAT(thimble_.calls, IsEmpty());
}

TEST(ContentHash, OfAFolderDependsOnNamesAndContents) {
  const std::string folder = testing::TempDir() + "content_hash";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder + "/sub");
  std::ofstream(folder + "/sub/a") << "1";
  std::ofstream(folder + "/empty");
  const std::string before = *ContentHash(folder);
  EXPECT_EQ(*ContentHash(folder), before);
  EXPECT_EQ(*ContentBytes(folder), 1);
  std::filesystem::rename(folder + "/sub/a", folder + "/sub/b");
  EXPECT_NE(*ContentHash(folder), before);
  std::filesystem::rename(folder + "/sub/b", folder + "/sub/a");
  EXPECT_EQ(*ContentHash(folder), before);
  std::ofstream(folder + "/sub/a") << "2";
  EXPECT_NE(*ContentHash(folder), before);
  EXPECT_FALSE(ContentHash(folder + "/none"));
}

}  // namespace
}  // namespace thimble::pipeline
