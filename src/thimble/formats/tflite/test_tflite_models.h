// For tests: small transformers as .tflite files, in the styles of the converters that people use.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "thimble/formats/tflite/tflite_generated.h"
#include "thimble/graph/tensor.h"

namespace thimble {

// A file under construction; tensors are called by their index. Computed tensors have no shapes.
class TestTfliteFile {
 public:
  TestTfliteFile();
  int Input(const std::string& name, const Shape& shape, const Shape& signature = {});
  int Floats(const Shape& shape, const std::vector<float>& values);
  int Float(float value) { return Floats({}, {value}); }
  int Ints(const std::vector<int32_t>& values);  // a vector
  int Int(int32_t value);                        // a scalar
  int Halves(const Shape& shape, const std::vector<float>& values);
  // Codes max|x| / 127 apart: one scale, or one per index of the first dimension.
  int Codes(const Shape& shape, const std::vector<float>& values, bool per_row);
  int Tensor(tfl::TensorT tensor, std::vector<uint8_t> bytes);

  int Op(tfl::BuiltinOperator code, const std::vector<int>& inputs,
         tfl::BuiltinOptionsUnion options = {}) {
    return Ops(code, inputs, 1, std::move(options))[0];
  }
  std::vector<int> Ops(tfl::BuiltinOperator code, const std::vector<int>& inputs, size_t outputs,
                       tfl::BuiltinOptionsUnion options = {});
  int Custom(const std::string& name, const std::vector<int>& inputs);
  void Output(int tensor, const std::string& name = "");

  tfl::ModelT& model() { return model_; }
  tfl::SubGraphT& graph() { return *model_.subgraphs[0]; }
  // With `files` as an archive behind the model.
  std::string Finish(const std::map<std::string, std::string>& files = {}) const;

 private:
  tfl::ModelT model_;
};

struct TestTransformer {
  enum class Attention { kUnrolled, kEinsum, kFusedQkv, kSeparateHeads };
  enum class Norm { kFolded, kDirect, kNoNorm };
  enum class Gelu { kBuiltin, kTanhPieces, kErfPieces, kRelu };
  enum class Mask { kAdded, kSubtracted, kSelected, kFromIds, kNone };
  enum class Types { kNone, kLookup, kOneHot };
  enum class Head { kFirst, kMean, kTokens, kAnswers };
  enum class End { kNothing, kLogistic, kSoftmax };
  enum class Weights { kFloat, kHalf, kCodes, kCodesPerRow };

  Attention attention = Attention::kUnrolled;
  Norm norm = Norm::kFolded;
  Gelu gelu = Gelu::kBuiltin;
  Mask mask = Mask::kAdded;
  Types types = Types::kLookup;
  Head head = Head::kFirst;
  End end = End::kSoftmax;
  Weights weights = Weights::kFloat;
  bool trigram = false;  // MobileBERT: neighbours joined, narrow blocks
  bool bottleneck = false;
  bool open_length = false;
  bool counted_positions = false;  // RoBERTa: of tokens that are not padding, from 1 on
  bool shared_layers = false;      // ALBERT
  bool pre_norm = false;
  int tokens = 16, width = 16, heads = 2, inner = 24, layers = 2, vocabulary = 30, labels = 3;

  // Inputs in the order ids, mask, token types, as far as there are.
  std::string Build(const std::map<std::string, std::string>& files = {}) const;
};

}  // namespace thimble
