#include "thimble/base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace thimble {
namespace {

Result<int> Half(int x) {
  if (x % 2 != 0) return InvalidArgument("odd");
  return x / 2;
}

Result<int> Quarter(int x) {
  TRY(int half, Half(x));
  TRY(const int quarter, Half(half));
  return quarter;
}

Status CheckQuarter(int x) {
  TRY_VOID(Quarter(x));
  return {};
}

TEST(Result, CarriesAValueUpward) {
  const Result<int> r = Quarter(12);
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(*r, 3);
}

TEST(Result, CarriesAnErrorUpward) {
  const Result<int> r = Quarter(6);
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(r.error().message(), "odd");
  EXPECT_FALSE(CheckQuarter(6).has_value());
  EXPECT_TRUE(CheckQuarter(8).has_value());
}

TEST(Result, AddsThePlaceInFront) {
  EXPECT_EQ(InvalidData("no layers").In("config.json").In("model").message(),
            "model: config.json: no layers");
}

TEST(Result, HoldsMoveOnlyValues) {
  Result<std::unique_ptr<int>> r = std::make_unique<int>(7);
  const std::unique_ptr<int> p = *std::move(r);
  EXPECT_EQ(*p, 7);
}

}  // namespace
}  // namespace thimble
