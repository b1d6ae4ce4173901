// From symbolic values to nodes of our graph.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "thimble/base/quote.h"
#include "thimble/formats/onnx/graph_reader.h"

namespace thimble {
namespace {

using AtomKind = OnnxAtom::Kind;

// "bert.encoder.layer.0.output.dense" from "/bert/encoder/layer.0/output/dense/MatMul"; empty where it is no path.
std::string PathOf(std::string_view name) {
  const size_t last = name.rfind('/');
  if (last == std::string_view::npos || last == 0) return {};
  std::string path(name.substr(0, last));
  if (path.front() == '/') path.erase(0, 1);
  std::ranges::replace(path, '/', '.');
  return path;
}

bool IsGenerated(std::string_view name) {
  return name.empty() || name.find("::") != std::string_view::npos ||
         std::ranges::all_of(name, [](unsigned char c) { return std::isdigit(c) != 0; });
}

}  // namespace

// Where a node belongs: the path that it or what it makes is called by, else the module of a weight that it reads.
std::string OnnxGraphReader::NameOf(const OnnxNode& node) {
  for (const std::string* name :
       {&node.name, node.outputs.empty() ? &node.name : &node.outputs[0]}) {
    if (const std::string path = PathOf(*name); !path.empty()) return path;
  }
  for (const std::string& input : node.inputs) {
    const size_t dot = input.rfind('.');
    if (dot == std::string::npos || IsGenerated(input) || !file_.constants.contains(input))
      continue;
    return input.substr(0, dot);
  }
  return node.op;
}

std::string OnnxGraphReader::Unique(std::string name) {
  if (name.empty()) name = "node";
  std::string unique = name;
  for (int i = 1; !names_.insert(unique).second; ++i) unique = name + "_" + std::to_string(i);
  return unique;
}

OnnxAxis OnnxGraphReader::WidthAxis(int64_t width) const {
  if (width == 1) return {};
  return {{AtomKind::kWidth, {static_cast<double>(width), 0, 0}, 1}};
}

OnnxAxes OnnxGraphReader::RowAxes(Rows rows, int64_t width) const {
  OnnxAxes axes;
  axes.emplace_back();
  if (!(batch_ == OnnxNumber{1, 0, 0})) axes.back().push_back({AtomKind::kBatch, batch_});
  if (rows == Rows::kTokens) axes.push_back({{AtomKind::kSequence, sequence_}});
  axes.push_back(WidthAxis(width));
  return axes;
}

ValueId OnnxGraphReader::AddNode(OpKind op, const std::string& name, std::vector<ValueId> inputs,
                                 std::vector<Weight> weights, Attributes attrs) {
  return builder_.Add(op, Unique(name), std::move(inputs), std::move(weights), std::move(attrs));
}

ExprId OnnxGraphReader::NewBase(ValueId id, OpKind made_by) {
  const ValueType type = builder_.type(id);
  const ExprId base = pool_.Base(type.width);
  bases_[base] = {.id = id, .width = type.width, .rows = type.rows, .made_by = made_by};
  return base;
}

OnnxValue OnnxGraphReader::MatrixValue(ExprId expr, OnnxAxes axes) const {
  Value value;
  value.kind = Kind::kMatrix;
  value.expr = expr;
  value.axes = std::move(axes);
  return value;
}

bool OnnxGraphReader::WholeRows(const Value& value) const {
  return !value.axes.empty() && value.axes.back() == WidthAxis(BaseOf(value.expr).width);
}

// Of sizes that differ one has to be 1.
std::optional<OnnxAxes> OnnxGraphReader::Broadcast(const OnnxAxes& a, const OnnxAxes& b) const {
  const size_t rank = std::max(a.size(), b.size());
  OnnxAxes result(rank);
  const auto repeats = [](const OnnxAxis& axis) {
    return std::ranges::all_of(axis,
                               [](const OnnxAtom& atom) { return atom.kind == AtomKind::kRepeat; });
  };
  for (size_t i = 0; i < rank; ++i) {
    const size_t from_a = i + a.size() - rank, from_b = i + b.size() - rank;
    static const OnnxAxis kNone;
    const OnnxAxis& left = i + a.size() < rank ? kNone : a[from_a];
    const OnnxAxis& right = i + b.size() < rank ? kNone : b[from_b];
    if (left == right || right.empty()) {
      result[i] = left;
    } else if (left.empty()) {
      result[i] = right;
    } else if (!(AxisSize(left) == AxisSize(right))) {
      return std::nullopt;
    } else if (repeats(right)) {
      result[i] = left;
    } else if (repeats(left)) {
      result[i] = right;
    } else {
      return std::nullopt;
    }
  }
  return result;
}

// Called as the constant is that the numbers came from.
Weight OnnxGraphReader::VectorWeight(const RowFunction::Vector& vector,
                                     const std::string& name) const {
  const std::vector<float> floats(vector.values.begin(), vector.values.end());
  const auto known = constant_names_.find(vector.constant);
  const bool named = known != constant_names_.end() && !IsGenerated(known->second);
  return {named ? known->second : name,
          Tensor::FromFloats({static_cast<int64_t>(floats.size())}, floats)};
}

Result<ExprId> OnnxGraphReader::EmitFunction(const RowFunction& function, ExprId x,
                                             const std::string& name) {
  TRY(const ExprId input, Emit(x, name));
  const auto emit = [&](OpKind op, const Attributes& attrs) {
    std::vector<Weight> weights;
    if (!function.weight.values.empty()) {
      weights = {VectorWeight(function.weight, name + ".weight"),
                 VectorWeight(function.bias, name + ".bias")};
    }
    return NewBase(AddNode(op, name, {BaseOf(input).id}, std::move(weights), attrs), op);
  };
  switch (function.kind) {
    case RowFunction::Kind::kIdentity:
      return input;
    case RowFunction::Kind::kAffine:
      return emit(OpKind::kAffine, NoAttrs{});
    case RowFunction::Kind::kActivation:
      return emit(OpKind::kActivation, ActivationAttrs{function.activation});
    case RowFunction::Kind::kLayerNorm:
      return emit(OpKind::kLayerNorm, LayerNormAttrs{function.epsilon});
    case RowFunction::Kind::kL2Normalize:
      return emit(OpKind::kL2Normalize, NoAttrs{});
  }
  return kNoExpr;
}

// The expression as one value of our graph.
Result<ExprId> OnnxGraphReader::Emit(ExprId e, const std::string& asked_at) {
  const auto made = made_at_.find(e);
  const std::string& name = made == made_at_.end() ? asked_at : made->second;
  if (pool_[e].base == kNoExpr) {
    return Unsupported("computes with constants where values are needed");
  }
  if (pool_.IsBase(e)) {
    Base& base = bases_.at(e);
    if (base.id != kNoValue) return e;
    if (!base.waiting) return InvalidData("follows what could not be built");
    Linear linear = *std::move(base.waiting);
    base.waiting.reset();
    std::vector<Weight> weights = {std::move(linear.weight)};
    if (linear.bias) weights.push_back(*std::move(linear.bias));
    base.id = AddNode(OpKind::kLinear, linear.name, {linear.input}, std::move(weights),
                      LinearAttrs{linear.input_scale});
    return e;
  }
  if (const auto found = emitted_.find(e); found != emitted_.end()) return found->second;
  ExprId result = kNoExpr;
  // The widest function first: the whole of it from its base. What it is a function of has to be one of ours too: a
  // norm of half a GELU is a norm of GELU.
  const bool hopeless = !hopeless_.insert(e).second;
  const std::vector<ExprId> cuts = hopeless ? std::vector<ExprId>() : pool_.Cuts(e);
  for (const ExprId from : cuts) {
    const std::optional<RowFunction> function = Recognise(pool_, e, from);
    if (!function) continue;
    const Result<ExprId> emitted = EmitFunction(*function, from, name);
    if (!emitted) continue;
    result = *emitted;
    break;
  }
  const RowOp op = pool_[e].op;
  const ExprId a = pool_[e].a, b = pool_[e].b;
  const bool is_sum = result == kNoExpr && !cuts.empty() && op == RowOp::kAdd &&
                      pool_[a].base != kNoExpr && pool_[b].base != kNoExpr;
  if (is_sum) {
    TRY(const ExprId left, Emit(a, name));
    TRY(const ExprId right, Emit(b, name));
    result =
        NewBase(AddNode(OpKind::kAdd, name, {BaseOf(left).id, BaseOf(right).id}), OpKind::kAdd);
  }
  if (result == kNoExpr) {
    return Unsupported(
        "what is computed up to here is no operation of ours: neither an activation "
        "function, a norm nor a gain and bias per column");
  }
  hopeless_.erase(e);
  emitted_[e] = result;
  return result;
}

Result<ValueId> OnnxGraphReader::MatrixOf(const OnnxNode& node, const Value& value) {
  if (value.kind != Kind::kMatrix) return Unsupported("takes rows of the model's values only");
  TRY(const ExprId base, Emit(value.expr, NameOf(node)));
  return BaseOf(base).id;
}

// One tensor for all uses of a constant, so that what was shared stays so; torch writes the transposed table of a tied
// decoder once more.
Result<Tensor> OnnxGraphReader::SharedTensor(const OnnxConstant& constant, bool transpose) {
  const std::pair key(static_cast<const void*>(constant.tensor.data.data()),
                      transpose != constant.transposed);
  if (const auto found = tensors_.find(key); found != tensors_.end()) {
    Shape dims = constant.dims();
    if (transpose && dims.size() == 2) std::swap(dims[0], dims[1]);
    if (found->second.shape() == dims) return found->second;
  }
  TRY(Tensor tensor, ConstantTensor(constant, transpose));
  for (const auto& [place, other] : tensors_) {
    const bool same = other.shape() == tensor.shape() && other.dtype() == tensor.dtype() &&
                      std::ranges::equal(other.data(), tensor.data()) &&
                      std::ranges::equal(other.scales(), tensor.scales());
    if (same) {
      tensor = other;
      break;
    }
  }
  tensors_[key] = tensor;
  return tensor;
}

Result<Weight> OnnxGraphReader::ConstantVector(const OnnxNode& node, size_t i, int64_t width,
                                               const char* suffix) {
  TRY(const Value value, In(node, i));
  if (value.kind != Kind::kConstant && value.kind != Kind::kNumbers) {
    return Unsupported("its input " + std::to_string(i) + " is no constant");
  }
  const std::string own = NameOf(node) + suffix;
  if (value.constant) {
    OnnxConstant vector = *value.constant;
    if (vector.tensor.elements() == static_cast<size_t>(width)) {
      if (vector.scales.size() <= 1 && !vector.transposed) vector.tensor.dims = {width};
      TRY(Tensor tensor, ConstantTensor(vector, false));
      const std::string& name = value.constant->tensor.name;
      return Weight{IsGenerated(name) ? own : name, std::move(tensor)};
    }
  } else if (value.numbers.size() == static_cast<size_t>(width)) {
    std::vector<float> floats;
    for (const OnnxNumber& n : value.numbers) floats.push_back(static_cast<float>(n.value));
    return Weight{own, Tensor::FromFloats({width}, floats)};
  }
  return InvalidData("its input " + std::to_string(i) + " has not " + std::to_string(width) +
                     " elements");
}

Result<OnnxValue> OnnxGraphReader::EmitLinear(const OnnxNode& node, const Value& x,
                                              const OnnxConstant& constant, bool is_outputs_first) {
  const double input_scale = x.number;
  Value input = x;
  if (x.kind == Kind::kQuantized) input.kind = Kind::kMatrix;
  if (input.kind != Kind::kMatrix)
    return Unsupported("multiplies what is no matrix of the model's values");
  if (constant.dims().size() != 2) {
    return Unsupported("multiplies by a constant of shape " + ShapeText(constant.dims()));
  }
  if (!WholeRows(input)) return Unsupported("multiplies parts of rows by a constant");
  TRY(const ValueId id, MatrixOf(node, input));
  TRY(Tensor weight, SharedTensor(constant, !is_outputs_first));
  if (weight.dim(1) != builder_.type(id).width || weight.dim(0) < 1) {
    return InvalidData("multiplies rows of width " + std::to_string(builder_.type(id).width) +
                       " by a matrix " + ShapeText(constant.dims()));
  }
  const std::string name = NameOf(node);
  const std::string& stored = constant.tensor.name;
  Base base{.width = weight.dim(0), .rows = builder_.type(id).rows, .made_by = OpKind::kLinear};
  base.waiting = Linear{.input = id,
                        .weight = {IsGenerated(stored) ? name + ".weight" : stored, weight},
                        .input_scale = input_scale,
                        .name = name};
  OnnxAxes axes = input.axes;
  axes.back() = WidthAxis(base.width);
  const ExprId made = pool_.Base(base.width);
  bases_[made] = std::move(base);
  Value linear = MatrixValue(made, std::move(axes));
  linear.is_sole = true;
  return linear;
}

Result<bool> OnnxGraphReader::AddBias(const OnnxNode& node, const Value& matrix,
                                      size_t constant_input) {
  Base& base = bases_.at(pool_[matrix.expr].base);
  const bool waits = pool_.IsBase(matrix.expr) && base.waiting && !base.waiting->bias;
  if (!waits || !matrix.is_sole || !WholeRows(matrix)) return false;
  TRY(base.waiting->bias, ConstantVector(node, constant_input, base.width, ".bias"));
  return true;
}

}  // namespace thimble
