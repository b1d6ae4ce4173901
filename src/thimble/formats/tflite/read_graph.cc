#include <algorithm>
#include <set>

#include "thimble/base/quote.h"
#include "thimble/formats/tflite/graph_reader.h"

namespace thimble {
namespace {

using enum tfl::BuiltinOperator;

constexpr int64_t kMostTokens = 1 << 14;
// Numbers that may be computed while reading, besides so many per byte of constants: more is not a
// model's but a broken file's.
constexpr int64_t kLeastBudget = int64_t{1} << 24;
constexpr int64_t kBudgetPerByte = 128;
constexpr size_t kMostOps = 50000, kMostDims = 16;
constexpr size_t kMostElements = size_t{1} << 40;

constexpr tfl::BuiltinOperator kLayoutOps[] = {
    RESHAPE,          TRANSPOSE,     SQUEEZE, EXPAND_DIMS, SPLIT, SPLIT_V,    PACK,
    UNPACK,           CONCATENATION, SLICE,   PAD,         PADV2, GATHER,     TILE,
    BROADCAST_TO,     STRIDED_SLICE, SHAPE,   RANGE,       FILL,  ZEROS_LIKE, RANK,
    EMBEDDING_LOOKUP, ONE_HOT};
// Those that change how values are stored, not what they are.
constexpr tfl::BuiltinOperator kSameOps[] = {CAST, DEQUANTIZE, QUANTIZE, FAKE_QUANT};
constexpr tfl::BuiltinOperator kReduceOps[] = {MEAN, SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN};
constexpr tfl::BuiltinOperator kOtherOps[] = {FULLY_CONNECTED,  BATCH_MATMUL, SELECT,
                                              SELECT_V2,        SOFTMAX,      LOG_SOFTMAX,
                                              L2_NORMALIZATION, CUMSUM};

template <size_t n>
bool IsIn(tfl::BuiltinOperator op, const tfl::BuiltinOperator (&list)[n]) {
  return std::find(std::begin(list), std::end(list), op) != std::end(list);
}

bool IsErf(const TfliteOp& op) {
  return op.code == CUSTOM && (op.name == "CUSTOM FlexErf" || op.name == "CUSTOM Erf");
}

bool IsKnown(const TfliteOp& op) {
  if (op.code == CUSTOM) return IsErf(op);
  return IsIn(op.code, kLayoutOps) || IsIn(op.code, kSameOps) || IsIn(op.code, kReduceOps) ||
         IsIn(op.code, kOtherOps) || RowOpOf(op.code);
}

}  // namespace

Status TfliteGraphReader::Spend(int64_t elements) {
  if (elements < 0 || elements > budget_) {
    return InvalidData("it would take more numbers than a model of this size needs");
  }
  budget_ -= elements;
  return {};
}

// All at once, so that nobody has to try again for the next one.
Status TfliteGraphReader::CheckOps() const {
  if (file_.ops.size() > kMostOps) {
    return Unsupported("has " + std::to_string(file_.ops.size()) + " operations; import reads " +
                       std::to_string(kMostOps) + " at most");
  }
  std::set<std::string> unknown;
  for (const TfliteOp& op : file_.ops) {
    if (!IsKnown(op)) unknown.insert(op.name);
  }
  if (unknown.empty()) return {};
  std::string names;
  for (const std::string& name : unknown) names += (names.empty() ? "" : ", ") + name;
  return Unsupported("uses operations that import does not read: " + names);
}

bool TfliteGraphReader::HasIn(const TfliteOp& op, size_t i) const {
  return i < op.inputs.size() && op.inputs[i] >= 0;
}

Result<TfliteGraphReader::View> TfliteGraphReader::In(const TfliteOp& op, size_t i) {
  if (!HasIn(op, i)) return InvalidData("it has no input " + std::to_string(i));
  const auto index = static_cast<size_t>(op.inputs[i]);
  if (views_[index]) return *views_[index];
  const TfliteTensor& tensor = file_.tensors[index];
  if (!tensor.constant && ElementCount(tensor.shape) != size_t{0}) {
    return Unsupported("its input " + std::to_string(i) + " is computed, not a constant");
  }
  Result<TfliteConstant> constant = DecodeConstant(tensor);
  if (!constant) return std::move(constant).error();
  views_[index] = NewConstant(*std::move(constant));
  return *views_[index];
}

TfliteGraphReader::View TfliteGraphReader::NewConstant(TfliteConstant constant) {
  View view{.kind = BaseKind::kConstant, .id = static_cast<int>(constants_.size())};
  int64_t stride = 1;
  view.extent.dims.resize(constant.shape.size());
  for (size_t i = constant.shape.size(); i-- > 0;) {
    const int64_t size = constant.shape[i];
    if (size != 1) view.extent.dims[i] = {{size, {stride, 0, 0, 0}}};
    stride *= size;
  }
  constants_.push_back(std::move(constant));
  return view;
}

Result<std::vector<double>> TfliteGraphReader::ConstantValues(const View& view) {
  if (view.kind != BaseKind::kConstant) return Unsupported("it takes a computed shape or index");
  int64_t count = 1;
  for (const int64_t size : ShapeOf(view.extent)) {
    if (size != 0 && count > budget_ / size) TRY_VOID(Spend(-1));
    count *= size;
  }
  TRY_VOID(Spend(count));
  std::vector<double> values;
  values.reserve(static_cast<size_t>(count));
  const TfliteConstant& c = constants_[static_cast<size_t>(view.id)];
  ForEachElement(view.extent, [&](const Coordinates& at) {
    values.push_back(c.At(static_cast<size_t>(at[0])) * view.scale);
  });
  return values;
}

bool TfliteGraphReader::IsWholeNumbers(const View& view) const {
  return view.kind == BaseKind::kConstant && !constants_[size_t(view.id)].ints.empty();
}

Result<TfliteGraphReader::View> TfliteGraphReader::FromValues(Shape shape,
                                                              const std::vector<double>& values,
                                                              bool whole_numbers) {
  TRY_VOID(Spend(static_cast<int64_t>(values.size())));
  TfliteConstant c;
  c.shape = std::move(shape);
  for (const double value : values) {
    if (whole_numbers && value >= -9e18 && value <= 9e18) {
      c.ints.push_back(static_cast<int64_t>(value));
    } else if (whole_numbers) {
      return InvalidData("its numbers are beyond all integers");
    } else {
      c.floats.push_back(static_cast<float>(value));
    }
  }
  return NewConstant(std::move(c));
}

Result<std::vector<int64_t>> TfliteGraphReader::NumbersOf(const View& view) {
  TRY(const std::vector<double> values, ConstantValues(view));
  std::vector<int64_t> numbers;
  for (const double value : values) {
    if (!(value >= -4e9 && value <= 4e9)) return InvalidData("it has an absurd index or size");
    numbers.push_back(static_cast<int64_t>(value));
  }
  return numbers;
}

Result<std::vector<int64_t>> TfliteGraphReader::Numbers(const TfliteOp& op, size_t i) {
  TRY(const View view, In(op, i));
  return NumbersOf(view);
}

Result<size_t> TfliteGraphReader::Axis(int64_t axis, size_t rank) const {
  if (axis < 0) axis += static_cast<int64_t>(rank);
  if (axis < 0 || axis >= static_cast<int64_t>(rank)) {
    return InvalidData("its axis is not one of " + std::to_string(rank));
  }
  return static_cast<size_t>(axis);
}

// --- Inputs: ids that a table of many rows is read by, token types by one of few, what is left is the mask.

Status TfliteGraphReader::FindRoles() {
  constexpr int64_t kNotLookedUp = 0;
  std::map<int32_t, size_t> source;  // tensor -> index into file_.inputs
  std::vector<int64_t> table_rows(file_.inputs.size(), kNotLookedUp);
  for (size_t i = 0; i < file_.inputs.size(); ++i) source[file_.inputs[i]] = i;
  for (const TfliteOp& op : file_.ops) {
    if (op.inputs.empty() || op.outputs.empty()) continue;
    const auto input = [&](size_t i) {
      const auto found = HasIn(op, i) ? source.find(op.inputs[i]) : source.end();
      return found == source.end() ? std::nullopt : std::optional(found->second);
    };
    const auto looked_up = [&](std::optional<size_t> ids, int64_t rows) {
      if (ids) table_rows[*ids] = std::max(table_rows[*ids], rows);
    };
    const auto rows_of = [&](size_t i) {
      if (!HasIn(op, i)) return int64_t{1};
      const Shape& shape = file_.tensors[static_cast<size_t>(op.inputs[i])].shape;
      return shape.empty() ? 1 : std::max<int64_t>(shape[0], 1);
    };
    if (op.code == GATHER) {
      looked_up(input(1), rows_of(0));
    } else if (op.code == EMBEDDING_LOOKUP) {
      looked_up(input(0), rows_of(1));
    } else if (op.code == ONE_HOT) {
      const Result<std::vector<int64_t>> depth = Numbers(op, 1);
      looked_up(input(0), depth.has_value() && !depth->empty() ? (*depth)[0] : 1);
    } else if (op.code == SHAPE || op.code == RANK || op.code == ZEROS_LIKE) {
      continue;  // of the ids, but no ids
    } else if ((IsIn(op.code, kLayoutOps) || IsIn(op.code, kSameOps)) && input(0)) {
      source[op.outputs[0]] = *input(0);
    }
  }
  std::vector<size_t> ids;
  for (size_t i = 0; i < table_rows.size(); ++i) {
    if (table_rows[i] != kNotLookedUp) ids.push_back(i);
  }
  std::stable_sort(ids.begin(), ids.end(),
                   [&](size_t a, size_t b) { return table_rows[a] > table_rows[b]; });
  if (ids.empty()) {
    return Unsupported(
        "no input of it is looked up in a table: import reads models of text that "
        "take token ids");
  }
  if (ids.size() > 2) {
    return Unsupported("its inputs are looked up in " + std::to_string(ids.size()) +
                       " tables; import knows token ids and token types");
  }
  roles_.assign(file_.inputs.size(), {});
  roles_[ids[0]] = kInputIds;
  if (ids.size() == 2) roles_[ids[1]] = kTokenTypeIds;
  return {};
}

Status TfliteGraphReader::ReadInput(size_t input) {
  const TfliteTensor& tensor = file_.tensors[static_cast<size_t>(file_.inputs[input])];
  const Shape& shape = tensor.signature.empty() ? tensor.shape : tensor.signature;
  const std::string name = "input " + Quoted(tensor.name);
  if (shape.empty() || shape.size() > 2 || (shape.size() == 2 && shape[0] > 1)) {
    return Unsupported(name + " is " + ShapeText(shape) +
                       "; import reads models of one sequence, [1, tokens]");
  }
  const bool open = shape.back() < 0;
  const int64_t tokens = open ? open_tokens_ : shape.back();
  if (tokens < 2 || tokens > kMostTokens) {
    return Unsupported(name + " is " + ShapeText(shape) + ", which is no sequence of tokens");
  }
  if (tokens_ != 0 && tokens_ != tokens) {
    return Unsupported(name + " is " + ShapeText(shape) + ", another input has " +
                       std::to_string(tokens_) + " tokens");
  }
  tokens_ = tokens;
  open_ = open_ || open;
  View view;
  view.extent.dims.resize(shape.size());
  view.extent.dims.back() = {{tokens, {1, 0, 0, 0}}};
  if (roles_[input].empty()) {
    view = NewMask(std::move(view), {});
  } else {
    view.kind = BaseKind::kIds;
    view.id = static_cast<int>(input);
  }
  views_[static_cast<size_t>(file_.inputs[input])] = view;
  return {};
}

Result<TfliteGraphReader::View> TfliteGraphReader::Activated(const TfliteOp& op, View view) {
  auto fused = tfl::ActivationFunctionType::NONE;
  const auto take = [&](const auto* options) {
    if (options != nullptr) fused = options->fused_activation_function();
  };
  take(op.options<tfl::FullyConnectedOptions>());
  take(op.options<tfl::AddOptions>());
  take(op.options<tfl::SubOptions>());
  take(op.options<tfl::MulOptions>());
  take(op.options<tfl::DivOptions>());
  take(op.options<tfl::ConcatenationOptions>());
  switch (fused) {
    case tfl::ActivationFunctionType::NONE:
      return view;
    case tfl::ActivationFunctionType::RELU:
      return Unary(RowOp::kRelu, std::move(view), 0);
    case tfl::ActivationFunctionType::RELU6:
      return Unary(RowOp::kRelu6, std::move(view), 0);
    case tfl::ActivationFunctionType::RELU_N1_TO_1:
      return Unary(RowOp::kReluN1To1, std::move(view), 0);
    case tfl::ActivationFunctionType::TANH:
      return Unary(RowOp::kTanh, std::move(view), 0);
    default:
      return Unsupported("its fused activation is not one that import reads");
  }
}

Result<std::vector<TfliteGraphReader::View>> TfliteGraphReader::ReadOp(const TfliteOp& op) {
  if (IsIn(op.code, kLayoutOps)) return ReadLayout(op);
  View view;
  if (IsIn(op.code, kSameOps)) {
    TRY(view, In(op, 0));
  } else if (IsIn(op.code, kReduceOps)) {
    TRY(view, ReadReduce(op));
  } else if (op.code == FULLY_CONNECTED) {
    TRY(view, ReadFullyConnected(op));
  } else if (op.code == BATCH_MATMUL) {
    TRY(view, ReadBatchMatMul(op));
  } else if (op.code == SELECT || op.code == SELECT_V2) {
    TRY(view, ReadSelect(op));
  } else if (op.code == CUMSUM) {
    TRY(view, ReadCumsum(op));
  } else if (op.code == SOFTMAX || op.code == LOG_SOFTMAX) {
    TRY(view, ReadSoftmax(op));
  } else if (op.code == L2_NORMALIZATION || Operands(*RowOpOf(op.code)) == 1) {
    TRY(view, ReadUnary(op));
  } else {
    TRY(const View a, In(op, 0));
    TRY(const View b, In(op, 1));
    TRY(view, Binary(*RowOpOf(op.code), a, b));
  }
  TRY(view, Activated(op, std::move(view)));
  return std::vector<View>{std::move(view)};
}

Result<TfliteGraph> TfliteGraphReader::Read() && {
  TRY_VOID(CheckOps());
  int64_t bytes = 0;
  for (const TfliteTensor& tensor : file_.tensors)
    bytes += static_cast<int64_t>(tensor.data.size());
  budget_ = kLeastBudget + kBudgetPerByte * bytes;
  views_.resize(file_.tensors.size());
  TRY_VOID(FindRoles());
  ids_ = builder_.Input(kInputIds);
  const auto has_types = std::find(roles_.begin(), roles_.end(), kTokenTypeIds) != roles_.end();
  if (has_types) types_ = builder_.Input(kTokenTypeIds);
  for (size_t i = 0; i < file_.inputs.size(); ++i) TRY_VOID(ReadInput(i));
  for (size_t i = 0; i < file_.ops.size(); ++i) {
    const TfliteOp& op = file_.ops[i];
    const std::string place = "operation " + std::to_string(i) + " (" + op.name + ")";
    Result<std::vector<View>> views = ReadOp(op);
    if (!views) return std::move(views).error().In(place);
    if (views->size() != op.outputs.size()) {
      return InvalidData(place + ": has " + std::to_string(op.outputs.size()) + " outputs, gives " +
                         std::to_string(views->size()));
    }
    for (size_t k = 0; k < views->size(); ++k) {
      const Shape shape = ShapeOf((*views)[k].extent);
      const std::optional<size_t> count = ElementCount(shape);
      if (shape.size() > kMostDims || !count || *count > kMostElements) {
        return InvalidData(place + ": its result is absurdly large");
      }
      views_[static_cast<size_t>(op.outputs[k])] = std::move((*views)[k]);
    }
  }
  TRY_VOID(ReadOutputs());
  const int64_t longest = open_ ? (longest_ > 0 ? longest_ : 512) : tokens_;
  TRY(const Graph graph, std::move(builder_).Finish(longest));
  TRY(result_.graph, TidyGraph(graph));
  const std::string exact = "; results are the file's own only for inputs of exactly " +
                            std::to_string(tokens_) + " tokens";
  if (attends_unmasked_) result_.warnings.push_back("its attention sees padding" + exact);
  if (pools_unmasked_) result_.warnings.push_back("it averages over padding" + exact);
  return std::move(result_);
}

}  // namespace thimble
