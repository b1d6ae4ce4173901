#include "thimble/formats/torch/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace thimble {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;

bool OnlyThing(std::string_view global) { return global == "module.Thing"; }

Result<Pickle> Read(std::string_view bytes) {
  return ReadPickle(std::as_bytes(std::span(bytes.data(), bytes.size())), OnlyThing);
}

// The value as Python would print it, calls as name(arguments){items}.
std::string Print(const Pickle& pickle, PickleId id) {
  const PickleValue& value = pickle.value(id);
  const auto list = [&](size_t from) {
    std::string text;
    for (size_t i = from; i < value.items.size(); ++i) {
      text += (i == from ? "" : ", ") + Print(pickle, value.items[i]);
    }
    return text;
  };
  switch (value.kind) {
    case PickleKind::kNone:
      return "None";
    case PickleKind::kBool:
      return value.integer != 0 ? "True" : "False";
    case PickleKind::kInteger:
      return value.text.empty() ? std::to_string(value.integer)
                                : "long" + std::to_string(value.text.size());
    case PickleKind::kReal:
      return std::to_string(value.real);
    case PickleKind::kText:
      return "'" + std::string(value.text) + "'";
    case PickleKind::kBytes:
      return "b'" + std::string(value.text) + "'";
    case PickleKind::kTuple:
      return "(" + list(0) + ")";
    case PickleKind::kList:
      return "[" + list(0) + "]";
    case PickleKind::kSet:
      return "set(" + list(0) + ")";
    case PickleKind::kDict:
      return "{" + list(0) + "}";
    case PickleKind::kGlobal:
      return std::string(value.text);
    case PickleKind::kPersistent:
      return "<" + list(0) + ">";
    case PickleKind::kCall:
      return Print(pickle, value.items[0]) + Print(pickle, value.items[1]) + "{" + list(2) + "}";
  }
  return "?";
}

std::string Printed(std::string_view bytes) {
  const Result<Pickle> pickle = Read(bytes);
  return pickle ? Print(*pickle, pickle->root) : pickle.error().message();
}

TEST(Pickle, Scalars) {
  EXPECT_EQ(Printed("\x80\x02N."s), "None");
  EXPECT_EQ(Printed("\x80\x02\x88."s), "True");
  EXPECT_EQ(Printed("K\xff."s), "255");
  EXPECT_EQ(Printed("M\x00\xff."s), "65280");
  EXPECT_EQ(Printed("J\xfe\xff\xff\xff."s), "-2");
  EXPECT_EQ(Printed("\x8a\x00."s), "0");
  EXPECT_EQ(Printed("\x8a\x02\x00\xff."s), "-256");
  EXPECT_EQ(Printed("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f."s), "9223372036854775807");
  EXPECT_EQ(Printed("\x8a\x0a"s + std::string(10, '\x01') + "."), "long10");
  EXPECT_EQ(Printed("G\xbf\xf8\x00\x00\x00\x00\x00\x00."s), "-1.500000");
  EXPECT_EQ(Printed("\x8c\x02hi."s), "'hi'");
  EXPECT_EQ(Printed("X\x02\x00\x00\x00hi."s), "'hi'");
  EXPECT_EQ(Printed("U\x02hi."s), "'hi'");
  EXPECT_EQ(Printed("C\x02hi."s), "b'hi'");
}

TEST(Pickle, Containers) {
  EXPECT_EQ(Printed("(K\x01K\x02t."s), "(1, 2)");
  EXPECT_EQ(Printed("K\x01K\x02K\x03\x87."s), "(1, 2, 3)");
  EXPECT_EQ(Printed("](K\x01K\x02"
                    "eK\x03"
                    "a."s),
            "[1, 2, 3]");
  EXPECT_EQ(Printed("}(U\x01"
                    "aK\x01U\x01"
                    "bK\x02uU\x01"
                    "cNs."s),
            "{'a', 1, 'b', 2, 'c', None}");
  EXPECT_EQ(Printed("(U\x01"
                    "aK\x01"
                    "d."s),
            "{'a', 1}");
  EXPECT_EQ(Printed("\x8f(K\x01K\x02\x90."s), "set(1, 2)");
}

TEST(Pickle, MemoAndStack) {
  EXPECT_EQ(Printed("U\x01"
                    "aq\x05h\x05\x86."s),
            "('a', 'a')");
  EXPECT_EQ(Printed("U\x01"
                    "ar\x00\x01\x00\x00j\x00\x01\x00\x00\x86."s),
            "('a', 'a')");
  EXPECT_EQ(Printed("\x80\x04\x95\x08\x00\x00\x00\x00\x00\x00\x00\x8c\x01"
                    "a\x94h\x00\x86."s),
            "('a', 'a')");
  EXPECT_EQ(Printed("K\x01"
                    "2\x86."s),
            "(1, 1)");
  EXPECT_EQ(Printed("K\x01(K\x02"
                    "1K\x03"
                    "0."s),
            "1");
}

TEST(Pickle, CallsAreNotedAndNotMade) {
  EXPECT_EQ(Printed("cmodule\nThing\n)R(U\x01"
                    "aK\x01u}b."s),
            "module.Thing(){'a', 1}");
  EXPECT_EQ(Printed("\x8c\x06module\x8c\x05Thing\x93."s), "module.Thing");
  EXPECT_EQ(Printed("U\x01"
                    "kQ."s),
            "<'k'>");
}

TEST(Pickle, RefusesGlobalsThatAreNotListed) {
  EXPECT_EQ(
      Printed("cposix\nsystem\nU\x04"
              "evil\x85R."s),
      "refuses to run \"posix.system\", which the pickle asks for: a checkpoint holds tensors "
      "and nothing else");
  EXPECT_THAT(Printed("\x8c\x08"
                      "builtins\x8c\x04"
                      "eval\x93."s),
              HasSubstr("\"builtins.eval\""));
  EXPECT_THAT(Printed("cmodule\nThing.sub\n."s), HasSubstr("\"module.Thing.sub\""));
}

TEST(Pickle, RefusesOpcodesThatAreNotData) {
  EXPECT_THAT(Printed("\x81."s), HasSubstr("opcode 129"));              // NEWOBJ
  EXPECT_THAT(Printed("imodule\nThing\n."s), HasSubstr("opcode 105"));  // INST
  EXPECT_THAT(Printed("\x82\x01."s), HasSubstr("opcode 130"));          // EXT1
  EXPECT_THAT(Printed("\x80\x01N."s), HasSubstr("protocol 1"));
}

TEST(Pickle, RefusesNonsense) {
  EXPECT_THAT(Printed(""), HasSubstr("truncated"));
  EXPECT_THAT(Printed("."s), HasSubstr("empty stack"));
  EXPECT_THAT(Printed("K"s), HasSubstr("truncated at byte 0"));
  EXPECT_THAT(Printed("X\xff\xff\xff\xffhi."s), HasSubstr("truncated"));
  EXPECT_THAT(Printed("\x8d\xff\xff\xff\xff\xff\xff\xff\xffhi."s), HasSubstr("truncated"));
  EXPECT_THAT(Printed("K\x01(\x85."s), HasSubstr("empty stack"));  // reaches below the mark
  EXPECT_THAT(Printed("t."s), HasSubstr("without a mark"));
  EXPECT_THAT(Printed("h\x07."s), HasSubstr("not remembered"));
  EXPECT_THAT(Printed("q\x07."s), HasSubstr("empty stack"));
  EXPECT_THAT(Printed("K\x01K\x02"
                      "a."s),
              HasSubstr("no container"));
  EXPECT_THAT(Printed("}(K\x01u."s), HasSubstr("without a value"));
  EXPECT_THAT(Printed("K\x01)R."s), HasSubstr("no function"));
  EXPECT_THAT(Printed("cmodule\nThing\nK\x01R."s), HasSubstr("no function"));
  EXPECT_THAT(Printed("cmodule\nThing"s), HasSubstr("truncated"));
  EXPECT_THAT(Printed("K\x01K\x02\x93."s), HasSubstr("not a text"));
}

TEST(Pickle, CirclesAreData) {
  const Result<Pickle> pickle = Read(
      "]q\x00h\x00"
      "a."s);
  ASSERT_TRUE(pickle);
  EXPECT_EQ(pickle->value(pickle->root).items, std::vector<PickleId>{pickle->root});
}

TEST(Pickle, StopsAtTheEndOfTheFirst) {
  const Result<Pickle> pickle = Read("K\x01.K\x02."s);
  ASSERT_TRUE(pickle);
  EXPECT_EQ(pickle->bytes, 3u);
}

TEST(Pickle, RefusesEndlessWork) {
  std::string many(3'000'000, ']');
  EXPECT_THAT(Printed(many + "."), HasSubstr("opcodes"));
}

}  // namespace
}  // namespace thimble
