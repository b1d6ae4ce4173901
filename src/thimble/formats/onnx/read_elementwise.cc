// Operators that work element by element, on whatever their inputs are.
#include <algorithm>
#include <cmath>

#include "thimble/formats/onnx/graph_reader.h"

namespace thimble {
namespace {

RowOp RowOpNamed(const std::string& op) {
  static const std::map<std::string_view, RowOp> kOps = {{"Abs", RowOp::kAbs},
                                                         {"Add", RowOp::kAdd},
                                                         {"And", RowOp::kLogicalAnd},
                                                         {"Div", RowOp::kDiv},
                                                         {"Equal", RowOp::kEqual},
                                                         {"Erf", RowOp::kErf},
                                                         {"Exp", RowOp::kExp},
                                                         {"Greater", RowOp::kGreater},
                                                         {"GreaterOrEqual", RowOp::kGreaterEqual},
                                                         {"Less", RowOp::kLess},
                                                         {"LessOrEqual", RowOp::kLessEqual},
                                                         {"Log", RowOp::kLog},
                                                         {"Max", RowOp::kMax},
                                                         {"Min", RowOp::kMin},
                                                         {"Mod", RowOp::kFloorMod},
                                                         {"Mul", RowOp::kMul},
                                                         {"Neg", RowOp::kNeg},
                                                         {"Or", RowOp::kLogicalOr},
                                                         {"Pow", RowOp::kPow},
                                                         {"Reciprocal", RowOp::kReciprocal},
                                                         {"Relu", RowOp::kRelu},
                                                         {"Sigmoid", RowOp::kSigmoid},
                                                         {"Softplus", RowOp::kSoftplus},
                                                         {"Sqrt", RowOp::kSqrt},
                                                         {"Sub", RowOp::kSub},
                                                         {"Tanh", RowOp::kTanh}};
  return kOps.at(op);
}

Result<OnnxNumber> ComputeNumbers(RowOp op, const OnnxNumber& a, const OnnxNumber& b) {
  const bool alike = a.batches == b.batches && a.sequences == b.sequences;
  if (a.IsPlain() && b.IsPlain()) return OnnxNumber{Compute(op, a.value, b.value), 0, 0};
  if (op == RowOp::kMul) return a * b;
  if (op == RowOp::kDiv && b.value != 0) {
    return OnnxNumber{a.value / b.value, a.batches - b.batches, a.sequences - b.sequences};
  }
  if (op == RowOp::kAdd && a == OnnxNumber{0, 0, 0}) return b;
  if ((op == RowOp::kAdd || op == RowOp::kSub) && b == OnnxNumber{0, 0, 0}) return a;
  if ((op == RowOp::kAdd || op == RowOp::kSub) && alike) {
    const double sum = Compute(op, a.value, b.value);
    return sum == 0 ? OnnxNumber{} : OnnxNumber{sum, a.batches, a.sequences};
  }
  // Sizes are positive.
  if (op == RowOp::kEqual && alike) return OnnxNumber{a.value == b.value ? 1.0 : 0.0, 0, 0};
  if (op == RowOp::kEqual && (a.value <= 0 || b.value <= 0)) return OnnxNumber{};
  return Unsupported("computes with sizes that are known only when it runs");
}

}  // namespace

Status OnnxGraphReader::ReadArithmetic(const OnnxNode& node) {
  const RowOp op = RowOpNamed(node.op);
  TRY(Value result, In(node, 0));
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    TRY(const Value next, In(node, i));
    TRY(result, Combine(node, op, result, next));
  }
  Set(node, std::move(result));
  return {};
}

Result<OnnxValue> OnnxGraphReader::Combine(const OnnxNode& node, RowOp op, const Value& a,
                                           const Value& b) {
  const auto is = [&](Kind kind) { return a.kind == kind || b.kind == kind; };
  const auto is_constant = [](const Value& v) {
    return v.kind == Kind::kConstant || v.kind == Kind::kNumbers;
  };
  if (is_constant(a) && is_constant(b)) return CombineNumbers(op, a, b);
  if (is(Kind::kScores)) {
    return a.kind == Kind::kScores ? CombineScores(op, a, b) : CombineScores(op, b, a);
  }
  const auto plain = [&](const Value& v) { return v.kind == Kind::kMask || is_constant(v); };
  if (plain(a) && plain(b)) return CombineMasks(op, a, b);
  const auto matrix = [&](const Value& v) {
    return v.kind == Kind::kMatrix || (v.kind == Kind::kMask && SameNumber(v)) || is_constant(v);
  };
  if (is(Kind::kMatrix) && matrix(a) && matrix(b)) {
    if (a.kind == b.kind) return CombineMatrices(node, op, a, b);
    return a.kind == Kind::kMatrix ? CombineWithConstant(node, op, a, b, 1)
                                   : CombineWithConstant(node, op, b, a, 0);
  }
  return CombineSpecial(node, op, a, b);
}

Result<OnnxValue> OnnxGraphReader::CombineNumbers(RowOp op, const Value& a, const Value& b) {
  const std::optional<Value> left = AsNumbers(a), right = AsNumbers(b);
  if (!left || !right) return Unsupported("computes with constants of many elements");
  const size_t m = left->numbers.size(), n = right->numbers.size();
  if (m != n && m != 1 && n != 1) return Unsupported("computes with constants of different shapes");
  if (m == n && m > 1 && left->dims != right->dims) {
    return Unsupported("computes with constants of different shapes");
  }
  const bool of_left = m > n || (m == n && left->dims.size() >= right->dims.size());
  std::vector<OnnxNumber> numbers;
  for (size_t i = 0; i < std::max(m, n); ++i) {
    TRY(const OnnxNumber number,
        ComputeNumbers(op, left->numbers[m == 1 ? 0 : i], right->numbers[n == 1 ? 0 : i]));
    numbers.push_back(number);
  }
  if (m == 0 || n == 0) numbers.clear();
  return NumbersValue(of_left ? left->dims : right->dims, std::move(numbers));
}

Result<OnnxValue> OnnxGraphReader::CombineMasks(RowOp op, const Value& a, const Value& b) {
  const auto as_mask = [](const Value& v) -> std::optional<Value> {
    if (v.kind == Kind::kMask) return v;
    const std::optional<double> number = SameNumber(v);
    if (!number) return std::nullopt;
    Value mask;
    mask.kind = Kind::kMask;
    mask.axes.resize(AsNumbers(v)->dims.size());
    mask.if_zero = mask.if_one = *number;
    return mask;
  };
  const std::optional<Value> left = as_mask(a), right = as_mask(b);
  if (!left || !right)
    return Unsupported("combines the mask with a constant that is not one number");
  const bool left_varies = left->if_zero != left->if_one,
             right_varies = right->if_zero != right->if_one;
  if (left_varies && right_varies && left->skip_id != right->skip_id) {
    return Unsupported("combines two masks of different kinds");
  }
  const std::optional<OnnxAxes> axes = Broadcast(left->axes, right->axes);
  if (!axes) return Unsupported("combines masks of different shapes");
  Value mask = left_varies ? *left : *right;
  mask.axes = *axes;
  mask.if_zero = Compute(op, left->if_zero, right->if_zero);
  mask.if_one = Compute(op, left->if_one, right->if_one);
  return mask;
}

Result<OnnxValue> OnnxGraphReader::CombineMatrices(const OnnxNode& node, RowOp op, const Value& a,
                                                   const Value& b) {
  const std::optional<OnnxAxes> axes = Broadcast(a.axes, b.axes);
  if (!axes) return Unsupported("combines values of different shapes");
  if (pool_[a.expr].base == pool_[b.expr].base) {
    return MatrixValue(pool_.Apply(op, a.expr, b.expr), *axes);
  }
  if (op != RowOp::kAdd || !WholeRows(a) || !WholeRows(b)) {
    return Unsupported("combines two different values, of which only sums are operations of ours");
  }
  TRY(const ValueId left, MatrixOf(node, a));
  TRY(const ValueId right, MatrixOf(node, b));
  return MatrixValue(NewBase(AddNode(OpKind::kAdd, NameOf(node), {left, right}), OpKind::kAdd),
                     *axes);
}

Result<OnnxValue> OnnxGraphReader::CombineWithConstant(const OnnxNode& node, RowOp op,
                                                       const Value& matrix, const Value& constant,
                                                       size_t constant_input) {
  const std::optional<Value> numbers = AsNumbers(constant);
  const int64_t width = BaseOf(matrix.expr).width;
  Shape dims = numbers ? numbers->dims : constant.constant ? constant.constant->dims() : Shape{};
  dims.erase(dims.begin(), std::ranges::find_if(dims, [](int64_t d) { return d != 1; }));
  OnnxAxes axes = matrix.axes;
  const auto rank = numbers                        ? numbers->dims.size()
                    : constant.kind == Kind::kMask ? constant.axes.size()
                                                   : 0;
  while (axes.size() < rank) axes.insert(axes.begin(), OnnxAxis());

  ExprId other = kNoExpr;
  // One number per row serves every column.
  const bool per_row = !axes.empty() && axes.back().empty();
  if (dims == Shape{width} && width > 1 && (WholeRows(matrix) || per_row)) {
    // The node may have more than two inputs; only of two it is known which one the constant is.
    if (op == RowOp::kAdd && node.inputs.size() == 2) {
      TRY(const bool added, AddBias(node, matrix, constant_input));
      if (added) return matrix;
    }
    if (!numbers) return Unsupported("combines values with a constant of many elements");
    axes.back() = WidthAxis(width);
    std::vector<double> values;
    for (const OnnxNumber& n : numbers->numbers) values.push_back(n.value);
    stored_ += values.size();
    other = pool_.Constant(std::move(values));
    if (numbers->constant) constant_names_[other] = numbers->constant->tensor.name;
  } else if (const std::optional<double> number = SameNumber(constant)) {
    if (width == 1 && op == RowOp::kAdd && node.inputs.size() == 2 &&
        constant.kind != Kind::kMask) {
      TRY(const bool added, AddBias(node, matrix, constant_input));
      if (added) return matrix;
    }
    other = pool_.Constant({*number});
  } else if (op == RowOp::kAdd && constant.constant && sequence_.IsPlain() && dims.size() == 2 &&
             dims == Shape{static_cast<int64_t>(sequence_.value), width}) {
    // The places of a fixed length, looked up when the file was made.
    OnnxConstant table = *constant.constant;
    table.tensor.dims = dims;
    Value places;
    places.kind = Kind::kPositions;
    places.axes = {{{OnnxAtom::Kind::kSequence, sequence_}}};
    TRY(const Value rows, EmitLookup(NameOf(node) + ".positions", table, places));
    return CombineMatrices(node, op, matrix, rows);
  } else {
    return Unsupported("combines values with a constant of shape " +
                       ShapeText(numbers ? numbers->dims : dims) +
                       ", which is neither a number nor a row");
  }
  const ExprId expr = constant_input == 0 ? pool_.Apply(op, other, matrix.expr)
                                          : pool_.Apply(op, matrix.expr, other);
  return MatrixValue(expr, std::move(axes));
}

Status OnnxGraphReader::ReadComparison(const OnnxNode& node) {
  TRY(Value a, In(node, 0));
  TRY(Value b, In(node, 1));
  if (b.kind == Kind::kIds) std::swap(a, b);
  if (a.kind == Kind::kIds && node.op == "Equal") {
    const std::optional<double> id = SameNumber(b);
    if (!id) return Unsupported("compares ids with what is no number");
    Value mask;
    mask.kind = Kind::kMask;
    mask.axes = a.axes;
    mask.skip_id = static_cast<int64_t>(std::clamp(*id, -1e9, 1e9));
    Set(node, std::move(mask));
    return {};
  }
  TRY(Value result, Combine(node, RowOpNamed(node.op), a, b));
  Set(node, std::move(result));
  return {};
}

Status OnnxGraphReader::ReadNot(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  if (x.kind == Kind::kMask) {
    x.if_zero = x.if_zero == 0 ? 1 : 0;
    x.if_one = x.if_one == 0 ? 1 : 0;
  } else if (std::optional<Value> numbers = AsNumbers(x)) {
    for (OnnxNumber& n : numbers->numbers) n = {n.value == 0 ? 1.0 : 0.0, 0, 0};
    numbers->constant = nullptr;
    x = *std::move(numbers);
  } else {
    return Unsupported("is read for masks only");
  }
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadWhere(const OnnxNode& node) {
  TRY(const Value condition, In(node, 0));
  TRY(const Value yes, In(node, 1));
  TRY(const Value no, In(node, 2));
  const std::optional<double> if_yes = SameNumber(yes), if_no = SameNumber(no);
  if (condition.kind == Kind::kIsNan && if_yes && *if_yes == 0 && no.kind == Kind::kProbabilities) {
    Set(node, no);
    return {};
  }
  if (condition.kind == Kind::kMask) {
    Value mask = condition;
    const auto value_of = [&](double chosen, double number_yes, double number_no) {
      return chosen != 0 ? number_yes : number_no;
    };
    if (if_yes && no.kind == Kind::kScores) {
      mask.if_zero = value_of(condition.if_zero, *if_yes, 0);
      mask.if_one = value_of(condition.if_one, *if_yes, 0);
      TRY(Value masked, MaskScores(no, mask));
      Set(node, std::move(masked));
      return {};
    }
    if (if_no && yes.kind == Kind::kScores) {
      mask.if_zero = value_of(condition.if_zero, 0, *if_no);
      mask.if_one = value_of(condition.if_one, 0, *if_no);
      TRY(Value masked, MaskScores(yes, mask));
      Set(node, std::move(masked));
      return {};
    }
    const auto ends = [](const Value& v, std::optional<double> number) {
      return number ? std::pair(*number, *number) : std::pair(v.if_zero, v.if_one);
    };
    const bool known = (if_yes || yes.kind == Kind::kMask) && (if_no || no.kind == Kind::kMask);
    const auto same_source = [&](const Value& v, std::optional<double> number) {
      return number || v.skip_id == condition.skip_id;
    };
    if (known && same_source(yes, if_yes) && same_source(no, if_no)) {
      const auto [yes_zero, yes_one] = ends(yes, if_yes);
      const auto [no_zero, no_one] = ends(no, if_no);
      mask.if_zero = value_of(condition.if_zero, yes_zero, no_zero);
      mask.if_one = value_of(condition.if_one, yes_one, no_one);
      for (const Value* v : {&yes, &no}) {
        const std::optional<OnnxAxes> axes =
            v->kind == Kind::kMask ? Broadcast(mask.axes, v->axes) : mask.axes;
        if (!axes) return Unsupported("chooses between values of different shapes");
        mask.axes = *axes;
      }
      Set(node, std::move(mask));
      return {};
    }
  }
  const std::optional<Value> choice = AsNumbers(condition), first = AsNumbers(yes),
                             second = AsNumbers(no);
  if (choice && first && second) {
    const size_t count =
        std::max({choice->numbers.size(), first->numbers.size(), second->numbers.size()});
    Value result = NumbersValue({}, {});
    for (const Value* v : {&*choice, &*first, &*second}) {
      if (v->numbers.size() == count && v->dims.size() >= result.dims.size()) result.dims = v->dims;
      if (v->numbers.size() != count && v->numbers.size() != 1) {
        return Unsupported("chooses between values of different shapes");
      }
    }
    for (size_t i = 0; i < count; ++i) {
      const auto at = [&](const Value& v) { return v.numbers[v.numbers.size() == 1 ? 0 : i]; };
      result.numbers.push_back(at(*choice).value != 0 ? at(*first) : at(*second));
    }
    Set(node, std::move(result));
    return {};
  }
  return Unsupported("is read for shapes, masks and masked scores only");
}

Status OnnxGraphReader::ReadIsNaN(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  if (x.kind != Kind::kProbabilities)
    return Unsupported("is read behind Softmax of attention only");
  x.kind = Kind::kIsNan;
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadElementwise(const OnnxNode& node) {
  const RowOp op = RowOpNamed(node.op);
  TRY(Value x, In(node, 0));
  if (x.kind == Kind::kMatrix) {
    x = MatrixValue(pool_.Apply(op, x.expr), x.axes);
  } else if (x.kind == Kind::kMask) {
    x.if_zero = Compute(op, x.if_zero);
    x.if_one = Compute(op, x.if_one);
  } else if (std::optional<Value> numbers = AsNumbers(x)) {
    for (OnnxNumber& n : numbers->numbers) {
      if (!n.IsPlain()) return Unsupported("computes with a size that is known only when it runs");
      n.value = Compute(op, n.value);
    }
    numbers->constant = nullptr;
    x = *std::move(numbers);
  } else {
    return Unsupported("is read for the model's values only");
  }
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadClip(const OnnxNode& node) {
  TRY(Value x, In(node, 0));
  const auto bound = [&](const char* name, size_t input) -> Result<std::optional<double>> {
    const auto found = node.attributes.find(name);
    if (found != node.attributes.end()) return std::optional<double>(found->second.real);
    if (!Has(node, input)) return std::optional<double>();
    TRY(const double number, Number(node, input));
    return std::optional<double>(number);
  };
  TRY(const std::optional<double> least, bound("min", 1));
  TRY(const std::optional<double> most, bound("max", 2));
  if (least) {
    TRY(x, Combine(node, RowOp::kMax, x, NumberValue(*least)));
  }
  if (most) {
    TRY(x, Combine(node, RowOp::kMin, x, NumberValue(*most)));
  }
  Set(node, std::move(x));
  return {};
}

Status OnnxGraphReader::ReadLeakyRelu(const OnnxNode& node) {
  TRY(const Value x, In(node, 0));
  if (x.kind != Kind::kMatrix) return Unsupported("is read for the model's values only");
  const auto alpha = node.attributes.find("alpha");
  constexpr double kDefault = 0.01;
  const double slope = alpha == node.attributes.end() ? kDefault : alpha->second.real;
  Set(node, MatrixValue(pool_.Apply(RowOp::kLeakyRelu, x.expr, kNoExpr, slope), x.axes));
  return {};
}

}  // namespace thimble
