// Graphs as torch.onnx, ONNX Runtime's optimizer and its quantizer spell them, read into ours: which operations they
// become, and whether ONNX Runtime computes from the original what the reference computes from the result.
#include "thimble/formats/onnx/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <onnx/defs/parser.h>
#include <onnx/onnx_pb.h>

#include <deque>
#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "tests/onnx/recording.h"
#include "tests/support/judged.h"
#include "thimble/formats/onnx/export.h"
#include "thimble/formats/thimble/example_model.h"

namespace thimble {
namespace {

using testing::HasSubstr;

constexpr int64_t kPieces = 13, kColumns = 8;

// Numbers in [-1, 1) that look random, the same for the same name.
std::vector<float> Numbers(const std::string& name, size_t count) {
  uint32_t state = 7;
  for (const char c : name) state = state * 31 + static_cast<uint8_t>(c);
  std::vector<float> numbers(count);
  for (float& number : numbers) {
    state = state * 1664525 + 1013904223;
    number = static_cast<float>(state >> 8) * 0x1p-23f - 1;
  }
  return numbers;
}

// One graph: nodes in ONNX's text form between the embedded words `x` [batch, sequence, 8] and the output `y`.
struct Case {
  const char* name;
  const char* nodes;
  const char* ops;  // what ours has, in order, behind the embedding
  int opset = 17;
  bool per_sequence = false;
  bool fixed = false;  // [3, 5] in place of free sizes
  const char* more_inputs = "";
};

class GraphText {
 public:
  explicit GraphText(const Case& c) {
    proto_.set_ir_version(8);
    proto_.add_opset_import()->set_version(c.opset);
    auto* runtime = proto_.add_opset_import();
    runtime->set_domain("com.microsoft");
    runtime->set_version(1);
    onnx::GraphProto& graph = *proto_.mutable_graph();
    graph.set_name("case");
    for (const char* input : {"input_ids", "attention_mask"})
      Info(graph.add_input(), input, onnx::TensorProto::INT64, c.fixed);
    if (*c.more_inputs != '\0')
      Info(graph.add_input(), c.more_inputs, onnx::TensorProto::INT64, c.fixed);
    Output("y");
    Constants();
    const std::string text = "{ x = Gather (words, input_ids) " + std::string(c.nodes) + " }";
    const auto status = onnx::OnnxParser::Parse(*graph.mutable_node(), text.c_str());
    EXPECT_TRUE(status.IsOK()) << c.name << ": " << status.ErrorMessage();
    for (int i = 0; i < graph.node_size(); ++i)
      graph.mutable_node(i)->set_name("n" + std::to_string(i));
    // Constants that no node reads.
    std::set<std::string> used;
    for (const auto& node : graph.node()) used.insert(node.input().begin(), node.input().end());
    for (int i = graph.initializer_size() - 1; i >= 0; --i) {
      if (!used.contains(graph.initializer(i).name()))
        graph.mutable_initializer()->DeleteSubrange(i, 1);
    }
  }
  onnx::ModelProto& proto() { return proto_; }
  void Output(const std::string& name) {
    auto* output = proto_.mutable_graph()->add_output();
    output->set_name(name);
    output->mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
  }
  std::string File() const { return proto_.SerializeAsString(); }

 private:
  static void Info(onnx::ValueInfoProto* info, const std::string& name, int type, bool fixed) {
    info->set_name(name);
    info->mutable_type()->mutable_tensor_type()->set_elem_type(type);
    auto* shape = info->mutable_type()->mutable_tensor_type()->mutable_shape();
    for (const int64_t size : {int64_t{kSequences}, int64_t{kTokens}}) {
      auto* dim = shape->add_dim();
      if (fixed) {
        dim->set_dim_value(size);
      } else {
        dim->set_dim_param(size == kSequences ? "batch" : "sequence");
      }
    }
  }
  void Floats(const std::string& name, std::vector<int64_t> dims,
              const std::vector<float>& values) {
    auto* tensor = proto_.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    for (const int64_t d : dims) tensor->add_dims(d);
    for (const float v : values) tensor->add_float_data(v);
  }
  void Random(const std::string& name, std::vector<int64_t> dims) {
    int64_t count = 1;
    for (const int64_t d : dims) count *= d;
    Floats(name, dims, Numbers(name, static_cast<size_t>(count)));
  }
  void Integers(const std::string& name, std::vector<int64_t> dims,
                const std::vector<int64_t>& values) {
    auto* tensor = proto_.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::INT64);
    for (const int64_t d : dims) tensor->add_dims(d);
    for (const int64_t v : values) tensor->add_int64_data(v);
  }
  void Codes(const std::string& name, std::vector<int64_t> dims, int type, int low, int range) {
    auto* tensor = proto_.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    size_t count = 1;
    for (const int64_t d : dims) tensor->add_dims(d), count *= static_cast<size_t>(d);
    for (const float v : Numbers(name, count)) {
      tensor->add_int32_data(low + static_cast<int>((v + 1) / 2 * static_cast<float>(range)));
    }
  }
  void Constants() {
    Random("words", {kPieces, kColumns});
    Random("places", {9, kColumns});
    Random("types", {2, kColumns});
    for (const char* matrix : {"wq", "wk", "wv", "wo"}) Random(matrix, {kColumns, kColumns});
    for (const char* vector : {"gain", "bias", "bq", "bv"}) Random(vector, {kColumns});
    Random("w3", {kColumns, 3 * kColumns});
    Random("b3", {3 * kColumns});
    Random("w2", {2, kColumns});
    Random("b2", {2});
    for (const auto& [name, value] : std::map<std::string, float>{{"half", 0.5f},
                                                                  {"one", 1},
                                                                  {"two", 2},
                                                                  {"three", 3},
                                                                  {"root2", 1.41421354f},
                                                                  {"unroot2", 0.70710677f},
                                                                  {"eps", 1e-5f},
                                                                  {"cubic", 0.044715f},
                                                                  {"tanhscale", 0.79788458f},
                                                                  {"quick", 1.702f},
                                                                  {"lowest", -3.4e38f},
                                                                  {"zero", 0},
                                                                  {"six", 6},
                                                                  {"tiny", 1e-9f},
                                                                  {"minushalf", -0.5f},
                                                                  {"scale_x", 0.015f},
                                                                  {"scale_w", 0.01f}}) {
      Floats(name, {}, {value});
    }
    for (const auto& [name, values] :
         std::map<std::string, std::vector<int64_t>>{{"i0", {0}},
                                                     {"i1", {1}},
                                                     {"i2", {2}},
                                                     {"i12", {1, 2}},
                                                     {"last", {-1}},
                                                     {"heads4", {2, 4}},
                                                     {"heads", {0, 0, 2, 4}},
                                                     {"merged", {0, 0, 8}},
                                                     {"fixedheads", {3, 5, 2, 4}},
                                                     {"fixedmerged", {3, 5, 8}},
                                                     {"m4", {4}},
                                                     {"m8", {8}},
                                                     {"flat", {-1, 8}},
                                                     {"all", {9223372036854775807}},
                                                     {"pad_end", {0, 0, 0, 0, 1, 0}},
                                                     {"pad_front", {0, 1, 0, 0, 0, 0}}}) {
      Integers(name, {static_cast<int64_t>(values.size())}, values);
    }
    for (const auto& [name, value] :
         std::map<std::string, int64_t>{{"s0", 0}, {"s1", 1}, {"padding", 1}}) {
      Integers(name, {}, {value});
    }
    Integers("counting", {1, 9}, {0, 1, 2, 3, 4, 5, 6, 7, 8});
    // Of seven bits, for which ONNX Runtime's products do not saturate.
    Codes("codes", {kColumns, kColumns}, onnx::TensorProto::INT8, -60, 120);
    Codes("unsigned_codes", {kColumns, kColumns}, onnx::TensorProto::UINT8, 70, 120);
    Codes("table_codes", {kPieces, kColumns}, onnx::TensorProto::INT8, -127, 254);
    Codes("zero8", {}, onnx::TensorProto::INT8, 0, 0);
    Codes("zero128", {}, onnx::TensorProto::UINT8, 128, 0);
    Codes("zero100", {}, onnx::TensorProto::UINT8, 100, 0);
    Floats("scales", {kColumns}, {0.01f, 0.02f, 0.005f, 0.01f, 0.013f, 0.007f, 0.01f, 0.02f});
  }

  onnx::ModelProto proto_;
};

// Attention between the projections of x: `scores` makes the scores `m` of queries `q` and keys `k`, `weights` the
// weights `p` of them.
std::string Attention(const std::string& scores,
                      const std::string& weights = "p = Softmax <axis = -1> (m)") {
  return "q0 = MatMul (x, wq) q1 = Add (q0, bq) k1 = MatMul (x, wk) v0 = MatMul (x, wv) v1 = Add "
         "(v0, bv)"
         " q2 = Reshape (q1, heads) k2 = Reshape (k1, heads) v2 = Reshape (v1, heads)"
         " q = Transpose <perm = [0, 2, 1, 3]> (q2) k = Transpose <perm = [0, 2, 3, 1]> (k2)"
         " v = Transpose <perm = [0, 2, 1, 3]> (v2) " +
         scores + " " + weights +
         " c = MatMul (p, v) c1 = Transpose <perm = [0, 2, 1, 3]> (c) c2 = Reshape (c1, merged) y "
         "= MatMul (c2, wo)";
}

const std::string kAdditiveMask =
    "u = Unsqueeze (attention_mask, i12) f = Cast <to = 1> (u) n = Sub (one, f) mask = Mul (n, "
    "lowest) ";

const std::string& Kept(std::string text) {
  static std::deque<std::string> kept;
  return kept.emplace_back(std::move(text));
}

constexpr const char* kAttentionOps = "linear linear linear attention linear";

std::vector<Case> Cases() {
  const std::vector<Case> cases = {
      {"gelu_as_torch",
       "d = Div (x, root2) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)",
       "activation gelu"},
      {"gelu_by_a_product",
       "d = Mul (x, unroot2) e = Erf (d) a = Add (one, e) h = Mul (half, x) y = Mul (h, a)",
       "activation gelu"},
      {"gelu_by_tanh",
       "c = Pow (x, three) d = Mul (c, cubic) s = Add (x, d) t = Mul (s, tanhscale) h = Tanh (t) a "
       "= Add (h, one)"
       " b = Mul (x, half) y = Mul (b, a)",
       "activation gelu_new"},
      {"gelu_by_tanh_of_products",
       "q = Mul (x, x) c = Mul (q, x) d = Mul (cubic, c) s = Add (d, x) t = Mul (tanhscale, s) h = "
       "Tanh (t)"
       " a = Add (one, h) b = Mul (a, x) y = Mul (b, half)",
       "activation gelu_new"},
      {"quick_gelu", "s = Mul (x, quick) g = Sigmoid (s) y = Mul (x, g)", "activation quick_gelu"},
      {"silu", "g = Sigmoid (x) y = Mul (g, x)", "activation silu"},
      {"mish", "p = Softplus (x) t = Tanh (p) y = Mul (x, t)", "activation mish"},
      {"relu6_by_clip", "y = Clip (x, zero, six)", "activation relu6"},
      {"norm_in_pieces",
       "m = ReduceMean <axes = [-1]> (x) d = Sub (x, m) s = Pow (d, two) v = ReduceMean <axes = "
       "[-1]> (s)"
       " e = Add (v, eps) r = Sqrt (e) u = Div (d, r) g = Mul (u, gain) y = Add (g, bias)",
       "layer_norm", 13},
      {"norm_by_squares_and_reciprocal",
       "m = ReduceMean <axes = [2]> (x) d = Sub (x, m) d2 = Sub (x, m) s = Mul (d2, d2) v = "
       "ReduceMean <axes = [2]> (s)"
       " e = Add (eps, v) r = Pow (e, minushalf) u = Mul (r, d) g = Mul (gain, u) y = Add (bias, "
       "g)",
       "layer_norm", 13},
      {"norm_as_tensorflow",
       "m = ReduceMean <axes = [-1]> (x) d = Sub (x, m) s = Mul (d, d) v = ReduceMean <axes = "
       "[-1]> (s)"
       " e = Add (v, eps) q = Sqrt (e) r = Reciprocal (q) g = Mul (r, gain) a = Mul (x, g) b = Mul "
       "(m, g)"
       " c = Sub (bias, b) y = Add (a, c)",
       "layer_norm", 13},
      {"norm", "y = LayerNormalization <axis = -1, epsilon = 0.001> (x, gain, bias)", "layer_norm"},
      {"norm_of_gelu",
       "d0 = Div (x, root2) e0 = Erf (d0) a0 = Add (e0, one) m0 = Mul (x, a0) x0 = Mul (m0, half)"
       " m = ReduceMean <axes = [-1]> (x0) d = Sub (x0, m) s = Pow (d, two) v = ReduceMean <axes = "
       "[-1]> (s)"
       " e = Add (v, eps) r = Sqrt (e) u = Div (d, r) g = Mul (u, gain) y = Add (g, bias)",
       "activation gelu layer_norm", 13},
      {"no_norm", "g = Mul (x, gain) y = Add (g, bias)", "affine"},
      {"residual", "d = MatMul (x, wq) e = Add (bq, d) r = Relu (e) y = Add (r, x)",
       "linear activation relu add"},
      {"gemm", "f = Reshape (x, flat) g = Gemm <transB = 1> (f, w2, b2) r = Relu (g) y = Relu (r)",
       "linear activation relu"},
      {"attention",
       Kept(Attention(kAdditiveMask + "s = MatMul (q, k) t = Div (s, two) m = Add (t, mask)"))
           .c_str(),
       kAttentionOps},
      {"attention_scaled_before",
       Kept(Attention("qs = Div (q, two) s = MatMul (qs, k) e = Equal (attention_mask, s0) z = "
                      "Unsqueeze (e, i12)"
                      " sh = Shape (s) zz = Expand (z, sh) m = Where (zz, lowest, s)"))
           .c_str(),
       kAttentionOps},
      {"attention_as_torch_2",
       Kept(Attention(kAdditiveMask + "sh = Shape (q) w = Slice (sh, last, all) wf = Cast <to = 1> "
                                      "(w) wr = Sqrt (wf) sc = Div (one, wr)"
                                      " r = Sqrt (sc) qs = Mul (q, r) ks = Mul (k, r) s = MatMul "
                                      "(qs, ks) m = Add (s, mask)",
                      "p0 = Softmax <axis = -1> (m) nan = IsNaN (p0) p = Where (nan, zero, p0)"))
           .c_str(),
       kAttentionOps},
      {"attention_of_flat_heads",
       "q1 = MatMul (x, wq) k1 = MatMul (x, wk) v1 = MatMul (x, wv) b = Shape <end = 1> (x) n = "
       "Shape <start = 1, end = 2> (x)"
       " hs = Concat <axis = 0> (b, n, heads4) bh = Concat <axis = 0> (last, n, m4)"
       " q2 = Reshape (q1, hs) k2 = Reshape (k1, hs) v2 = Reshape (v1, hs)"
       " q3 = Transpose <perm = [0, 2, 1, 3]> (q2) k3 = Transpose <perm = [0, 2, 1, 3]> (k2) v3 = "
       "Transpose <perm = [0, 2, 1, 3]> (v2)"
       " q = Reshape (q3, bh) k4 = Reshape (k3, bh) v = Reshape (v3, bh) k = Transpose <perm = [0, "
       "2, 1]> (k4)"
       " s = MatMul (q, k) sc = Mul (s, half) bhnn = Concat <axis = 0> (b, i2, n, n) s4 = Reshape "
       "(sc, bhnn)"
       " u = Unsqueeze (attention_mask, i12) f = Cast <to = 1> (u) inv = Sub (one, f) mask = Mul "
       "(inv, lowest)"
       " m4d = Add (s4, mask) hnn = Concat <axis = 0> (last, n, n) m = Reshape (m4d, hnn) p = "
       "Softmax <axis = -1> (m)"
       " c = MatMul (p, v) bhnd = Concat <axis = 0> (b, i2, n, m4) c1 = Reshape (c, bhnd) c2 = "
       "Transpose <perm = [0, 2, 1, 3]> (c1)"
       " bnw = Concat <axis = 0> (b, n, m8) c3 = Reshape (c2, bnw) y = MatMul (c3, wo)",
       "linear linear linear attention linear"},
      {"attention_of_fixed_sizes",
       "q0 = MatMul (x, wq) k0 = MatMul (x, wk) v0 = MatMul (x, wv) q2 = Reshape (q0, fixedheads) "
       "k2 = Reshape (k0, fixedheads)"
       " v2 = Reshape (v0, fixedheads) q = Transpose <perm = [0, 2, 1, 3]> (q2) k = Transpose "
       "<perm = [0, 2, 3, 1]> (k2)"
       " v = Transpose <perm = [0, 2, 1, 3]> (v2) u = Unsqueeze (attention_mask, i12) f = Cast <to "
       "= 1> (u) n = Sub (one, f)"
       " mask = Mul (n, lowest) s = MatMul (q, k) t = Mul (s, half) m = Add (t, mask) p = Softmax "
       "<axis = -1> (m) c = MatMul (p, v)"
       " c1 = Transpose <perm = [0, 2, 1, 3]> (c) c2 = Reshape (c1, fixedmerged) y = MatMul (c2, "
       "wo)",
       "linear linear linear attention linear", 17, false, true},
      {"places_of_a_buffer",
       "sh = Shape (input_ids) n = Gather (sh, s1) e = Unsqueeze (n, i0) ids = Slice (counting, "
       "i0, e, i1, i1)"
       " p = Gather (places, ids) y = Add (x, p)",
       "position_ids embedding add"},
      {"places_of_a_range",
       "sh = Shape (input_ids) n = Gather (sh, s1) r = Range (s0, n, s1) row = Unsqueeze (r, i0) "
       "ids = Expand (row, sh)"
       " p = Gather (places, ids) y = Add (x, p)",
       "position_ids embedding add"},
      {"places_of_a_sliced_table",
       "sh = Shape (input_ids) n = Slice (sh, i1, i2) t = Slice (places, i0, n, i0) y = Add (x, t)",
       "position_ids embedding add"},
      {"places_that_skip_padding",
       "e = Equal (input_ids, padding) ne = Not (e) c = Cast <to = 6> (ne) s = CumSum (c, s1) m = "
       "Mul (s, c) l = Cast <to = 7> (m)"
       " ids = Add (l, padding) p = Gather (places, ids) y = Add (x, p)",
       "position_ids embedding add"},
      {"types_as_input", "t = Gather (types, token_type_ids) y = Add (x, t)", "embedding add", 17,
       false, false, "token_type_ids"},
      {"types_left_out",
       "sh = Shape (input_ids) z = ConstantOfShape (sh) i = Cast <to = 7> (z) t = Gather (types, "
       "i) y = Add (x, t)",
       "affine"},
      {"first_token",
       "f = Gather <axis = 1> (x, s0) g = Gemm <transB = 1> (f, w2, b2) y = Tanh (g)",
       "pool linear activation tanh", 17, true},
      {"first_token_by_slice",
       "f = Slice (x, i0, i1, i1) s = Squeeze (f, i1) g = Gemm <transB = 1> (s, w2, b2) y = Tanh "
       "(g)",
       "pool linear activation tanh", 17, true},
      {"mean_of_tokens",
       "u = Unsqueeze (attention_mask, last) sh = Shape (x) e = Expand (u, sh) f = Cast <to = 1> "
       "(e) p = Mul (x, f)"
       " t = ReduceSum <keepdims = 0> (p, i1) n = ReduceSum <keepdims = 0> (f, i1) c = Clip (n, "
       "tiny) d = Div (t, c)"
       " l = ReduceL2 <axes = [1], keepdims = 1> (d) k = Clip (l, tiny) lsh = Shape (d) w = Expand "
       "(k, lsh) y = Div (d, w)",
       "pool l2_normalize", 17, true},
      {"first_token_in_opset_9",
       "f = Slice <axes = [1], starts = [0], ends = [1]> (x) s = Squeeze <axes = [1]> (f) g = Gemm "
       "<transB = 1> (s, w2, b2)"
       " y = Relu (g)",
       "pool linear activation relu", 9, true},
      {"relu6_in_opset_9", "y = Clip <min = 0.0, max = 6.0> (x)", "activation relu6", 9},
      {"unit_length",
       "f = Gather <axis = 1> (x, s0) l = ReduceL2 <axes = [-1]> (f) k = Clip (l, tiny) y = Div "
       "(f, k)",
       "pool l2_normalize", 17, true},
      {"trigram",
       "a = Slice (x, i1, all, i1) n = Pad (a, pad_end) b = Slice (x, i0, last, i1) p = Pad (b, "
       "pad_front)"
       " y = Concat <axis = 2> (n, x, p)",
       "trigram"},
      {"quantized_as_it_comes",
       "c, s, z = DynamicQuantizeLinear (x) p = MatMulInteger (c, unsigned_codes, z, zero128) f = "
       "Cast <to = 1> (p) k = Mul (s, scale_w)"
       " m = Mul (f, k) y = Add (m, bias)",
       "linear"},
      {"quantized_with_zero_point",
       "c, s, z = DynamicQuantizeLinear (x) p = MatMulInteger (c, unsigned_codes, z, zero100) f = "
       "Cast <to = 1> (p) k = Mul (s, scale_w)"
       " m = Mul (f, k) y = Add (m, bias)",
       "linear"},
      {"quantized_qdq",
       "c = QuantizeLinear (x, scale_x, zero8) d = DequantizeLinear (c, scale_x, zero8) w = "
       "DequantizeLinear <axis = 1> (codes, scales)"
       " p = MatMul (d, w) y = Add (p, bias)",
       "linear"},
      {"quantized_product_of_onnx_runtime",
       "y = com.microsoft.DynamicQuantizeMatMul (x, unsigned_codes, scale_w, zero128, bias)",
       "linear"},
      {"table_of_codes",
       "t = DequantizeLinear (table_codes, scale_w, zero8) r = Gather (t, input_ids) y = Add (x, "
       "r)",
       "add"},
      {"table_looked_up_as_codes",
       "c = Gather (table_codes, input_ids) r = DequantizeLinear (c, scale_w, zero8) y = Add (x, "
       "r)",
       "add"},
      {"fused_gelu", "y = com.microsoft.BiasGelu (x, bias)", "affine activation gelu"},
      {"fused_fast_gelu", "y = com.microsoft.FastGelu (x)", "activation gelu_new"},
      {"fused_skip_norm",
       "d = MatMul (x, wq) y = com.microsoft.SkipLayerNormalization <epsilon = 0.001> (d, x, gain, "
       "bias, bq)",
       "linear add layer_norm"},
      {"fused_attention",
       "m = Cast <to = 6> (attention_mask) y = com.microsoft.Attention <num_heads = 2> (x, w3, b3, "
       "m)",
       "linear linear linear attention"},
      {"fused_product",
       Kept(Attention(kAdditiveMask + "kt = Transpose <perm = [0, 2, 1, 3]> (k2)"
                                      " s = com.microsoft.FusedMatMul <alpha = 0.5, transB = 1> "
                                      "(q, kt) m = Add (s, mask)"))
           .c_str(),
       kAttentionOps},
  };
  return cases;
}

Result<OnnxExternalFile> NoFiles(const std::string& path) {
  return NotFound(path + ": no such file");
}

Result<ImportedModel> Read(const std::string& file) {
  return ImportOnnx(std::as_bytes(std::span(file)), nullptr, NoFiles);
}

// "linear activation gelu": what stands behind the embedded words.
std::string Operations(const Graph& graph) {
  std::string text;
  for (const Node& node : graph.nodes) {
    if (node.op == OpKind::kEmbedding && graph.value(node.inputs[0]).name == kInputIds) continue;
    text += (text.empty() ? "" : " ") + std::string(GetOp(node.op).name);
    if (node.op != OpKind::kActivation) continue;
    text += " " + std::string(ActivationName(std::get<ActivationAttrs>(node.attrs).function));
  }
  return text;
}

TEST(OnnxImport, RecognisesWhatIsWrittenInPieces) {
  for (const Case& c : Cases()) {
    const Result<ImportedModel> imported = Read(GraphText(c).File());
    EXPECT_TRUE(imported.has_value()) << c.name << ": " << imported.error().message();
    if (!imported) continue;
    EXPECT_EQ(Operations(imported->model.graph), c.ops) << c.name;
    const ValueId y = imported->model.graph.outputs.at(0).value;
    EXPECT_EQ(imported->model.graph.value(y).type.rows,
              c.per_sequence ? Rows::kSequences : Rows::kTokens)
        << c.name;
  }
}

class JudgedOnnxImport : public JudgedByOnnxRuntime {};

TEST_F(JudgedOnnxImport, ComputesWhatOnnxRuntimeComputes) {
  std::string exact, rounded;
  for (const Case& c : Cases()) {
    GraphText text(c);
    Result<ImportedModel> imported = Read(text.File());
    EXPECT_TRUE(imported.has_value()) << c.name << ": " << imported.error().message();
    if (!imported) continue;
    Graph& graph = imported->model.graph;
    graph.outputs.at(0).name = "y";
    const std::string stem = folder_ + "/" + c.name;
    std::ofstream(stem + ".onnx", std::ios::binary) << text.File();
    ASSERT_TRUE(Record(graph).Write(stem + ".safetensors").has_value());
    // Of activations that are quantized as they come the reference takes more digits.
    (std::string_view(c.name).starts_with("quantized") ? rounded : exact) +=
        " " + stem + ".onnx " + stem + ".safetensors";
  }
  EXPECT_TRUE(Agrees("--tolerance 2e-5" + exact));
  EXPECT_TRUE(Agrees("--tolerance 3e-2" + rounded));
}

TEST(OnnxImport, KeepsCodesAndScales) {
  const auto linear = [](const char* name) {
    for (const Case& c : Cases()) {
      if (std::string_view(c.name) != name) continue;
      const Result<ImportedModel> imported = Read(GraphText(c).File());
      EXPECT_TRUE(imported.has_value());
      for (const Node& node : imported->model.graph.nodes) {
        if (node.op == OpKind::kLinear) return node;
      }
    }
    return Node{};
  };
  const Node comes = linear("quantized_as_it_comes"), zero = linear("quantized_with_zero_point"),
             qdq = linear("quantized_qdq");
  EXPECT_EQ(comes.weights.at(0).tensor.dtype(), DType::kI8);
  EXPECT_EQ(zero.weights.at(0).tensor.dtype(), DType::kI8);
  EXPECT_EQ(qdq.weights.at(0).tensor.dtype(), DType::kI8);
  EXPECT_EQ(std::get<LinearAttrs>(comes.attrs).input_scale, 0);
  EXPECT_FLOAT_EQ(static_cast<float>(std::get<LinearAttrs>(qdq.attrs).input_scale), 0.015f);
  EXPECT_EQ(qdq.weights[0].tensor.scales()[1], 0.02f);
}

TEST(OnnxImport, TellsTheTaskByTheOutputs) {
  const auto task = [](const char* nodes) {
    GraphText text({"task", nodes, ""});
    text.proto().mutable_graph()->mutable_output(0)->set_name("logits");
    const Result<ImportedModel> imported = Read(text.File());
    EXPECT_TRUE(imported.has_value()) << imported.error().message();
    return imported->model.task;
  };
  const std::string first = "f = Gather <axis = 1> (x, s0) g = Gemm <transB = 1> (f, w2, b2) ";
  EXPECT_EQ(task((first + "logits = Identity (g)").c_str()), Task::kSingleLabel);
  EXPECT_EQ(task((first + "logits = Sigmoid (g)").c_str()), Task::kMultiLabel);
  EXPECT_EQ(task((first + "logits = Softmax <axis = -1> (g)").c_str()), Task::kSingleLabel);
  EXPECT_EQ(task("t = Transpose (w2) logits = MatMul (x, t)"), Task::kTokenLabels);
  EXPECT_EQ(task("t = Transpose (words) logits = MatMul (x, t)"), Task::kMaskedLm);
}

TEST(OnnxImport, JoinsStartAndEndLogits) {
  GraphText text(
      {"answers",
       "t = Transpose (w2) m = MatMul (x, t) l = Add (m, b2) a, b = Split <axis = -1> (l)"
       " start_logits = Squeeze (a, last) end_logits = Squeeze (b, last)",
       ""});
  text.proto().mutable_graph()->mutable_output(0)->set_name("start_logits");
  text.Output("end_logits");
  const Result<ImportedModel> imported = Read(text.File());
  ASSERT_TRUE(imported.has_value()) << imported.error().message();
  EXPECT_EQ(imported->model.task, Task::kAnswers);
  EXPECT_EQ(Operations(imported->model.graph), "linear");
}

// A decoder that shares the embedding is one weight, whether it is turned in the graph or was before.
TEST(OnnxImport, KeepsSharedWeightsShared) {
  GraphText text({"tied", "t = Transpose (words) y = MatMul (x, t)", ""});
  const Result<ImportedModel> imported = Read(text.File());
  ASSERT_TRUE(imported.has_value()) << imported.error().message();
  EXPECT_EQ(ComputeCost(imported->model.graph, {}).parameters, kPieces * kColumns);
}

TEST(OnnxImport, BringsBackWhatOurExporterWrote) {
  const Model model = ExampleModel();
  const Result<ImportedModel> imported = Read(*SerializeOnnx(model));
  ASSERT_TRUE(imported.has_value()) << imported.error().message();
  EXPECT_EQ(imported->model.architecture, model.architecture);
  EXPECT_EQ(imported->model.task, model.task);
  EXPECT_EQ(imported->model.labels, model.labels);
  EXPECT_EQ(imported->model.thresholds, model.thresholds);
  EXPECT_EQ(imported->model.tokenizer.pieces, model.tokenizer.pieces);
  EXPECT_EQ(imported->model.tokenizer.added_tokens, model.tokenizer.added_tokens);
  EXPECT_EQ(imported->model.tokenizer.strip_accents, model.tokenizer.strip_accents);
}

// A decoder's bias has more elements than anything that shapes are computed with.
TEST(OnnxImport, ReadsWideRows) {
  constexpr int64_t kWide = 20000;
  GraphText text({"wide", "l = MatMul (x, wide) y = Add (wide_bias, l)", ""});
  for (const auto& [name, rows] :
       std::map<std::string, int64_t>{{"wide", kColumns}, {"wide_bias", 1}}) {
    auto* tensor = text.proto().mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    if (rows > 1) tensor->add_dims(rows);
    tensor->add_dims(kWide);
    for (int64_t i = 0; i < rows * kWide; ++i) tensor->add_float_data(0.5f);
  }
  const Result<ImportedModel> imported = Read(text.File());
  ASSERT_TRUE(imported.has_value()) << imported.error().message();
  EXPECT_EQ(Operations(imported->model.graph), "linear");
}

// --- Refused

std::string ErrorOf(const std::string& file) {
  const Result<ImportedModel> imported = Read(file);
  return imported.has_value() ? "" : imported.error().message();
}

TEST(OnnxImport, NamesWhatItDoesNotRead) {
  EXPECT_THAT(ErrorOf(GraphText({"", "y = Gru (x)", ""}).File()),
              HasSubstr("node \"n1\" (Gru): the operator is not read"));
  EXPECT_THAT(ErrorOf(GraphText({"", "a = Sin (x) y = Sin (a)", ""}).File()), HasSubstr("(Sin)"));
  EXPECT_THAT(
      ErrorOf(GraphText({"", "a = Exp (x) b = MatMul (a, wq) y = Relu (b)", ""}).File()),
      HasSubstr("node \"n2\" (MatMul): what is computed up to here is no operation of ours"));
}

TEST(OnnxImport, RefusesGraphsThatCannotRun) {
  EXPECT_THAT(ErrorOf(GraphText({"", "a = Add (x, b) b = Add (a, x) y = Relu (b)", ""}).File()),
              HasSubstr("circle"));
  EXPECT_THAT(ErrorOf(GraphText({"", "y = Add (x, absent)", ""}).File()),
              HasSubstr("\"absent\", which nothing makes"));
  EXPECT_THAT(ErrorOf(GraphText({"", "a = Relu (x) a = Relu (x) y = Relu (a)", ""}).File()),
              HasSubstr("twice"));
}

TEST(OnnxImport, RefusesConstantsThatAreNotThere) {
  const auto changed = [](const std::function<void(onnx::TensorProto&)>& change) {
    GraphText text({"", "y = Relu (x)", ""});
    change(*text.proto().mutable_graph()->mutable_initializer(0));
    return ErrorOf(text.File());
  };
  EXPECT_THAT(changed([](auto& t) { t.set_dims(0, int64_t{1} << 40); }), HasSubstr("\"words\""));
  EXPECT_THAT(changed([](auto& t) { t.set_dims(0, -3); }), HasSubstr("impossible shape"));
  EXPECT_THAT(changed([](auto& t) { t.add_dims(int64_t{1} << 62); }),
              HasSubstr("impossible shape"));
  EXPECT_THAT(changed([](auto& t) { t.mutable_float_data()->Truncate(5); }), HasSubstr("needs"));
  EXPECT_THAT(changed([](auto& t) { t.set_data_type(onnx::TensorProto::STRING); }),
              HasSubstr("not read"));
  for (const char* path : {"../words.bin", "/etc/hostname", "a/../../b", "", "a\\b"}) {
    const std::string error = changed([&](onnx::TensorProto& t) {
      t.clear_float_data();
      t.set_data_location(onnx::TensorProto::EXTERNAL);
      auto* entry = t.add_external_data();
      entry->set_key("location");
      entry->set_value(path);
    });
    EXPECT_THAT(error, HasSubstr("only files in the model's own folder are read")) << path;
  }
}

// The graph stands last, so that no part of a file is whole.
TEST(OnnxImport, RefusesEveryTruncation) {
  const std::string file = *SerializeOnnx(ExampleModel());
  for (size_t size = 0; size < file.size(); size += size < 2000 ? 1 : 37) {
    EXPECT_FALSE(Read(file.substr(0, size)).has_value()) << size;
  }
}

}  // namespace
}  // namespace thimble
