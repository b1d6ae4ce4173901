#include "thimble/formats/tfjs/tiny_encoder.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace thimble {
namespace {

using Vector = std::vector<double>;
using Matrix = std::vector<Vector>;

const std::string kRoot = "module_apply_default/Encoder_en/KonaTransformer/";
const std::string kEncode = kRoot + "Encode/";
const std::string kStack = kEncode + "TransformerStack/";
const std::string kStored = "module/Encoder_en/KonaTransformer/Encode/";
const std::string kTiming = kStack + "Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1";
const std::string kTanhLayer = "module/Encoder_en/hidden_layers/tanh_layer_0/";

std::string Layer(int i) { return "Layer_" + std::to_string(i) + "/TransformerLayer/"; }
int WidthIn(int layer) { return layer == 0 ? TinyEncoder::kEmbedding : TinyEncoder::kHidden; }

// y = x W + b with W [in, out] as stored, whatever the leading ones of its shape.
Vector Dense(const Vector& x, const TinyEncoder::Weight& weight, const TinyEncoder::Weight& bias) {
  Vector y(bias.values.begin(), bias.values.end());
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t o = 0; o < y.size(); ++o) y[o] += x[i] * weight.values[i * y.size() + o];
  }
  return y;
}

Vector Norm(const Vector& x, const TinyEncoder::Weight& scale, const TinyEncoder::Weight& bias) {
  const auto n = static_cast<double>(x.size());
  double mean = 0, variance = 0;
  for (const double v : x) mean += v / n;
  for (const double v : x) variance += (v - mean) * (v - mean) / n;
  Vector y;
  for (size_t i = 0; i < x.size(); ++i) {
    y.push_back((x[i] - mean) / std::sqrt(variance + 1e-6) * scale.values[i] + bias.values[i]);
  }
  return y;
}

Vector Sum(const Vector& a, const Vector& b) {
  Vector y;
  for (size_t i = 0; i < a.size(); ++i) y.push_back(a[i] + b[i]);
  return y;
}

// Rows of qkv hold queries, keys and values of `width` each.
Matrix Attention(const Matrix& qkv, int width, int heads) {
  const int head = width / heads;
  Matrix out(qkv.size(), Vector(static_cast<size_t>(width)));
  const auto at = [&](size_t row, int column) { return qkv[row][static_cast<size_t>(column)]; };
  for (size_t t = 0; t < qkv.size(); ++t) {
    for (int h = 0; h < heads; ++h) {
      Vector p;
      double total = 0;
      for (size_t s = 0; s < qkv.size(); ++s) {
        double score = 0;
        for (int d = h * head; d < (h + 1) * head; ++d) score += at(t, d) * at(s, width + d);
        p.push_back(std::exp(score / std::sqrt(head)));
        total += p.back();
      }
      for (int d = h * head; d < (h + 1) * head; ++d) {
        for (size_t s = 0; s < qkv.size(); ++s) {
          out[t][static_cast<size_t>(d)] += p[s] / total * at(s, 2 * width + d);
        }
      }
    }
  }
  return out;
}

}  // namespace

TinyEncoder::TinyEncoder() {
  uint32_t state = 1;
  const auto add = [&](const std::string& name, std::vector<int> shape) {
    size_t count = 1;
    for (const int dim : shape) count *= static_cast<size_t>(dim);
    Weight weight{std::move(shape), {}};
    for (size_t i = 0; i < count; ++i) {
      state = state * 1664525u + 1013904223u;
      weight.values.push_back(static_cast<float>(state >> 16) / 65536.0f - 0.5f);
    }
    weights[name] = std::move(weight);
  };
  const auto constant = [&](const std::string& name, double value) {
    weights[name] = {{}, {static_cast<float>(value)}};
  };
  const auto repeat = [&](const std::string& op, int count) {
    for (int i = 0; i < count; ++i) nodes.push_back({op, op + "_" + std::to_string(i), {}});
  };

  add("module/Embeddings_en", {kVocabulary, kEmbedding});
  weights[kTiming] = {{1, kEmbedding / 2}, {1.0f, 0.125f}};
  for (int i = 0; i < kDepth; ++i) {
    const int in = WidthIn(i);
    const auto norm = [&](const std::string& where, int width) {
      const std::string base =
          kEncode + Layer(i) + where + "layer_prepostprocess/layer_norm/layer_norm_";
      add(base + "scale/ConcatPartitions/concat", {width});
      add(base + "bias/ConcatPartitions/concat", {width});
    };
    norm("", in);
    norm("FFN/", kHidden);
    const std::string attention = Layer(i) + "MultiheadAttention/";
    add(kStored + attention + "qkv_transform_single/kernel/part_0", {1, 1, in, 3 * in});
    add(kEncode + attention + "qkv_transform_single/bias/ConcatPartitions/concat", {3 * in});
    add(kStored + attention + "output_transform_single/kernel/part_0", {1, 1, in, kHidden});
    add(kEncode + attention + "output_transform_single/bias/ConcatPartitions/concat", {kHidden});
    add(kStack + Layer(i) + "FFN/conv1/Tensordot/Reshape_1", {kHidden, kIntermediate});
    add(kEncode + Layer(i) + "FFN/conv1/bias/ConcatPartitions/concat", {kIntermediate});
    add(kStack + Layer(i) + "FFN/conv2/Tensordot/Reshape_1", {kIntermediate, kHidden});
    add(kEncode + Layer(i) + "FFN/conv2/bias/ConcatPartitions/concat", {kHidden});
    const std::string scale = "scale_" + std::to_string(i);
    constant(scale, 1.0 / std::sqrt(in / kHeads));
    nodes.push_back({"Mul", kStack + attention + "mul", {"queries", scale}});
  }
  add(kEncode + Layer(0) + "dense/kernel/ConcatPartitions/concat", {kEmbedding, kHidden});
  add(kEncode + Layer(0) + "dense/bias/ConcatPartitions/concat", {kHidden});
  add(kTanhLayer + "weights", {kHidden, kHidden});
  add(kTanhLayer + "bias", {kHidden});
  constant("heads", kHeads);
  constant("positions", kPositions);
  constant("epsilon", 1e-6);

  nodes.push_back({"Less", kRoot + "ClipToMaxLength/Less", {"indices", "positions"}});
  nodes.push_back(
      {"Pack",
       kStack + Layer(0) + "MultiheadAttention/split_heads/split_last_dimension/Reshape/shape",
       {"batch", "length", "heads", "width"}});
  nodes.push_back(
      {"Add", kStack + Layer(0) + "layer_prepostprocess/layer_norm/add", {"variance", "epsilon"}});
  for (const auto& [op, count] : std::map<std::string, int>{{"Conv2D", 4},
                                                            {"MatMul", 6},
                                                            {"BatchMatMul", 4},
                                                            {"Softmax", 2},
                                                            {"Relu", 2},
                                                            {"Mean", 8},
                                                            {"Square", 5},
                                                            {"Rsqrt", 5},
                                                            {"Sin", 1},
                                                            {"Cos", 1},
                                                            {"Tanh", 1},
                                                            {"RealDiv", 1}}) {
    repeat(op, count);
  }
}

std::string TinyEncoder::model_json() const {
  nlohmann::json root;
  for (const Node& node : nodes) {
    root["modelTopology"]["node"].push_back(
        {{"op", node.op}, {"name", node.name}, {"input", node.inputs}});
  }
  nlohmann::json group{{"paths", {"weights.bin"}}};
  for (const auto& [name, weight] : weights) {
    group["weights"].push_back({{"name", name}, {"shape", weight.shape}, {"dtype", "float32"}});
  }
  root["weightsManifest"].push_back(group);
  return root.dump();
}

std::string TinyEncoder::weights_bin() const {
  std::string bytes;
  for (const auto& [name, weight] : weights) {
    bytes.append(reinterpret_cast<const char*>(weight.values.data()),
                 weight.values.size() * sizeof(float));
  }
  return bytes;
}

std::string TinyEncoder::vocab_json() const {
  return R"([["?",0],["<s>",0],["</s>",0],["x",0],["y",0],["z",0],["▁",-3],["a",-2],["▁a",-2.5],["b",null]])";
}

std::vector<double> TinyEncoder::Embed(const std::vector<int>& ids) const {
  const auto w = [&](const std::string& name) -> const Weight& { return weights.at(name); };
  const auto joined = [&](const std::string& path) -> const Weight& {
    return w(kEncode + path + "/ConcatPartitions/concat");
  };
  Matrix x;
  for (size_t t = 0; t < ids.size(); ++t) {
    Vector row;
    const std::vector<float>& table = w("module/Embeddings_en").values;
    const std::vector<float>& frequencies = w(kTiming).values;
    for (size_t d = 0; d < kEmbedding; ++d) {
      const double angle = static_cast<double>(t) * frequencies[d % (kEmbedding / 2)];
      const double word = table[static_cast<size_t>(ids[t]) * kEmbedding + d];
      row.push_back(word + (word + (d < kEmbedding / 2 ? std::sin(angle) : std::cos(angle))));
    }
    x.push_back(row);
  }
  for (int i = 0; i < kDepth; ++i) {
    const std::string layer = Layer(i), norm = "layer_prepostprocess/layer_norm/layer_norm_";
    const std::string attention = layer + "MultiheadAttention/";
    Matrix qkv;
    for (const Vector& row : x) {
      qkv.push_back(Dense(Norm(row, joined(layer + norm + "scale"), joined(layer + norm + "bias")),
                          w(kStored + attention + "qkv_transform_single/kernel/part_0"),
                          joined(attention + "qkv_transform_single/bias")));
    }
    const Matrix attended = Attention(qkv, WidthIn(i), kHeads);
    for (size_t t = 0; t < x.size(); ++t) {
      const Vector y =
          Dense(attended[t], w(kStored + attention + "output_transform_single/kernel/part_0"),
                joined(attention + "output_transform_single/bias"));
      const Vector residual =
          i == 0 ? Dense(x[t], joined(layer + "dense/kernel"), joined(layer + "dense/bias")) : x[t];
      x[t] = Sum(y, residual);
      Vector inner = Dense(Norm(x[t], joined(layer + "FFN/" + norm + "scale"),
                                joined(layer + "FFN/" + norm + "bias")),
                           w(kStack + layer + "FFN/conv1/Tensordot/Reshape_1"),
                           joined(layer + "FFN/conv1/bias"));
      for (double& v : inner) v = std::max(v, 0.0);
      x[t] = Sum(Dense(inner, w(kStack + layer + "FFN/conv2/Tensordot/Reshape_1"),
                       joined(layer + "FFN/conv2/bias")),
                 x[t]);
    }
  }
  Vector mean(kHidden, 0.0);
  for (const Vector& row : x) mean = Sum(mean, row);
  for (double& v : mean) v /= static_cast<double>(x.size());
  Vector out = Dense(mean, w(kTanhLayer + "weights"), w(kTanhLayer + "bias"));
  double squares = 0;
  for (double& v : out) v = std::tanh(v), squares += v * v;
  for (double& v : out) v /= std::sqrt(squares);
  return out;
}

}  // namespace thimble
