#include "thimble/formats/tflite/test_tflite_models.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>

#include "thimble/base/half.h"
#include "thimble/base/random.h"

namespace thimble {
namespace {

using enum tfl::BuiltinOperator;

template <class T>
std::vector<uint8_t> Bytes(const std::vector<T>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <class T>
tfl::BuiltinOptionsUnion Options(T options) {
  tfl::BuiltinOptionsUnion result;
  result.Set(std::move(options));
  return result;
}

tfl::TensorT Described(tfl::TensorType type, const Shape& shape) {
  tfl::TensorT tensor;
  tensor.type = type;
  tensor.shape.assign(shape.begin(), shape.end());
  return tensor;
}

void Append(std::string& to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i));
}

// An archive of stored members whose offsets count from the beginning of the file, as zipfile appends it.
std::string Archive(size_t begin, const std::map<std::string, std::string>& files) {
  std::string members, directory;
  for (const auto& [name, text] : files) {
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(text.data()), uInt(text.size()));
    std::string common;
    Append(common, 20, 2), Append(common, 0, 2), Append(common, 0, 2), Append(common, 0, 4);
    Append(common, crc, 4), Append(common, text.size(), 4), Append(common, text.size(), 4);
    Append(common, name.size(), 2), Append(common, 0, 2);
    const size_t offset = begin + members.size();
    Append(members, 0x04034b50, 4);
    members += common + name + text;
    Append(directory, 0x02014b50, 4), Append(directory, 20, 2);
    directory += common;
    Append(directory, 0, 2), Append(directory, 0, 2), Append(directory, 0, 2);
    Append(directory, 0, 4), Append(directory, offset, 4);
    directory += name;
  }
  std::string end;
  Append(end, 0x06054b50, 4), Append(end, 0, 4), Append(end, files.size(), 2);
  Append(end, files.size(), 2), Append(end, directory.size(), 4);
  Append(end, begin + members.size(), 4), Append(end, 0, 2);
  return members + directory + end;
}

}  // namespace

TestTfliteFile::TestTfliteFile() {
  model_.version = 3;
  model_.subgraphs.push_back(std::make_unique<tfl::SubGraphT>());
  model_.buffers.push_back(std::make_unique<tfl::BufferT>());
}

int TestTfliteFile::Tensor(tfl::TensorT tensor, std::vector<uint8_t> bytes) {
  if (!bytes.empty()) {
    tensor.buffer = static_cast<uint32_t>(model_.buffers.size());
    model_.buffers.push_back(std::make_unique<tfl::BufferT>());
    model_.buffers.back()->data = std::move(bytes);
  }
  graph().tensors.push_back(std::make_unique<tfl::TensorT>(std::move(tensor)));
  return static_cast<int>(graph().tensors.size()) - 1;
}

int TestTfliteFile::Input(const std::string& name, const Shape& shape, const Shape& signature) {
  tfl::TensorT tensor = Described(tfl::TensorType::INT32, shape);
  tensor.name = name;
  tensor.shape_signature.assign(signature.begin(), signature.end());
  const int index = Tensor(std::move(tensor), {});
  graph().inputs.push_back(index);
  return index;
}

int TestTfliteFile::Floats(const Shape& shape, const std::vector<float>& values) {
  return Tensor(Described(tfl::TensorType::FLOAT32, shape), Bytes(values));
}

int TestTfliteFile::Ints(const std::vector<int32_t>& values) {
  return Tensor(Described(tfl::TensorType::INT32, {int64_t(values.size())}), Bytes(values));
}

int TestTfliteFile::Int(int32_t value) {
  return Tensor(Described(tfl::TensorType::INT32, {}), Bytes(std::vector{value}));
}

int TestTfliteFile::Halves(const Shape& shape, const std::vector<float>& values) {
  std::vector<uint16_t> halves;
  for (const float value : values) halves.push_back(FloatToHalf(value));
  const int stored = Tensor(Described(tfl::TensorType::FLOAT16, shape), Bytes(halves));
  return Op(DEQUANTIZE, {stored});
}

int TestTfliteFile::Codes(const Shape& shape, const std::vector<float>& values, bool per_row) {
  const size_t rows = per_row ? static_cast<size_t>(shape[0]) : 1;
  const size_t width = values.size() / rows;
  std::vector<int8_t> codes;
  tfl::TensorT tensor = Described(tfl::TensorType::INT8, shape);
  tensor.quantization = std::make_unique<tfl::QuantizationParametersT>();
  for (size_t r = 0; r < rows; ++r) {
    float largest = 1e-6f;
    for (size_t i = 0; i < width; ++i) largest = std::max(largest, std::abs(values[r * width + i]));
    tensor.quantization->scale.push_back(largest / 127);
    tensor.quantization->zero_point.push_back(0);
    for (size_t i = 0; i < width; ++i) {
      codes.push_back(static_cast<int8_t>(std::lround(values[r * width + i] / (largest / 127))));
    }
  }
  return Tensor(std::move(tensor), Bytes(codes));
}

std::vector<int> TestTfliteFile::Ops(tfl::BuiltinOperator code, const std::vector<int>& inputs,
                                     size_t outputs, tfl::BuiltinOptionsUnion options) {
  auto entry = std::make_unique<tfl::OperatorCodeT>();
  entry->deprecated_builtin_code = static_cast<int8_t>(std::min<int>(int(code), 127));
  entry->builtin_code = code;
  auto op = std::make_unique<tfl::OperatorT>();
  op->opcode_index = static_cast<uint32_t>(model_.operator_codes.size());
  model_.operator_codes.push_back(std::move(entry));
  op->inputs = inputs;
  op->builtin_options = std::move(options);
  for (size_t i = 0; i < outputs; ++i) {
    op->outputs.push_back(Tensor(Described(tfl::TensorType::FLOAT32, {}), {}));
  }
  const std::vector<int> made = op->outputs;
  graph().operators.push_back(std::move(op));
  return made;
}

int TestTfliteFile::Custom(const std::string& name, const std::vector<int>& inputs) {
  const int output = Op(CUSTOM, inputs);
  model_.operator_codes.back()->custom_code = name;
  return output;
}

void TestTfliteFile::Output(int tensor, const std::string& name) {
  graph().outputs.push_back(tensor);
  graph().tensors[static_cast<size_t>(tensor)]->name = name;
}

std::string TestTfliteFile::Finish(const std::map<std::string, std::string>& files) const {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(tfl::Model::Pack(builder, &model_), tfl::ModelIdentifier());
  std::string bytes(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
  return files.empty() ? bytes : bytes + Archive(bytes.size(), files);
}

namespace {

// One model, written as `t` says.
class ModelWriter {
 public:
  explicit ModelWriter(const TestTransformer& t) : t_(t), random_(7) {}

  std::string Run(const std::map<std::string, std::string>& files) {
    const int s = t_.tokens;
    const Shape shape = {1, t_.open_length ? 1 : s};
    const Shape signature = t_.open_length ? Shape{1, -1} : Shape{};
    ids_ = f_.Input("ids", shape, signature);
    const bool has_mask =
        t_.mask != TestTransformer::Mask::kNone && t_.mask != TestTransformer::Mask::kFromIds;
    if (has_mask) mask_ = f_.Input("mask", shape, signature);
    const bool has_types = t_.types != TestTransformer::Types::kNone;
    const int types = has_types ? f_.Input("segments", shape, signature) : -1;
    PrepareMask();
    int x = Embeddings(types);
    const size_t of_layers = kept_.size();
    for (int layer = 0; layer < t_.layers; ++layer) {
      if (t_.shared_layers && layer > 0) next_ = of_layers, reuse_ = true;
      x = Layer(x);
      reuse_ = false;
    }
    if (t_.pre_norm) x = LayerNorm(x, t_.width);
    Head(x);
    return f_.Finish(files);
  }

 private:
  using T = TestTransformer;

  std::vector<float> Random(int64_t count, float spread, float middle = 0) {
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) {
      values.push_back(middle + spread * static_cast<float>(random_.Normal()));
    }
    return values;
  }
  int Matrix(const Shape& shape, std::vector<float> values) {
    switch (t_.weights) {
      case T::Weights::kHalf:
        return f_.Halves(shape, values);
      case T::Weights::kCodes:
        return f_.Codes(shape, values, false);
      case T::Weights::kCodesPerRow:
        return f_.Codes(shape, values, true);
      default:
        return f_.Floats(shape, values);
    }
  }
  // A constant of the layer, the same for all layers where they share.
  int Kept(const std::function<int()>& make) {
    if (!reuse_) kept_.push_back(make());
    return reuse_ ? kept_[next_++] : kept_.back();
  }
  int Vector(int64_t size, float spread, float middle = 0) {
    return Kept([&] { return f_.Floats({size}, Random(size, spread, middle)); });
  }

  int Reshape(int x, const std::vector<int32_t>& shape) {
    return f_.Op(RESHAPE, {x, f_.Ints(shape)}, Options(tfl::ReshapeOptionsT()));
  }
  int Transpose(int x, const std::vector<int32_t>& order) {
    return f_.Op(TRANSPOSE, {x, f_.Ints(order)}, Options(tfl::TransposeOptionsT()));
  }
  int Add(int a, int b) { return f_.Op(ADD, {a, b}, Options(tfl::AddOptionsT())); }
  int Sub(int a, int b) { return f_.Op(SUB, {a, b}, Options(tfl::SubOptionsT())); }
  int Mul(int a, int b) { return f_.Op(MUL, {a, b}, Options(tfl::MulOptionsT())); }
  int Mean(int x, int axis, bool keep, tfl::BuiltinOperator op = MEAN) {
    tfl::ReducerOptionsT options;
    options.keep_dims = keep;
    return f_.Op(op, {x, f_.Ints({axis})}, Options(options));
  }
  int MatMul(int a, int b, bool transposed_b) {
    tfl::BatchMatMulOptionsT options;
    options.adj_y = transposed_b;
    return f_.Op(BATCH_MATMUL, {a, b}, Options(options));
  }
  int FullyConnected(int x, int weight, int bias, bool keep, bool relu = false) {
    tfl::FullyConnectedOptionsT options;
    options.keep_num_dims = keep;
    if (relu) options.fused_activation_function = tfl::ActivationFunctionType::RELU;
    return f_.Op(FULLY_CONNECTED, {x, weight, bias}, Options(options));
  }
  int Concat(const std::vector<int>& parts, int axis) {
    tfl::ConcatenationOptionsT options;
    options.axis = axis;
    return f_.Op(CONCATENATION, parts, Options(options));
  }
  int Pack(const std::vector<int>& parts, int axis) {
    tfl::PackOptionsT options;
    options.values_count = static_cast<int32_t>(parts.size());
    options.axis = axis;
    return f_.Op(PACK, parts, Options(options));
  }
  std::vector<int> Split(int x, int axis, int count) {
    tfl::SplitOptionsT options;
    options.num_splits = count;
    return f_.Ops(SPLIT, {f_.Int(axis), x}, size_t(count), Options(options));
  }
  int Softmax(int x) {
    tfl::SoftmaxOptionsT options;
    options.beta = 1;
    return f_.Op(SOFTMAX, {x}, Options(options));
  }
  int StridedSlice(int x, const std::vector<int32_t>& begin, const std::vector<int32_t>& end,
                   int begin_mask, int end_mask, int shrink, int new_axis = 0) {
    tfl::StridedSliceOptionsT options;
    options.begin_mask = begin_mask, options.end_mask = end_mask;
    options.shrink_axis_mask = shrink, options.new_axis_mask = new_axis;
    const std::vector<int32_t> ones(begin.size(), 1);
    return f_.Op(STRIDED_SLICE, {x, f_.Ints(begin), f_.Ints(end), f_.Ints(ones)}, Options(options));
  }

  // [1, S, in] -> [1, S, out]; as a product with a matrix laid the other way where the style is einsum's.
  int Linear(int x, int in, int out, bool relu = false) {
    const float spread = 1 / std::sqrt(static_cast<float>(in));
    if (t_.attention == T::Attention::kEinsum && t_.weights == T::Weights::kFloat && !relu) {
      const int w = Kept([&] { return f_.Floats({in, out}, Random(int64_t(in) * out, spread)); });
      const int bias = Vector(out, 0.3f);
      return Add(MatMul(x, w, false), bias);
    }
    const int w = Kept([&] { return Matrix({out, in}, Random(int64_t(in) * out, spread)); });
    return FullyConnected(x, w, Vector(out, 0.3f), true, relu);
  }

  int LayerNorm(int x, int width) {
    const int gain = Vector(width, 0.2f, 1), shift = Vector(width, 0.2f);
    if (t_.norm == T::Norm::kNoNorm) return Add(Mul(x, gain), shift);
    const int mean = Mean(x, t_.norm == T::Norm::kFolded ? 2 : -1, true);
    if (t_.norm == T::Norm::kFolded) {
      const int variance = Mean(f_.Op(SQUARED_DIFFERENCE, {x, mean}), 2, true);
      const int scale = Mul(f_.Op(RSQRT, {Add(variance, f_.Float(1e-12f))}), gain);
      return Add(Mul(x, scale), Sub(shift, Mul(mean, scale)));
    }
    const int centred = Sub(x, mean);
    const int variance = Mean(Mul(centred, centred), -1, true);
    const int deviation = f_.Op(SQRT, {Add(variance, f_.Float(1e-5f))});
    const int normal = f_.Op(DIV, {centred, deviation}, Options(tfl::DivOptionsT()));
    return Add(Mul(gain, normal), shift);
  }

  int Activation(int x) {
    switch (t_.gelu) {
      case T::Gelu::kBuiltin:
        return f_.Op(GELU, {x}, Options(tfl::GeluOptionsT()));
      case T::Gelu::kTanhPieces: {
        const int cube = f_.Op(POW, {x, f_.Float(3)}, Options(tfl::PowOptionsT()));
        const int inner = Add(x, Mul(f_.Float(0.044715f), cube));
        const int tanh = f_.Op(TANH, {Mul(inner, f_.Float(0.7978845608f))});
        return Mul(x, Mul(f_.Float(0.5f), Add(tanh, f_.Float(1))));
      }
      case T::Gelu::kErfPieces: {
        const int erf = f_.Custom("FlexErf", {Mul(x, f_.Float(0.70710678f))});
        return Mul(Mul(x, f_.Float(0.5f)), Add(f_.Float(1), erf));
      }
      case T::Gelu::kRelu:
        return f_.Op(RELU, {x});
    }
    return x;
  }

  // What is added to (or chosen for) scores [1, heads, S, S].
  void PrepareMask() {
    const int s = t_.tokens;
    switch (t_.mask) {
      case T::Mask::kAdded: {
        const int as_float = f_.Op(CAST, {Reshape(mask_, {1, 1, s})}, Options(tfl::CastOptionsT()));
        const int pairs = Mul(as_float, f_.Floats({1, s, s}, std::vector<float>(size_t(s * s), 1)));
        additive_ = Mul(Sub(f_.Float(1), Reshape(pairs, {1, 1, s, s})), f_.Float(-10000));
        break;
      }
      case T::Mask::kSubtracted: {
        const int wide = StridedSlice(mask_, {0, 0, 0, 0}, {0, 0, 0, 0}, 15, 15, 0, 6);
        const int as_float = f_.Op(CAST, {wide}, Options(tfl::CastOptionsT()));
        additive_ = Mul(f_.Float(1e6f), Sub(f_.Float(1), as_float));
        break;
      }
      case T::Mask::kSelected:
        additive_ = Reshape(f_.Op(EQUAL, {mask_, f_.Int(0)}), {1, 1, 1, s});
        break;
      case T::Mask::kFromIds: {
        const int there = f_.Op(NOT_EQUAL, {ids_, f_.Int(0)});
        const int as_float =
            f_.Op(CAST, {Reshape(there, {1, 1, 1, -1})}, Options(tfl::CastOptionsT()));
        additive_ = Mul(Sub(as_float, f_.Float(1)), f_.Float(1e9f));
        break;
      }
      case T::Mask::kNone:
        break;
    }
  }
  int Masked(int scores) {
    switch (t_.mask) {
      case T::Mask::kAdded:
      case T::Mask::kFromIds:
        return Add(scores, additive_);
      case T::Mask::kSubtracted:
        return Sub(scores, additive_);
      case T::Mask::kSelected:
        return f_.Op(SELECT_V2, {additive_, f_.Float(-1e30f), scores});
      case T::Mask::kNone:
        return scores;
    }
    return scores;
  }

  int Embeddings(int types) {
    const int s = t_.tokens, width = t_.trigram ? t_.width / 2 : t_.width;
    std::vector<float> words = Random(int64_t(t_.vocabulary) * width, 1);
    std::fill(words.begin(), words.begin() + width, 0.0f);  // of padding
    const bool codes = t_.weights == T::Weights::kCodes;
    const int table = codes ? f_.Codes({t_.vocabulary, width}, words, false)
                            : f_.Floats({t_.vocabulary, width}, words);
    int x = f_.Op(GATHER, {table, ids_}, Options(tfl::GatherOptionsT()));
    if (codes) x = f_.Op(DEQUANTIZE, {x}, Options(tfl::DequantizeOptionsT()));
    if (t_.trigram) {
      const int after = StridedSlice(x, {0, 1, 0}, {0, 0, 0}, 7 - 2, 7, 0);
      const int before = StridedSlice(x, {0, 0, 0}, {0, -1, 0}, 7, 7 - 2, 0);
      const auto padded = [&](int part, const std::vector<int32_t>& p) {
        const int paddings = f_.Tensor(Described(tfl::TensorType::INT32, {3, 2}), Bytes(p));
        return f_.Op(PAD, {part, paddings}, Options(tfl::PadOptionsT()));
      };
      x = Concat({padded(after, {0, 0, 0, 1, 0, 0}), x, padded(before, {0, 0, 1, 0, 0, 0})}, 2);
      x = Linear(x, 3 * width, t_.width);
    }
    if (t_.types != T::Types::kNone) {
      const std::vector<float> rows = Random(2 * t_.width, 0.5f);
      int added;
      if (t_.types == T::Types::kLookup) {
        added = f_.Op(EMBEDDING_LOOKUP, {Reshape(types, {-1}), f_.Floats({2, t_.width}, rows)});
      } else {
        tfl::OneHotOptionsT options;
        options.axis = -1;
        const int hot = f_.Op(ONE_HOT, {Reshape(types, {-1}), f_.Int(2), f_.Float(1), f_.Float(0)},
                              Options(options));
        added = FullyConnected(hot, f_.Floats({t_.width, 2}, rows), -1, false);
      }
      x = Add(x, t_.open_length ? LikeIds(added) : Reshape(added, {1, s, t_.width}));
    }
    const int positions = t_.open_length || t_.counted_positions ? 40 : s;
    const std::vector<float> rows = Random(int64_t(positions) * t_.width, 0.5f);
    if (t_.counted_positions) {
      const auto cast = [&](int y) { return f_.Op(CAST, {y}, Options(tfl::CastOptionsT())); };
      const int there = cast(f_.Op(NOT_EQUAL, {ids_, f_.Int(0)}));
      const int count = f_.Op(CUMSUM, {there, f_.Int(1)}, Options(tfl::CumsumOptionsT()));
      const int places = Mul(Add(count, f_.Int(0)), there);
      const int all = f_.Floats({positions, t_.width}, rows);
      const int indices = cast(Add(places, f_.Int(0)));
      x = Add(x, f_.Op(GATHER, {all, indices}, Options(tfl::GatherOptionsT())));
    } else if (t_.open_length) {
      const int length = StridedSlice(f_.Op(SHAPE, {ids_}), {1}, {2}, 0, 0, 1);
      const int range = f_.Op(RANGE, {f_.Int(0), length, f_.Int(1)});
      const int all = f_.Floats({positions, t_.width}, rows);
      x = Add(x, f_.Op(GATHER, {all, range}, Options(tfl::GatherOptionsT())));
    } else {
      x = Add(x, f_.Floats({1, s, t_.width}, rows));
    }
    return t_.pre_norm ? x : LayerNorm(x, t_.width);
  }
  // [S, width] as [1, S, width], with a shape that is computed.
  int LikeIds(int x) {
    const int length = StridedSlice(f_.Op(SHAPE, {ids_}), {1}, {2}, 0, 0, 1);
    const int shape = Pack({f_.Int(1), length, f_.Int(t_.width)}, 0);
    return f_.Op(RESHAPE, {x, shape}, Options(tfl::ReshapeOptionsT()));
  }

  int Attention(int x, int width) {
    const int s = t_.open_length ? -1 : t_.tokens, h = t_.heads, d = width / h;
    const float scale = 1 / std::sqrt(static_cast<float>(d));
    const auto split_heads = [&](int y) { return Reshape(y, {1, s, h, d}); };
    if (t_.attention == T::Attention::kUnrolled) {
      // Keys times queries, head by head, transposed afterwards.
      const int q = Mul(split_heads(Linear(x, width, width)), f_.Float(scale));
      const int k = split_heads(Linear(x, width, width));
      const int v = split_heads(Linear(x, width, width));
      const auto heads = [&](int y, const std::vector<int32_t>& order, std::vector<int32_t> shape) {
        return Split(Reshape(Transpose(y, order), shape), 0, h);
      };
      const auto ks = heads(k, {0, 2, 1, 3}, {h, s, d}), qs = heads(q, {0, 2, 3, 1}, {h, d, s});
      std::vector<int> scores, contexts;
      for (int i = 0; i < h; ++i) {
        const int transposed = Transpose(Reshape(qs[size_t(i)], {d, s}), {1, 0});
        scores.push_back(FullyConnected(ks[size_t(i)], transposed, -1, false));
      }
      int all = Transpose(Reshape(Pack(scores, 0), {1, h, s, s}), {0, 1, 3, 2});
      all = Softmax(Masked(all));
      const auto weights = Split(Reshape(all, {h, s, s}), 0, h);
      const auto vs = heads(v, {0, 2, 1, 3}, {h, s, d});
      for (int i = 0; i < h; ++i) {
        const int transposed = Transpose(Reshape(vs[size_t(i)], {s, d}), {1, 0});
        contexts.push_back(FullyConnected(weights[size_t(i)], transposed, -1, false));
      }
      const int context = Reshape(Pack(contexts, 0), {1, h, s, d});
      return Reshape(Transpose(context, {0, 2, 1, 3}), {1, s, width});
    }
    if (t_.attention == T::Attention::kSeparateHeads) {
      std::vector<int> contexts;
      for (int i = 0; i < h; ++i) {
        const int q = Linear(x, width, d), k = Linear(x, width, d), v = Linear(x, width, d);
        int scores = Reshape(Mul(MatMul(q, k, true), f_.Float(scale)), {1, 1, s, s});
        scores = Reshape(Softmax(Masked(scores)), {1, s, s});
        contexts.push_back(MatMul(scores, v, false));
      }
      return Concat(contexts, 2);
    }
    std::vector<int> qkv;
    if (t_.attention == T::Attention::kFusedQkv) {
      qkv = Split(Linear(x, width, 3 * width), 2, 3);
      for (int& part : qkv) part = split_heads(part);
    } else {
      // Bias added to heads, as einsum layers do.
      for (int i = 0; i < 3; ++i) {
        const int w = Kept([&] {
          return Matrix({width, width},
                        Random(int64_t(width) * width, 1 / std::sqrt(float(width))));
        });
        const int bias = Kept([&] { return f_.Floats({h, d}, Random(width, 0.3f)); });
        qkv.push_back(Add(split_heads(FullyConnected(x, w, -1, true)), bias));
      }
    }
    for (int& part : qkv) part = Transpose(part, {0, 2, 1, 3});
    const bool early = t_.attention == T::Attention::kEinsum;
    const int q = early ? Mul(qkv[0], f_.Float(scale)) : qkv[0];
    int scores = MatMul(q, qkv[1], true);
    if (!early) {
      scores = f_.Op(DIV, {scores, f_.Float(1 / scale)}, Options(tfl::DivOptionsT()));
    }
    const int context = MatMul(Softmax(Masked(scores)), qkv[2], false);
    return Reshape(Transpose(context, {0, 2, 1, 3}), {1, s, width});
  }

  int Layer(int x) {
    if (t_.pre_norm) {
      x = Add(x, Linear(Attention(LayerNorm(x, t_.width), t_.width), t_.width, t_.width));
      const int f = Activation(Linear(LayerNorm(x, t_.width), t_.width, t_.inner));
      return Add(x, Linear(f, t_.inner, t_.width));
    }
    const int width = t_.bottleneck ? t_.width / 2 : t_.width;
    const int inside = t_.bottleneck ? LayerNorm(Linear(x, t_.width, width), width) : x;
    int y = Linear(Attention(inside, width), width, width);
    y = LayerNorm(Add(y, inside), width);
    const int f = t_.gelu == T::Gelu::kRelu ? Linear(y, width, t_.inner, true)
                                            : Activation(Linear(y, width, t_.inner));
    y = LayerNorm(Add(Linear(f, t_.inner, width), y), width);
    return t_.bottleneck ? LayerNorm(Add(Linear(y, width, t_.width), x), t_.width) : y;
  }

  void Head(int x) {
    const int s = t_.tokens;
    int pooled = x;
    if (t_.head == T::Head::kFirst) {
      pooled = StridedSlice(x, {0, 0, 0}, {0, 1, 0}, 5, 5, 2);
      pooled =
          FullyConnected(pooled, Matrix({t_.width, t_.width}, Random(t_.width * t_.width, 0.3f)),
                         f_.Floats({t_.width}, Random(t_.width, 0.3f)), false);
      pooled = f_.Op(TANH, {pooled});
    } else if (t_.head == T::Head::kMean && mask_ >= 0) {
      const int there = f_.Op(CAST, {Reshape(mask_, {1, s, 1})}, Options(tfl::CastOptionsT()));
      const int sum = Mean(Mul(x, there), 1, false, SUM), count = Mean(there, 1, false, SUM);
      pooled = f_.Op(DIV, {sum, count}, Options(tfl::DivOptionsT()));
    } else if (t_.head == T::Head::kMean) {
      pooled = Mean(x, 1, false);
    }
    const int count = t_.head == T::Head::kAnswers ? 2 : t_.labels;
    int logits = FullyConnected(
        pooled, f_.Floats({count, t_.width}, Random(int64_t(count) * t_.width, 0.5f)),
        f_.Floats({count}, Random(count, 0.5f)),
        t_.head == T::Head::kTokens || t_.head == T::Head::kAnswers);
    if (t_.head == T::Head::kAnswers) {
      tfl::UnpackOptionsT options;
      options.num = 2, options.axis = -1;
      const auto ends = f_.Ops(UNPACK, {logits}, 2, Options(options));
      f_.Output(ends[1], "end_logits");
      f_.Output(ends[0], "start_logits");
      return;
    }
    if (t_.end == T::End::kLogistic) logits = f_.Op(LOGISTIC, {logits});
    if (t_.end == T::End::kSoftmax) logits = Softmax(logits);
    f_.Output(logits, "probability");
  }

  const TestTransformer t_;
  TestTfliteFile f_;
  thimble::Random random_;
  int ids_ = -1, mask_ = -1, additive_ = -1;
  std::vector<int> kept_;
  size_t next_ = 0;
  bool reuse_ = false;
};

}  // namespace

std::string TestTransformer::Build(const std::map<std::string, std::string>& files) const {
  return ModelWriter(*this).Run(files);
}

}  // namespace thimble
