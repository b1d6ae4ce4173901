// JSON lines and JSON documents (SQuAD's among them) as bytes: the first byte chooses.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "thimble/data/test_invariants.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace thimble;
  if (size == 0) return 0;
  const auto format = data[0] == 'l' ? DatasetFormat::kJsonl : DatasetFormat::kSquad;
  CheckReading({reinterpret_cast<const char*>(data) + 1, size - 1}, format);
  return 0;
}
