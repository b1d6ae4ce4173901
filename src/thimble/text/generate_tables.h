// What the programs that write Unicode tables share: the forms that sparse_table.h reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "thimble/text/sparse_table.h"

namespace thimble {

template <class T>
void PrintArray(const char* type, const std::string& name, const std::vector<T>& values) {
  std::printf("constexpr %s %s[] = {", type, name.c_str());
  for (size_t i = 0; i < values.size(); ++i) {
    std::printf("%s%u,", i % 24 == 0 ? "\n" : "", static_cast<unsigned>(values[i]));
  }
  std::printf("\n};\n");
}

inline uint16_t To16Bits(size_t value) {
  if (value > 0xFFFF) std::fprintf(stderr, "table too large: %zu\n", value), std::abort();
  return static_cast<uint16_t>(value);
}

// k<name>Keys, a SparseKeys, of the map's keys.
template <class Map>
void PrintKeys(const std::string& name, const Map& map) {
  std::vector<uint16_t> blocks;
  std::vector<uint8_t> low;
  for (const auto& [key, value] : map) {
    const auto block = static_cast<uint32_t>(key) >> kSparseBlockBits;
    while (blocks.size() <= block) blocks.push_back(To16Bits(low.size()));
    low.push_back(static_cast<uint8_t>(key));
  }
  blocks.push_back(To16Bits(low.size()));
  PrintArray("uint16_t", "k" + name + "KeyBlocks", blocks);
  PrintArray("uint8_t", "k" + name + "KeyLow", low);
  std::printf("constexpr SparseKeys k%sKeys{k%sKeyBlocks, k%sKeyLow};\n", name.c_str(),
              name.c_str(), name.c_str());
}

// k<name>, a SparseMapping from code points to code points.
template <class CodePoint>
void PrintMapping(const std::string& name,
                  const std::map<CodePoint, std::vector<CodePoint>>& mapping) {
  PrintKeys(name, mapping);
  std::vector<uint16_t> begins, units;
  for (const auto& [key, values] : mapping) {
    begins.push_back(To16Bits(units.size()));
    for (const CodePoint value : values) {
      const auto c = static_cast<uint32_t>(value);
      if (c < 0x10000) {
        units.push_back(static_cast<uint16_t>(c));
      } else {
        units.push_back(static_cast<uint16_t>(0xD800 + ((c - 0x10000) >> 10)));
        units.push_back(static_cast<uint16_t>(0xDC00 + (c & 0x3FF)));
      }
    }
  }
  begins.push_back(To16Bits(units.size()));
  PrintArray("uint16_t", "k" + name + "Begins", begins);
  PrintArray("uint16_t", "k" + name + "Units", units);
  std::printf("constexpr SparseMapping k%s{k%sKeys, k%sBegins, k%sUnits};\n", name.c_str(),
              name.c_str(), name.c_str(), name.c_str());
}

// k<name>Keys and k<name>Values: a byte for each key.
template <class CodePoint>
void PrintBytes(const std::string& name, const std::map<CodePoint, uint8_t>& bytes) {
  PrintKeys(name, bytes);
  std::vector<uint8_t> values;
  for (const auto& [key, value] : bytes) values.push_back(value);
  PrintArray("uint8_t", "k" + name + "Values", values);
}

}  // namespace thimble
