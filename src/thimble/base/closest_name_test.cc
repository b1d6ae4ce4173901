#include "thimble/base/closest_name.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thimble {
namespace {

const std::vector<std::string> kNames = {"import",  "inspect", "tokenize",
                                         "predict", "--json",  "--jsonl"};

TEST(ClosestName, FindsMistypedNames) {
  EXPECT_EQ(ClosestName("improt", kNames), "import");      // swapped neighbours
  EXPECT_EQ(ClosestName("inspct", kNames), "inspect");     // one missing
  EXPECT_EQ(ClosestName("tokenise", kNames), "tokenize");  // one replaced
  EXPECT_EQ(ClosestName("predictt", kNames), "predict");   // one too many
  EXPECT_EQ(ClosestName("--jsno", kNames), "--json");
}

TEST(ClosestName, TakesAPrefixForTheWord) { EXPECT_EQ(ClosestName("tok", kNames), "tokenize"); }

TEST(ClosestName, StaysSilentWhereNothingIsNear) {
  EXPECT_EQ(ClosestName("frobnicate", kNames), std::nullopt);
  EXPECT_EQ(ClosestName("", kNames), std::nullopt);
  EXPECT_EQ(ClosestName("x", kNames), std::nullopt);
  EXPECT_EQ(ClosestName(std::string(1 << 20, 'i'), kNames), std::nullopt);
  EXPECT_EQ(ClosestName("import", {}), std::nullopt);
}

}  // namespace
}  // namespace thimble
