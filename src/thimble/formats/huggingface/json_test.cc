#include "thimble/formats/huggingface/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thimble {
namespace {

using ::testing::HasSubstr;

std::string ErrorOfJson(std::string_view text) {
  const Result<Json> json = ParseJsonObject(text);
  return json ? "accepted" : json.error().message();
}

TEST(Json, OnlyObjects) {
  EXPECT_EQ(ErrorOfJson("{}"), "accepted");
  EXPECT_EQ(ErrorOfJson("[]"), "is not a JSON object");
  EXPECT_EQ(ErrorOfJson(""), "is not valid JSON");
  EXPECT_EQ(ErrorOfJson("{\"a\":1"), "is not valid JSON");
  EXPECT_EQ(ErrorOfJson("{\"a\":\"\xff\"}"), "is not valid JSON");
}

TEST(Json, DepthIsBounded) {
  const auto nested = [](size_t depth) {
    return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_EQ(ErrorOfJson(nested(60)), "accepted");
  EXPECT_EQ(ErrorOfJson(nested(64)), "is nested too deeply");
  EXPECT_EQ(ErrorOfJson(std::string(10'000'000, '[')), "is nested too deeply");
  // Brackets in texts, also behind escaped quotes, are no depth.
  EXPECT_EQ(ErrorOfJson("{\"a\":\"\\\"" + std::string(100, '[') + "\"}"), "accepted");
}

TEST(Json, LastOfTwoEqualKeysCounts) {
  EXPECT_EQ(*FindInteger(*ParseJsonObject(R"({"a":1,"a":2})"), "a"), 2);
}

TEST(Json, ValuesAreCheckedWhereTheyAreRead) {
  const Json json =
      *ParseJsonObject(R"({"flag":true,"text":"x","number":7,"null":null,"real":1.5})");
  EXPECT_EQ(*FindFlag(json, "flag"), true);
  EXPECT_EQ(*FindFlag(json, "null"), std::nullopt);
  EXPECT_EQ(*FindFlag(json, "missing"), std::nullopt);
  EXPECT_THAT(FindFlag(json, "text").error().message(),
              HasSubstr("\"text\" must be true or false"));
  EXPECT_EQ(*FindText(json, "text"), "x");
  EXPECT_FALSE(FindText(json, "number"));
  EXPECT_EQ(*FindInteger(json, "number"), 7);
  EXPECT_FALSE(FindInteger(json, "real"));
  EXPECT_EQ(Find(json["number"], "inside"), nullptr);
}

TEST(Json, Indices) {
  EXPECT_EQ(AsIndex(Json(5u), 6), 5);
  EXPECT_EQ(AsIndex(Json(5u), 5), std::nullopt);
  EXPECT_EQ(AsIndex(Json(-1), 5), std::nullopt);
  EXPECT_EQ(AsIndex(Json("1"), 5), std::nullopt);
  EXPECT_EQ(KeyAsIndex("12", 20), 12);
  for (const char* key : {"", "-1", "1x", " 1", "20", "99999999999999999999"}) {
    EXPECT_EQ(KeyAsIndex(key, 20), std::nullopt) << key;
  }
}

}  // namespace
}  // namespace thimble
