// vocab.txt as bytes.
#include "thimble/formats/huggingface/vocabulary.h"

#include <cstddef>
#include <cstdint>

#include "thimble/base/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace thimble;
  const auto pieces = ParseVocabulary({reinterpret_cast<const char*>(data), size});
  if (!pieces) return 0;
  THIMBLE_CHECK(pieces->size() <= size);
  for (const std::string& piece : *pieces) THIMBLE_CHECK(!piece.empty() && IsUtf8(piece));
  return 0;
}
