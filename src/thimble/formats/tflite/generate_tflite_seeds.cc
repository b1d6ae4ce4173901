// Writes tests/fixtures/fuzz/tflite: models from which the fuzzer of the reader starts.
// Usage: generate_tflite_seeds FOLDER
#include <cstdio>

#include "thimble/base/file.h"
#include "thimble/formats/tflite/test_tflite_models.h"

namespace {

thimble::Status Write(const std::string& path, const std::string& bytes) {
  TRY(thimble::AtomicFile file, thimble::AtomicFile::Create(path));
  TRY_VOID(file.Append(std::string_view(bytes)));
  return file.Commit();
}

}  // namespace

int main(int argc, char** argv) {
  using T = thimble::TestTransformer;
  if (argc != 2) return 2;
  T small{.tokens = 4, .width = 4, .inner = 4, .layers = 1, .vocabulary = 6, .labels = 2};
  T einsum = small, mobile = small, heads = small, open = small, counted = small;
  small.weights = T::Weights::kCodes;
  einsum.attention = T::Attention::kEinsum, einsum.norm = T::Norm::kDirect;
  einsum.gelu = T::Gelu::kTanhPieces, einsum.mask = T::Mask::kSubtracted,
  einsum.head = T::Head::kMean;
  mobile.attention = T::Attention::kFusedQkv, mobile.norm = T::Norm::kNoNorm;
  mobile.trigram = true, mobile.types = T::Types::kOneHot, mobile.end = T::End::kLogistic;
  heads.attention = T::Attention::kSeparateHeads, heads.mask = T::Mask::kSelected;
  heads.gelu = T::Gelu::kErfPieces, heads.head = T::Head::kTokens;
  open.attention = T::Attention::kFusedQkv, open.mask = T::Mask::kFromIds;
  open.head = T::Head::kAnswers, open.open_length = true;
  counted.types = T::Types::kNone, counted.counted_positions = true;
  const std::string folder = argv[1];
  const struct {
    const char* name;
    std::string bytes;
  } seeds[] = {
      {"unrolled", small.Build({{"labels.txt", "no\nyes\n"},
                                {"vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n"}})},
      {"einsum", einsum.Build()},
      {"mobilebert", mobile.Build()},
      {"heads", heads.Build()},
      {"open", open.Build()},
      {"counted", counted.Build()},
  };
  for (const auto& seed : seeds) {
    const thimble::Status written = Write(folder + "/" + seed.name + ".tflite", seed.bytes);
    if (!written) {
      std::fprintf(stderr, "%s\n", written.error().message().c_str());
      return 1;
    }
  }
  return 0;
}
