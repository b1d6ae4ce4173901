#include "thimble/formats/tflite/test_tflite_interpreter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>

#include "thimble/base/check.h"
#include "thimble/base/half.h"

namespace thimble {
namespace {

using enum tfl::BuiltinOperator;

int64_t Count(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

// Row-major index of an element, dimension by dimension.
std::vector<int64_t> IndexOf(int64_t flat, const Shape& shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = flat % shape[d];
    flat /= shape[d];
  }
  return index;
}

int64_t FlatOf(const std::vector<int64_t>& index, const Shape& shape) {
  int64_t flat = 0;
  for (size_t d = 0; d < shape.size(); ++d) flat = flat * shape[d] + index[d];
  return flat;
}

// An array of `shape`, element by element from its index.
TestArray Make(const Shape& shape, const std::function<double(const std::vector<int64_t>&)>& at) {
  TestArray out{shape, {}};
  for (int64_t i = 0; i < Count(shape); ++i) out.values.push_back(at(IndexOf(i, shape)));
  return out;
}

double At(const TestArray& a, const std::vector<int64_t>& index) {
  return a.values[static_cast<size_t>(FlatOf(index, a.shape))];
}

// The element of `a` that a broadcast index means.
double Broadcast(const TestArray& a, const std::vector<int64_t>& index) {
  std::vector<int64_t> own;
  for (size_t d = 0; d < a.shape.size(); ++d) {
    own.push_back(a.shape[d] == 1 ? 0 : index[index.size() - a.shape.size() + d]);
  }
  return At(a, own);
}

Shape BroadcastShapes(const Shape& a, const Shape& b) {
  Shape shape = a.size() > b.size() ? a : b;
  const Shape& other = a.size() > b.size() ? b : a;
  for (size_t d = 0; d < other.size(); ++d) {
    int64_t& size = shape[shape.size() - other.size() + d];
    size = std::max(size, other[d]);
  }
  return shape;
}

TestArray Constant(const TfliteTensor& t) {
  TestArray out{t.shape, {}};
  for (int64_t i = 0; i < Count(t.shape); ++i) {
    const auto read = [&]<class T>(T value) {
      std::memcpy(&value, t.data.data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
      return value;
    };
    double value = 0;
    if (t.type == tfl::TensorType::FLOAT32) value = read(float());
    if (t.type == tfl::TensorType::FLOAT16) value = HalfToFloat(read(uint16_t()));
    if (t.type == tfl::TensorType::INT32) value = read(int32_t());
    if (t.type == tfl::TensorType::INT64) value = static_cast<double>(read(int64_t()));
    if (t.type == tfl::TensorType::INT8) value = read(int8_t());
    if (t.type == tfl::TensorType::BOOL) value = read(uint8_t());
    if (!t.scales.empty()) {
      const auto channel =
          t.scales.size() == 1 ? 0 : static_cast<size_t>(IndexOf(i, t.shape)[t.axis]);
      value = (value - static_cast<double>(t.zero_points[channel])) * t.scales[channel];
    }
    out.values.push_back(value);
  }
  return out;
}

double Function(tfl::BuiltinOperator op, double x, bool approximate) {
  switch (op) {
    case RELU:
      return x > 0 ? x : 0;
    case TANH:
      return std::tanh(x);
    case LOGISTIC:
      return 1 / (1 + std::exp(-x));
    case SQRT:
      return std::sqrt(x);
    case RSQRT:
      return 1 / std::sqrt(x);
    case SQUARE:
      return x * x;
    case NEG:
      return -x;
    case CUSTOM:
      return std::erf(x);
    case GELU:
      if (!approximate) return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    default:
      THIMBLE_CHECK(false);
  }
  return 0;
}

double Function2(tfl::BuiltinOperator op, double x, double y) {
  switch (op) {
    case ADD:
      return x + y;
    case SUB:
      return x - y;
    case MUL:
      return x * y;
    case DIV:
      return x / y;
    case SQUARED_DIFFERENCE:
      return (x - y) * (x - y);
    case POW:
      return std::pow(x, y);
    case MAXIMUM:
      return x > y ? x : y;
    case EQUAL:
      return x == y ? 1 : 0;
    case NOT_EQUAL:
      return x != y ? 1 : 0;
    default:
      THIMBLE_CHECK(false);
  }
  return 0;
}

class Interpreter {
 public:
  explicit Interpreter(const TfliteFile& file) : file_(file) {}

  std::vector<TestArray> Run(const std::vector<TestArray>& inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) values_[file_.inputs[i]] = inputs[i];
    for (const TfliteOp& op : file_.ops) {
      std::vector<TestArray> out = Evaluate(op);
      for (size_t i = 0; i < out.size(); ++i) values_[op.outputs[i]] = std::move(out[i]);
    }
    std::vector<TestArray> outputs;
    for (const int32_t output : file_.outputs) outputs.push_back(values_.at(output));
    return outputs;
  }

 private:
  TestArray In(const TfliteOp& op, size_t i) {
    const int32_t index = op.inputs.at(i);
    if (!values_.contains(index)) {
      values_[index] = Constant(file_.tensors[static_cast<size_t>(index)]);
    }
    return values_[index];
  }
  std::vector<int64_t> Ints(const TfliteOp& op, size_t i) {
    const TestArray a = In(op, i);
    return {a.values.begin(), a.values.end()};
  }
  static size_t Dim(int64_t axis, size_t rank) {
    return static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
  }
  static TestArray Reshape(TestArray a, Shape shape) {
    int64_t known = 1;
    for (const int64_t size : shape) known *= size == -1 ? 1 : size;
    for (int64_t& size : shape) {
      if (size == -1) size = static_cast<int64_t>(a.values.size()) / known;
    }
    a.shape = std::move(shape);
    return a;
  }
  static TestArray Slice(const TestArray& a, const std::vector<int64_t>& begin, const Shape& shape,
                         const std::vector<int64_t>& step) {
    return Make(shape, [&](std::vector<int64_t> index) {
      for (size_t d = 0; d < index.size(); ++d) index[d] = begin[d] + index[d] * step[d];
      return At(a, index);
    });
  }
  static TestArray Swapped(const TestArray& a) {
    Shape shape = a.shape;
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
    return Make(shape, [&](std::vector<int64_t> index) {
      std::swap(index[index.size() - 1], index[index.size() - 2]);
      return At(a, index);
    });
  }
  static TestArray MatMul(const TestArray& a, const TestArray& b) {
    const size_t rank = a.shape.size();
    Shape shape = a.shape;
    shape[rank - 1] = b.shape.back();
    return Make(shape, [&](const std::vector<int64_t>& index) {
      std::vector<int64_t> x = index, y = index;
      double sum = 0;
      for (int64_t k = 0; k < a.shape.back(); ++k) {
        x[rank - 1] = k, y[rank - 2] = k;
        sum += At(a, x) * Broadcast(b, y);
      }
      return sum;
    });
  }
  static TestArray Softmax(const TestArray& a) {
    TestArray out = a;
    const auto width = static_cast<size_t>(a.shape.back());
    for (size_t r = 0; r < out.values.size(); r += width) {
      double max = -INFINITY, sum = 0;
      for (size_t i = r; i < r + width; ++i) max = std::max(max, out.values[i]);
      for (size_t i = r; i < r + width; ++i) sum += out.values[i] = std::exp(out.values[i] - max);
      for (size_t i = r; i < r + width; ++i) out.values[i] /= sum;
    }
    return out;
  }

  TestArray FullyConnected(const TfliteOp& op) {
    const TestArray x = In(op, 0), w = In(op, 1);
    const auto* options = op.options<tfl::FullyConnectedOptions>();
    const int64_t inputs = w.shape[1], outputs = w.shape[0];
    TestArray y = MatMul(Reshape(x, {-1, inputs}), Swapped(w));
    if (op.inputs.size() > 2 && op.inputs[2] >= 0) {
      const TestArray bias = In(op, 2);
      for (size_t i = 0; i < y.values.size(); ++i) {
        y.values[i] += bias.values[i % bias.values.size()];
      }
    }
    if (options->fused_activation_function() == tfl::ActivationFunctionType::RELU) {
      for (double& value : y.values) value = std::max(value, 0.0);
    }
    Shape shape = x.shape;
    shape.back() = outputs;
    return options->keep_num_dims() ? Reshape(y, shape) : y;
  }

  TestArray StridedSlice(const TfliteOp& op) {
    const TestArray x = In(op, 0);
    const auto* options = op.options<tfl::StridedSliceOptions>();
    std::vector<int64_t> begin = Ints(op, 1), end = Ints(op, 2), step = Ints(op, 3), first;
    Shape cut, kept;
    size_t d = 0;
    for (size_t i = 0; i < begin.size(); ++i) {
      if (options->new_axis_mask() >> i & 1) {
        kept.push_back(1);
        continue;
      }
      const int64_t size = x.shape[d];
      const bool single = options->shrink_axis_mask() >> i & 1;
      const int64_t from =
          options->begin_mask() >> i & 1 ? 0 : begin[i] + (begin[i] < 0 ? size : 0);
      int64_t to = options->end_mask() >> i & 1 ? size : end[i] + (end[i] < 0 ? size : 0);
      if (single) to = from + 1;
      first.push_back(from);
      cut.push_back((to - from + step[i] - 1) / step[i]);
      if (!single) kept.push_back(cut.back());
      ++d;
    }
    std::vector<int64_t> strides(x.shape.size(), 1);
    for (; d < x.shape.size(); ++d) {
      first.push_back(0), cut.push_back(x.shape[d]), kept.push_back(x.shape[d]);
    }
    return Reshape(Slice(x, first, cut, strides), kept);
  }

  TestArray Reduce(const TfliteOp& op) {
    const TestArray x = In(op, 0);
    std::vector<bool> gone(x.shape.size(), false);
    double count = 1;
    for (const int64_t axis : Ints(op, 1)) {
      gone[Dim(axis, x.shape.size())] = true;
      count *= static_cast<double>(x.shape[Dim(axis, x.shape.size())]);
    }
    Shape ones, kept;
    for (size_t d = 0; d < gone.size(); ++d) {
      ones.push_back(gone[d] ? 1 : x.shape[d]);
      if (!gone[d] || op.options<tfl::ReducerOptions>()->keep_dims()) kept.push_back(ones.back());
    }
    TestArray out{ones, std::vector<double>(static_cast<size_t>(Count(ones)), 0.0)};
    for (int64_t i = 0; i < Count(x.shape); ++i) {
      std::vector<int64_t> index = IndexOf(i, x.shape);
      for (size_t d = 0; d < gone.size(); ++d) index[d] = gone[d] ? 0 : index[d];
      out.values[static_cast<size_t>(FlatOf(index, ones))] += x.values[static_cast<size_t>(i)];
    }
    for (double& value : out.values) value /= op.code == MEAN ? count : 1;
    return Reshape(out, kept);
  }

  std::vector<TestArray> Joined(const TfliteOp& op) {
    std::vector<TestArray> parts;
    for (size_t i = 0; i < op.inputs.size(); ++i) parts.push_back(In(op, i));
    const size_t rank = parts[0].shape.size();
    size_t dim;
    if (op.code == PACK) {
      dim = Dim(op.options<tfl::PackOptions>()->axis(), rank + 1);
      for (TestArray& part : parts) part.shape.insert(part.shape.begin() + int64_t(dim), 1);
    } else {
      dim = Dim(op.options<tfl::ConcatenationOptions>()->axis(), rank);
    }
    Shape shape = parts[0].shape;
    shape[dim] = 0;
    for (const TestArray& part : parts) shape[dim] += part.shape[dim];
    return {Make(shape, [&](std::vector<int64_t> index) {
      size_t p = 0;
      for (; index[dim] >= parts[p].shape[dim]; ++p) index[dim] -= parts[p].shape[dim];
      return At(parts[p], index);
    })};
  }

  std::vector<TestArray> Split(const TfliteOp& op) {
    const TestArray x = In(op, op.code == SPLIT ? 1 : 0);
    const int64_t axis =
        op.code == SPLIT ? Ints(op, 0)[0] : op.options<tfl::UnpackOptions>()->axis();
    const size_t dim = Dim(axis, x.shape.size());
    Shape shape = x.shape;
    shape[dim] /= static_cast<int64_t>(op.outputs.size());
    std::vector<TestArray> parts;
    for (size_t i = 0; i < op.outputs.size(); ++i) {
      std::vector<int64_t> begin(x.shape.size(), 0);
      begin[dim] = shape[dim] * static_cast<int64_t>(i);
      parts.push_back(Slice(x, begin, shape, std::vector<int64_t>(x.shape.size(), 1)));
      if (op.code == UNPACK) parts.back().shape.erase(parts.back().shape.begin() + int64_t(dim));
    }
    return parts;
  }

  TestArray Gather(const TestArray& table, const TestArray& ids, size_t axis) {
    Shape shape = table.shape;
    shape.erase(shape.begin() + int64_t(axis));
    shape.insert(shape.begin() + int64_t(axis), ids.shape.begin(), ids.shape.end());
    return Make(shape, [&](const std::vector<int64_t>& index) {
      const auto at = index.begin() + int64_t(axis);
      const std::vector<int64_t> which(at, at + int64_t(ids.shape.size()));
      std::vector<int64_t> from(index.begin(), at);
      from.push_back(static_cast<int64_t>(At(ids, which)));
      from.insert(from.end(), at + int64_t(ids.shape.size()), index.end());
      return At(table, from);
    });
  }

  std::vector<TestArray> Evaluate(const TfliteOp& op) {
    switch (op.code) {
      case CAST:
      case DEQUANTIZE:
      case QUANTIZE:
        return {In(op, 0)};
      case RESHAPE:
        return {Reshape(In(op, 0), Ints(op, 1))};
      case EXPAND_DIMS: {
        TestArray x = In(op, 0);
        x.shape.insert(x.shape.begin() + int64_t(Dim(Ints(op, 1)[0], x.shape.size() + 1)), 1);
        return {x};
      }
      case SQUEEZE: {
        TestArray x = In(op, 0);
        std::erase(x.shape, 1);
        return {x};
      }
      case SHAPE: {
        const Shape shape = In(op, 0).shape;
        return {TestArray{{int64_t(shape.size())}, {shape.begin(), shape.end()}}};
      }
      case RANGE: {
        TestArray out;
        for (int64_t i = Ints(op, 0)[0]; i < Ints(op, 1)[0]; ++i) out.values.push_back(double(i));
        out.shape = {int64_t(out.values.size())};
        return {out};
      }
      case TRANSPOSE: {
        const TestArray x = In(op, 0);
        const std::vector<int64_t> order = Ints(op, 1);
        Shape shape;
        for (const int64_t d : order) shape.push_back(x.shape[size_t(d)]);
        return {Make(shape, [&](const std::vector<int64_t>& index) {
          std::vector<int64_t> from(index.size());
          for (size_t d = 0; d < order.size(); ++d) from[size_t(order[d])] = index[d];
          return At(x, from);
        })};
      }
      case PAD: {
        const TestArray x = In(op, 0);
        const std::vector<int64_t> padding = Ints(op, 1);
        Shape shape = x.shape;
        for (size_t d = 0; d < shape.size(); ++d) shape[d] += padding[2 * d] + padding[2 * d + 1];
        return {Make(shape, [&](std::vector<int64_t> index) {
          for (size_t d = 0; d < index.size(); ++d) {
            index[d] -= padding[2 * d];
            if (index[d] < 0 || index[d] >= x.shape[d]) return 0.0;
          }
          return At(x, index);
        })};
      }
      case STRIDED_SLICE:
        return {StridedSlice(op)};
      case SLICE: {
        const TestArray x = In(op, 0);
        const std::vector<int64_t> begin = Ints(op, 1);
        Shape shape = Ints(op, 2);
        for (size_t d = 0; d < shape.size(); ++d) {
          if (shape[d] == -1) shape[d] = x.shape[d] - begin[d];
        }
        return {Slice(x, begin, shape, std::vector<int64_t>(shape.size(), 1))};
      }
      case SPLIT:
      case UNPACK:
        return Split(op);
      case PACK:
      case CONCATENATION:
        return Joined(op);
      case GATHER:
        return {Gather(In(op, 0), In(op, 1),
                       Dim(op.options<tfl::GatherOptions>()->axis(), In(op, 0).shape.size()))};
      case EMBEDDING_LOOKUP:
        return {Gather(In(op, 1), In(op, 0), 0)};
      case ONE_HOT: {
        const TestArray ids = In(op, 0);
        Shape shape = ids.shape;
        shape.push_back(Ints(op, 1)[0]);
        return {Make(shape, [&](std::vector<int64_t> index) {
          const auto which = static_cast<double>(index.back());
          index.pop_back();
          return At(ids, index) == which ? 1.0 : 0.0;
        })};
      }
      case CUMSUM: {
        const TestArray x = In(op, 0);
        const size_t dim = Dim(static_cast<int>(Ints(op, 1)[0]), x.shape.size());
        return {Make(x.shape, [&](std::vector<int64_t> index) {
          double sum = 0;
          for (; index[dim] >= 0; --index[dim]) sum += At(x, index);
          return sum;
        })};
      }
      case SELECT_V2: {
        const TestArray c = In(op, 0), x = In(op, 1), y = In(op, 2);
        const Shape shape = BroadcastShapes(BroadcastShapes(c.shape, x.shape), y.shape);
        return {Make(shape, [&](const std::vector<int64_t>& index) {
          return Broadcast(c, index) != 0 ? Broadcast(x, index) : Broadcast(y, index);
        })};
      }
      case MEAN:
      case SUM:
        return {Reduce(op)};
      case SOFTMAX:
        return {Softmax(In(op, 0))};
      case FULLY_CONNECTED:
        return {FullyConnected(op)};
      case BATCH_MATMUL: {
        const auto* options = op.options<tfl::BatchMatMulOptions>();
        const TestArray a = In(op, 0), b = In(op, 1);
        return {MatMul(options->adj_x() ? Swapped(a) : a, options->adj_y() ? Swapped(b) : b)};
      }
      default:
        break;
    }
    if (op.inputs.size() == 1) {
      TestArray x = In(op, 0);
      const auto* gelu = op.options<tfl::GeluOptions>();
      for (double& value : x.values) {
        value = Function(op.code, value, gelu != nullptr && gelu->approximate());
      }
      return {x};
    }
    const TestArray x = In(op, 0), y = In(op, 1);
    return {Make(BroadcastShapes(x.shape, y.shape), [&](const std::vector<int64_t>& index) {
      return Function2(op.code, Broadcast(x, index), Broadcast(y, index));
    })};
  }

  const TfliteFile& file_;
  std::map<int32_t, TestArray> values_;
};

}  // namespace

std::vector<TestArray> InterpretTflite(const TfliteFile& file,
                                       const std::vector<TestArray>& inputs) {
  return Interpreter(file).Run(inputs);
}

}  // namespace thimble
