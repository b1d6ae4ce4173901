// What an operation is: its attributes, and the three things that are declared once for all consumers:
// shape rule, cost, and the plain reference that defines it and is the oracle of every executor.
//
// Activations are float32 matrices [rows, width] of packed sequences: the tokens of all sequences of a
// batch laid end to end, without padding. Ids are int32 columns [rows, 1].
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "thimble/base/result.h"
#include "thimble/graph/tensor.h"

namespace thimble {

enum class OpKind : uint8_t {
#define OP(enumerator, ...) enumerator,
#include "thimble/graph/ops.inc"
#undef OP
};
inline constexpr size_t kOpCount =
#define OP(...) +1
#include "thimble/graph/ops.inc"
#undef OP
    ;

enum class Activation : uint8_t {
#define ACTIVATION(enumerator, name) enumerator,
#define ACTIVATION_ALIAS(alias, enumerator)
#include "thimble/graph/activations.inc"
#undef ACTIVATION
#undef ACTIVATION_ALIAS
};
std::string_view ActivationName(Activation activation);
std::optional<Activation> ActivationFromName(std::string_view name);  // aliases too

// What one row of a value stands for.
enum class Rows : uint8_t {
  kTokens,     // every token of the batch
  kSequences,  // one row per sequence
};

enum class Element : uint8_t { kFloat32, kInt32 };

struct ValueType {
  Element element = Element::kFloat32;
  Rows rows = Rows::kTokens;
  int64_t width = 0;
  bool operator==(const ValueType&) const = default;
};

// No row is wider: what a shape rule multiplies cannot overflow, nor name memory that no weight backs.
inline constexpr int64_t kMaxWidth = int64_t{1} << 24;

// --- Attributes, one struct per operation that has any. Visit names each field once, for printing,
// --- comparing and serializing alike; Optional ones are left out where they are 0.

// Positions of tokens inside their sequence, from token ids: offset + index. With skip_id >= 0
// (RoBERTa) tokens equal to skip_id get position `offset - 1` and are not counted.
struct PositionIdsAttrs {
  int64_t offset = 0;
  int64_t skip_id = -1;
  template <class V>
  void Visit(V&& v) {
    v("offset", offset), v("skip_id", skip_id);
  }
};

// Multi-head attention over packed sequences: softmax(scale * q k^T) v per head and sequence, masked
// tokens excluded as keys; where all keys of a sequence are masked, every key counts alike.
// q may have one row per sequence instead of one per token.
struct AttentionAttrs {
  int64_t heads = 1;
  double scale = 1.0;
  template <class V>
  void Visit(V&& v) {
    v("heads", heads), v("scale", scale);
  }
};

// With an input scale the input is rounded to int8 codes: input_scale * q, q the integer next to x / input_scale (to even
// between two) in [-127, 127], as static quantization calibrates it. 0: the input is taken as it is; executors of
// int8 weights then choose a scale for each row.
struct LinearAttrs {
  double input_scale = 0;
  template <class V>
  void Visit(V&& v) {
    v.Optional("input_scale", input_scale);
  }
};

struct LayerNormAttrs {
  double epsilon = 1e-12;
  template <class V>
  void Visit(V&& v) {
    v("epsilon", epsilon);
  }
};

struct ActivationAttrs {
  Activation function = Activation::kIdentity;
  template <class V>
  void Visit(V&& v) {
    v("function", function);
  }
};

enum class PoolKind : uint8_t { kFirst, kMean };  // kMean leaves masked tokens out; all masked: 0
struct PoolAttrs {
  PoolKind kind = PoolKind::kFirst;
  template <class V>
  void Visit(V&& v) {
    v("kind", kind);
  }
};

struct NoAttrs {
  template <class V>
  void Visit(V&&) {}
};

using Attributes = std::variant<NoAttrs, PositionIdsAttrs, AttentionAttrs, LayerNormAttrs,
                                ActivationAttrs, PoolAttrs, LinearAttrs>;

// --- Packed batches

// How the rows of a batch fall into sequences. offsets has sequences + 1 entries, from 0 to tokens.
// mask has one byte per token, 0 for a token that stays in place but is not attended to; empty: none.
struct PackedBatch {
  std::span<const int32_t> offsets;
  std::span<const uint8_t> mask;

  size_t sequences() const { return offsets.size() - 1; }
  size_t tokens() const { return static_cast<size_t>(offsets.back()); }
  size_t rows(Rows kind) const { return kind == Rows::kTokens ? tokens() : sequences(); }
};

// --- The operation table

// A value during reference execution; `ints` for Element::kInt32, `floats` otherwise, row-major.
struct ReferenceValue {
  ValueType type;
  std::vector<float> floats;
  std::vector<int32_t> ints;
};

// Multiply-adds and bytes of weights that one run over `tokens` tokens in `sequences` sequences of equal
// length touches.
struct Workload {
  int64_t tokens = 1;
  int64_t sequences = 1;
  int64_t rows(Rows kind) const { return kind == Rows::kTokens ? tokens : sequences; }
};
struct Cost {
  double macs = 0;          // multiply-adds in products; elementwise work counts as none
  double weight_bytes = 0;  // read from memory once per run
};

// An operation's types and constants, without the graph around them.
struct OpContext {
  const Attributes& attrs;
  std::span<const ValueType> inputs;
  std::span<const Tensor> weights;

  template <class T>
  const T& attr() const {
    return std::get<T>(attrs);
  }
};

struct OpInfo {
  OpKind kind;
  std::string_view name;
  size_t attribute_index;  // alternative of Attributes that the operation carries
  // Checks inputs and weights completely (count, types, ranks, widths) and gives the output's type.
  // What passes here can be executed: executors check only ids that come from data.
  Result<ValueType> (*infer)(const OpContext&);
  Cost (*cost)(const OpContext&, const Workload&);
  // Accumulates in double where the field would, so that it can judge float32 kernels.
  // Ids out of range are an error, everything else was checked by infer.
  Result<ReferenceValue> (*reference)(const OpContext&, const PackedBatch&,
                                      std::span<const ReferenceValue* const> inputs);
};

const OpInfo& GetOp(OpKind kind);
const OpInfo* FindOp(std::string_view name);  // null if there is none

}  // namespace thimble
