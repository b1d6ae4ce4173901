#include "thimble/pipeline/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace thimble::pipeline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RecipeTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "recipe_test";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    Write("valid.tsv", "text\tlabel\na\tb\n");
  }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }

  Result<Recipe> Read(const std::string& text) { return ReadRecipe(Write("r.toml", text)); }

  std::string ErrorOf(const std::string& text) {
    const Result<Recipe> recipe = Read(text);
    return recipe ? "no error" : recipe.error().message();
  }

  std::string folder_;
};

constexpr const char* kHead = "[files]\nvalid = 'valid.tsv'\n";  // two lines

TEST_F(RecipeTest, ReadsEveryKey) {
  const auto recipe = Read(R"(
metric = "macro_f1"
[files]
valid = "valid.tsv"
[measure]
seq = 32
batch = 2
threads = 3
seconds = 0.5
[limits]
max-loss = 0.02
max-ms = 3
max-bytes = 1e6
min-smaller = 8
min-faster = 2.5
[vary]
speedup = [3, 2.5]
[[step]]
name = "teacher"
verb = "train"
options = { model = "bert-tiny", valid = "{valid}", cased = true, strict = false, lr = 1e-3, epochs = 3 }
[[step]]
verb = "prune"
max-loss = 0
max-ms = 1
options = { speedup = "{speedup}" }
try = [ { method = "ziplm" }, { method = "magnitude" } ]
[[step]]
verb = "export"
output = "model.onnx"
)");
  ASSERT_TRUE(recipe) << recipe.error().message();
  EXPECT_EQ(recipe->metric, "macro_f1");
  EXPECT_EQ(*recipe->File("valid"), folder_ + "/valid.tsv");
  EXPECT_EQ(recipe->measure.seq, 32);
  EXPECT_EQ(recipe->measure.batch, 2);
  EXPECT_EQ(recipe->measure.threads, 3);
  EXPECT_EQ(recipe->measure.seconds, 0.5);
  EXPECT_EQ(recipe->limits.max_loss, 0.02);
  EXPECT_EQ(recipe->limits.max_ms, 3);
  EXPECT_EQ(recipe->limits.max_bytes, 1e6);
  EXPECT_EQ(recipe->limits.min_smaller, 8);
  EXPECT_EQ(recipe->limits.min_faster, 2.5);
  EXPECT_EQ(recipe->varied, "speedup");
  EXPECT_THAT(recipe->variants, ElementsAre("3", "2.5"));
  ASSERT_EQ(recipe->steps.size(), 3);
  std::vector<std::string> options;
  for (const StepOption& o : recipe->steps[0].options) {
    options.push_back(o.name + "=" + (o.values.empty() ? "" : o.values[0]));
  }
  EXPECT_THAT(options,
              ElementsAre("cased=", "epochs=3", "lr=0.001", "model=bert-tiny", "valid={valid}"));
  const Step& prune = recipe->steps[1];
  EXPECT_EQ(prune.name, "prune");
  EXPECT_THAT(prune.inputs, ElementsAre("{model}"));
  EXPECT_EQ(prune.limits.max_loss, 0);
  EXPECT_EQ(prune.limits.max_ms, 1);
  EXPECT_EQ(prune.tries.size(), 2);
  EXPECT_EQ(recipe->steps[2].output, "model.onnx");
}

TEST_F(RecipeTest, NamesWhatIsWrongAndWhere) {
  const std::string train = std::string(kHead) + "[[step]]\nverb = 'train'\n";
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"metrik = 'f1'\n" + train,
            "line 1: there is no key of a recipe \"metrik\", did you mean 'metric'?"},
           {std::string(kHead) + "[[step]]\nverb = 'trian'\n",
            "line 4: there is no verb for a step \"trian\", did you mean 'train'?"},
           {train + "max-los = 1\n",
            "line 5: there is no key of a step \"max-los\", did you mean 'max-loss'?"},
           {train + "[limits]\nmin-fast = 2\n",
            "line 6: there is no limit \"min-fast\", did you mean 'min-faster'?"},
           {train + "[measure]\nseq = 1.5\n", "line 6: seq has to be a whole number above 0"},
           {train + "max-loss = -1\n", "line 5: max-loss has to be a number that is not negative"},
           {train + "max-ms = inf\n", "line 5: max-ms has to be a number above 0"},
           {train + "options = { train = '{vaild}' }\n",
            "line 5: there is no file, step or value before this step named \"vaild\", did you "
            "mean 'valid'?"},
           {train + "options = { train = '{valid' }\n", "line 5: '{valid': a brace is not closed"},
           {train + "options = { json = true }\n", "line 5: json is what compress itself says"},
           {train + "[[step]]\nverb = 'train'\n", "line 5: the name 'train' is taken"},
           {train + "part = true\n", "no step makes a model"},
           {train + "part = true\n[[step]]\nverb = 'quantize'\n",
            "{model}: no step before this one makes a model"},
           {train + "[[step]]\nverb = 'eval'\nmax-loss = 1\n", "line 5: eval makes no model"},
           {train + "[[step]]\nverb = 'export'\n", "line 5: export writes a file: say output"},
           {train + "output = '../m'\n", "is a name, not a path"},
           {"x = \n", "line 1: "},
           {"[files]\nvalid = 'gone.tsv'\n", "[files] valid: there is no "},
           {"[[step]]\nverb = 'train'\n", "[files] needs valid"},
           {kHead, "a recipe needs steps"},
           {train + "options = { train = '" + folder_ + "/valid.tsv' }\n",
            "is a file: name it in [files]"},
           {train + "[vary]\na = [1]\nb = [2]\n", "[vary] varies one value"},
           {train + "[values]\nvalid = 1\n", "line 6: the name \"valid\" is taken"},
           {train + "[values]\na = 1\n[vary]\na = [1]\n", "line 8: the name \"a\" is taken"},
           {train + "[values]\na = [1]\n", "line 6: a has to be a text or a number"},
       }) {
    EXPECT_THAT(ErrorOf(text), HasSubstr(words)) << text;
  }
}

TEST_F(RecipeTest, FilesOfTheCallReplaceThoseOfTheRecipe) {
  const std::string path =
      Write("r.toml", "[files]\nvalid = 'elsewhere.tsv'\n[[step]]\nverb = 'train'\n");
  const auto recipe = ReadRecipe(path, {{"valid", folder_ + "/valid.tsv"}});
  ASSERT_TRUE(recipe) << recipe.error().message();
  EXPECT_EQ(*recipe->File("valid"), folder_ + "/valid.tsv");
  const auto unknown = ReadRecipe(path, {{"vlid", "x"}});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message(), HasSubstr("did you mean 'valid'?"));
}

TEST_F(RecipeTest, ValuesOfTheCallReplaceThoseOfTheRecipe) {
  const std::string path = Write(
      "r.toml", std::string(kHead) +
                    "[values]\nseed = 1\nsize = 'tiny'\n[vary]\nspeedup = [3, 2]\n"
                    "[[step]]\nverb = 'train'\noptions = { seed = '{seed}', m = '{size}' }\n");
  const auto plain = ReadRecipe(path);
  ASSERT_TRUE(plain) << plain.error().message();
  EXPECT_EQ(*plain->Value("seed"), "1");
  EXPECT_EQ(*plain->Value("size"), "tiny");
  EXPECT_EQ(plain->Value("speedup"), nullptr);
  const auto given = ReadRecipe(path, {}, {{"seed", "7"}, {"speedup", "4"}});
  ASSERT_TRUE(given) << given.error().message();
  EXPECT_EQ(*given->Value("seed"), "7");
  EXPECT_EQ(*given->Value("size"), "tiny");
  EXPECT_THAT(given->variants, ElementsAre("4"));
  const auto unknown = ReadRecipe(path, {}, {{"sead", "7"}});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message(), HasSubstr("did you mean 'seed'?"));
}

TEST(Substitute, ReplacesNamesAndKeepsDoubledBraces) {
  const auto value = [](std::string_view name) -> Result<std::string> {
    return "<" + std::string(name) + ">";
  };
  EXPECT_EQ(*Substitute("a{b}{c}", value), "a<b><c>");
  EXPECT_EQ(*Substitute("{{b}}", value), "{b}");
  EXPECT_FALSE(Substitute("b}", value));
}

}  // namespace
}  // namespace thimble::pipeline
