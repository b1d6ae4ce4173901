// The JSON files of a tokenizer, as the members of one object: "tokenizer" (tokenizer.json), "config",
// "special_tokens_map", "added_tokens"; "vocabulary" is the text of a vocab.txt.
#include <cstddef>
#include <cstdint>

#include "thimble/formats/huggingface/tokenizer_files.h"
#include "thimble/formats/huggingface/tokenizer_json.h"

namespace {

using namespace thimble;

Json Member(const Json& object, const char* key) {
  const Json* member = Find(object, key);
  return member != nullptr && member->is_object() ? *member : Json::object();
}

void Use(const TokenizerSpec& spec) {
  for (const AddedToken& token : spec.added_tokens) THIMBLE_CHECK(token.id >= 0);
  for (const std::string& piece : spec.pieces) THIMBLE_CHECK(!piece.empty());
  if (const Result<Tokenizer> tokenizer = Tokenizer::Create(spec)) {
    (void)tokenizer->EncodePair("a [MASK] Ab", "\u4e2d\u00e9 b<new>");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Result<Json> files = ParseJsonObject({reinterpret_cast<const char*>(data), size});
  if (!files) return 0;
  const Result<TokenizerSettings> settings =
      ReadTokenizerSettings(Member(*files, "config"), Member(*files, "special_tokens_map"),
                            Member(*files, "added_tokens"));
  if (!settings) return 0;
  const Json tokenizer = Member(*files, "tokenizer");
  if (IsWordPieceJson(tokenizer)) {
    if (const Result<TokenizerSpec> spec = ReadTokenizerJson(tokenizer, *settings)) Use(*spec);
  }
  const Result<std::optional<std::string>> vocabulary = FindText(*files, "vocabulary");
  if (vocabulary && vocabulary->has_value()) {
    if (const auto spec = TokenizerFromVocabulary(**vocabulary, *settings)) Use(*spec);
  }
  return 0;
}
