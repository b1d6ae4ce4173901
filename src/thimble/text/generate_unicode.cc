// Writes unicode_tables.inc: the properties and mappings of Unicode that the tokenizers need, in compact
// tables. Runs on the build machine, with ICU; what it writes needs nothing.
//
// The tables reproduce the data of Hugging Face's Rust library, whose parts stand at different versions of
// Unicode: categories at 8.0, decompositions and combining classes at 9.0, lower case at 17, words at 16. ICU is newer
// than the first two, so code points that are younger than that are left out, and the handful whose
// category has changed since 8.0 is listed here; lower-case letters that are younger than ICU are listed
// too. tools/compare_tokenizers.mjs checks all 1,114,112 code points against the library itself, and
// unicode_test.cc that another ICU writes the same tables.
#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "thimble/text/generate_tables.h"
#include "thimble/text/unicode_flags.h"

namespace {

using thimble::PrintArray;
using thimble::UnicodeFlags;

constexpr UChar32 kCodePoints = 0x110000;

// Category in Unicode 8.0 where it is another one today.
struct OldCategory {
  UChar32 code_point;
  UCharCategory category;
};
constexpr OldCategory kOldCategories[] = {
    {0x166D, U_OTHER_PUNCTUATION},  // Canadian syllabics chi sign, now a symbol
    {0x1734, U_NON_SPACING_MARK},   // Hanunoo sign pamudpod, now spacing
    {0x1885, U_OTHER_LETTER},       // Mongolian letters, now marks
    {0x1886, U_OTHER_LETTER},
    {0xA9BD, U_COMBINING_SPACING_MARK},  // Javanese consonant sign keret, now non-spacing
    {0x111C9, U_OTHER_PUNCTUATION},      // Sharada sandhi mark, now a mark
};

// Lower case of letters younger than Unicode 15.0, up to 17.
struct Younger {
  UChar32 first, last;  // upper case
  int32_t to_lower;     // added to it
};
constexpr Younger kYoungerLetters[] = {
    {0x1C89, 0x1C89, 1},    {0xA7CB, 0xA7CB, -42343}, {0xA7CC, 0xA7CC, 1}, {0xA7CE, 0xA7CE, 1},
    {0xA7D2, 0xA7D2, 1},    {0xA7D4, 0xA7D4, 1},      {0xA7DA, 0xA7DA, 1}, {0xA7DC, 0xA7DC, -42561},
    {0x10D50, 0x10D65, 32}, {0x16EA0, 0x16EB8, 27},
};

// Parts of words (as regular expressions see them) younger than Unicode 15.0, up to 16.
constexpr std::pair<UChar32, UChar32> kYoungerWords[] = {
    {0x897, 0x897},     {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},
    {0x105C0, 0x105F3}, {0x10D40, 0x10D65}, {0x10D69, 0x10D6D}, {0x10D6F, 0x10D85},
    {0x10EC2, 0x10EC4}, {0x10EFC, 0x10EFC}, {0x11380, 0x11389}, {0x1138B, 0x1138B},
    {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113C0}, {0x113C2, 0x113C2},
    {0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113D3}, {0x113E1, 0x113E2},
    {0x116D0, 0x116E3}, {0x11BC0, 0x11BE0}, {0x11BF0, 0x11BF9}, {0x11F5A, 0x11F5A},
    {0x13460, 0x143FA}, {0x16100, 0x16139}, {0x16D40, 0x16D6C}, {0x16D70, 0x16D79},
    {0x18CFF, 0x18CFF}, {0x1CCF0, 0x1CCF9}, {0x1E5D0, 0x1E5FA}, {0x2EBF0, 0x2EE5D},
};

constexpr int kCategoryAge = 80, kNormalizationAge = 90;
constexpr int kIcuAge = 150;  // of the oldest ICU that will do; what is younger is listed above

int AgeInTenths(UChar32 c) {
  UVersionInfo age;
  u_charAge(c, age);
  return age[0] * 10 + age[1];
}

int8_t Category8(UChar32 c) {
  for (const OldCategory& old : kOldCategories) {
    if (old.code_point == c) return static_cast<int8_t>(old.category);
  }
  return AgeInTenths(c) > kCategoryAge ? static_cast<int8_t>(U_UNASSIGNED) : u_charType(c);
}

template <size_t kCount>
bool InRanges(const std::pair<UChar32, UChar32> (&ranges)[kCount], UChar32 c) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [c](const auto& range) { return c >= range.first && c <= range.second; });
}

bool IsIdeograph(UChar32 c) {
  constexpr std::pair<UChar32, UChar32> kRanges[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  return InRanges(kRanges, c);
}

std::vector<uint32_t> CodePoints(const icu::UnicodeString& text) {
  std::vector<uint32_t> out;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    out.push_back(static_cast<uint32_t>(text.char32At(i)));
  }
  return out;
}

std::vector<uint32_t> Decomposition(UChar32 c) {
  const bool hangul = c >= 0xAC00 && c <= 0xD7A3;  // computed, not stored
  if (hangul || AgeInTenths(c) > kNormalizationAge) return {};
  UErrorCode error = U_ZERO_ERROR;
  const icu::UnicodeString text =
      icu::Normalizer2::getNFDInstance(error)->normalize(icu::UnicodeString(c), error);
  std::vector<uint32_t> out = CodePoints(text);
  return out.size() == 1 && out[0] == static_cast<uint32_t>(c) ? std::vector<uint32_t>() : out;
}

std::vector<uint32_t> LowerCase(UChar32 c) {
  for (const Younger& y : kYoungerLetters) {
    if (c >= y.first && c <= y.last) return {static_cast<uint32_t>(c + y.to_lower)};
  }
  if (AgeInTenths(c) > kIcuAge) return {};
  // Alone, so that no rule about neighbours applies.
  std::vector<uint32_t> out = CodePoints(icu::UnicodeString(c).toLower(icu::Locale::getRoot()));
  return out.size() == 1 && out[0] == static_cast<uint32_t>(c) ? std::vector<uint32_t>() : out;
}

uint8_t CombiningClass(UChar32 c) {
  return AgeInTenths(c) > kNormalizationAge ? 0 : u_getCombiningClass(c);
}

bool IsWord(UChar32 c) {
  if (InRanges(kYoungerWords, c)) return true;
  if (AgeInTenths(c) > kIcuAge) return false;
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
         (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

uint8_t Flags(UChar32 c) {
  const int8_t category = Category8(c);
  const uint32_t mask = 1u << category;
  const bool ascii_punctuation = c < 0x80 && std::ispunct(static_cast<int>(c)) != 0;
  unsigned flags = 0;
  if (u_isUWhiteSpace(c)) flags |= UnicodeFlags::kWhiteSpace;
  if (category == U_CONTROL_CHAR || category == U_FORMAT_CHAR || category == U_PRIVATE_USE_CHAR ||
      c == 0xFFFD) {
    flags |= UnicodeFlags::kControl;
  }
  if ((mask & U_GC_P_MASK) != 0 || ascii_punctuation) flags |= UnicodeFlags::kPunctuation;
  if (category == U_NON_SPACING_MARK) flags |= UnicodeFlags::kNonSpacingMark;
  if (IsIdeograph(c)) flags |= UnicodeFlags::kIdeograph;
  if (!LowerCase(c).empty()) flags |= UnicodeFlags::kHasLowerCase;
  if (!Decomposition(c).empty() || CombiningClass(c) != 0 || (c >= 0xAC00 && c <= 0xD7A3)) {
    flags |= UnicodeFlags::kNormalizes;
  }
  if (IsWord(c)) flags |= UnicodeFlags::kWord;
  return static_cast<uint8_t>(flags);
}

// Blocks of equal contents stand once; returns the number of each.
template <class T>
std::vector<uint16_t> Share(const std::vector<T>& values, size_t size, std::vector<T>& blocks) {
  std::map<std::vector<T>, uint16_t> numbers;
  std::vector<uint16_t> index;
  for (auto begin = values.begin(); begin != values.end();
       begin += static_cast<std::ptrdiff_t>(size)) {
    const std::vector<T> block(begin, begin + static_cast<std::ptrdiff_t>(size));
    const auto [found, fresh] = numbers.emplace(block, thimble::To16Bits(numbers.size()));
    if (fresh) blocks.insert(blocks.end(), block.begin(), block.end());
    index.push_back(found->second);
  }
  return index;
}

void PrintFlags() {
  std::vector<uint8_t> all, flags;
  for (UChar32 c = 0; c < kCodePoints; ++c) all.push_back(Flags(c));
  std::vector<uint16_t> blocks;
  const std::vector<uint16_t> pages = Share(Share(all, size_t{1} << thimble::kFlagBlockBits, flags),
                                            size_t{1} << thimble::kFlagPageBits, blocks);
  if (*std::max_element(pages.begin(), pages.end()) > 255) {
    std::fprintf(stderr, "too many pages\n"), std::abort();
  }
  PrintArray("uint8_t", "kFlagPages", pages);
  PrintArray("uint16_t", "kFlagBlocks", blocks);
  PrintArray("uint8_t", "kFlags", flags);
}

template <class Map>
void PrintMap(const std::string& name, const Map& map) {
  std::map<uint32_t, std::vector<uint32_t>> mapping;
  for (UChar32 c = 0; c < kCodePoints; ++c) {
    if (std::vector<uint32_t> to = map(c); !to.empty()) mapping[static_cast<uint32_t>(c)] = to;
  }
  thimble::PrintMapping(name, mapping);
}

}  // namespace

int main() {
  std::printf("// Made by generate_unicode; do not edit.\nnamespace thimble::unicode_tables {\n");
  PrintFlags();
  PrintMap("Decomposition", Decomposition);
  PrintMap("LowerCase", LowerCase);
  std::map<uint32_t, uint8_t> classes;
  for (UChar32 c = 0; c < kCodePoints; ++c) {
    if (const uint8_t ccc = CombiningClass(c)) classes[static_cast<uint32_t>(c)] = ccc;
  }
  thimble::PrintBytes("CombiningClass", classes);
  std::printf("}  // namespace thimble::unicode_tables\n");
}
