// Attention of training: a plain version in double, held to the graph's operation (forward) and to
// differences (gradients), judges every table.
#include <algorithm>
#include <limits>
#include <numeric>

#include "thimble/train/kernels/test_support.h"

namespace thimble {
namespace {

struct Case {
  std::vector<int32_t> lengths;
  size_t heads, head_width, value_width;
  float dropout = 0;
  bool per_token = true;
  std::vector<uint8_t> mask = {};
  float scale = 0.3f;

  std::vector<int32_t> Offsets() const {
    std::vector<int32_t> offsets(lengths.size() + 1, 0);
    std::partial_sum(lengths.begin(), lengths.end(), offsets.begin() + 1);
    return offsets;
  }
  size_t tokens() const { return static_cast<size_t>(Offsets().back()); }
  size_t queries() const { return per_token ? tokens() : lengths.size(); }
  size_t width() const { return heads * head_width; }
  size_t value_columns() const { return heads * value_width; }
  std::string Name() const {
    std::string name;
    for (int32_t n : lengths) name += std::to_string(n) + " ";
    return name + "tokens, " + std::to_string(heads) + " heads " + std::to_string(head_width) +
           " -> " + std::to_string(value_width) + ", dropout " + std::to_string(dropout) +
           (per_token ? "" : ", one query each") + (mask.empty() ? "" : ", masked");
  }
};

// Values of either precision, without gaps.
template <class T>
struct Operands {
  std::vector<T> q, k, v, d_out;
};

struct Inputs {
  explicit Inputs(const Case& c)
      : offsets(c.Offsets()),
        q(GuardedMatrix::Random(c.queries(), c.width(), c.width() + 3, 1, 1)),
        k(GuardedMatrix::Random(c.tokens(), c.width(), c.width() + 5, 2, 2)),
        v(GuardedMatrix::Random(c.tokens(), c.value_columns(), c.value_columns() + 1, 3, 3)),
        d_out(GuardedMatrix::Random(c.queries(), c.value_columns(), c.value_columns() + 2, 4, 1)) {
    for (size_t r = 0; r < c.queries(); ++r) keys.push_back(MixKeys(11, static_cast<uint32_t>(r)));
  }

  AttentionShape Shape(const Case& c) const {
    return {.offsets = offsets,
            .mask = c.mask.empty() ? nullptr : c.mask.data(),
            .per_token = c.per_token,
            .heads = c.heads,
            .head_width = c.head_width,
            .value_width = c.value_width,
            .q_stride = q.stride(),
            .k_stride = k.stride(),
            .v_stride = v.stride(),
            .out_stride = d_out.stride(),
            .scale = c.scale,
            .dropout = c.dropout,
            .row_keys = keys.data()};
  }

  template <class T>
  Operands<T> As(const Case& c) const {
    const auto plain = [](const GuardedMatrix& m, size_t rows, size_t width) {
      std::vector<T> values;
      for (size_t r = 0; r < rows; ++r) {
        for (size_t i = 0; i < width; ++i) values.push_back(m.at(r, i));
      }
      return values;
    };
    return {plain(q, c.queries(), c.width()), plain(k, c.tokens(), c.width()),
            plain(v, c.tokens(), c.value_columns()), plain(d_out, c.queries(), c.value_columns())};
  }

  std::vector<int32_t> offsets;
  GuardedMatrix q, k, v, d_out;
  std::vector<uint32_t> keys;
};

// --- The plain version, and beside each value the bound of a float kernel's error: all roundings of
// --- its inputs, operations and sums, first order, in units of 2^-24.

struct Bounded {
  std::vector<double> value, bound;
  explicit Bounded(size_t n) : value(n, 0.0), bound(n, 0.0) {}
  void Add(size_t i, double term, double size, double units) {
    value[i] += term;
    bound[i] += units * kRoundoff * size;
  }
};

struct PlainResults {
  Bounded out, d_q, d_k, d_v;
  double loss = 0;  // sum(d_out out)
};

PlainResults Plain(const Case& c, const std::vector<uint32_t>& row_keys, const Operands<double>& in,
                   double per_term = 1) {
  const std::vector<int32_t> offsets = c.Offsets();
  const size_t width = c.width(), columns = c.value_columns();
  PlainResults result{Bounded(in.d_out.size()), Bounded(in.q.size()), Bounded(in.k.size()),
                      Bounded(in.v.size())};
  for (size_t s = 0; s < c.lengths.size(); ++s) {
    const auto first = static_cast<size_t>(offsets[s]);
    const auto keys = static_cast<size_t>(c.lengths[s]);
    const size_t queries = c.per_token ? keys : 1;
    const double n = static_cast<double>(keys);
    const bool all_masked =
        !c.mask.empty() && std::all_of(c.mask.begin() + static_cast<ptrdiff_t>(first),
                                       c.mask.begin() + static_cast<ptrdiff_t>(first + keys),
                                       [](uint8_t m) { return m == 0; });
    const double scale = all_masked ? 0 : c.scale;
    for (size_t h = 0; h < c.heads; ++h) {
      for (size_t i = 0; i < queries; ++i) {
        const size_t row = c.per_token ? first + i : s;
        const double* q = &in.q[row * width + h * c.head_width];
        const double* d_out = &in.d_out[row * columns + h * c.value_width];
        std::vector<double> p(keys, 0.0), w(keys), d_w(keys, 0.0), d_w_size(keys, 0.0);
        double largest = -std::numeric_limits<double>::infinity(), score_size = 0, sum = 0;
        const auto counts = [&](size_t j) {
          return c.mask.empty() || all_masked || c.mask[first + j] != 0;
        };
        for (size_t j = 0; j < keys; ++j) {
          if (!counts(j)) continue;
          double size = 0;
          for (size_t d = 0; d < c.head_width; ++d) {
            const double term = scale * q[d] * in.k[(first + j) * width + h * c.head_width + d];
            p[j] += term, size += std::abs(term);
          }
          largest = std::max(largest, p[j]), score_size = std::max(score_size, size);
        }
        for (size_t j = 0; j < keys; ++j) {
          if (counts(j)) p[j] = std::exp(p[j] - largest);
          sum += p[j];
        }
        for (size_t j = 0; j < keys; ++j) {
          p[j] /= sum;
          const auto column = static_cast<uint32_t>(h * keys + j);
          const bool dropped =
              static_cast<int32_t>(RandomBits(row_keys[row], column)) < DropoutThreshold(c.dropout);
          w[j] = dropped ? 0 : p[j] / (1 - static_cast<double>(c.dropout));
        }
        // A score's error is one of the exponent, hence a relative one of the weight, once in it and
        // once in the sum; then the exponential (2 units each), sums over lanes, and the quotient.
        const double head = static_cast<double>(c.head_width);
        const double in_p = 2 * (per_term * head + 4) * 2 * score_size + 8 + n / 16;
        const double in_w = in_p + 3;
        const double in_d_w = per_term * static_cast<double>(c.value_width) + 1;
        double total = 0, total_size = 0;
        for (size_t j = 0; j < keys; ++j) {
          for (size_t d = 0; d < c.value_width; ++d) {
            const size_t at = (first + j) * columns + h * c.value_width + d;
            const double v = in.v[at];
            result.out.Add(row * columns + h * c.value_width + d, w[j] * v, std::abs(w[j] * v),
                           in_w + per_term * n);
            result.loss += w[j] * v * d_out[d];
            d_w[j] += d_out[d] * v, d_w_size[j] += std::abs(d_out[d] * v);
            result.d_v.Add(at, w[j] * d_out[d], std::abs(w[j] * d_out[d]),
                           in_w + per_term * static_cast<double>(queries));
          }
          total += w[j] * d_w[j], total_size += w[j] * d_w_size[j];
        }
        const double in_product = in_w + in_d_w + 1, in_total = in_product + n / 16 + 5;
        for (size_t j = 0; j < keys; ++j) {
          const double d_score = scale * (w[j] * d_w[j] - p[j] * total);
          const double size = std::abs(scale) * (w[j] * d_w_size[j] + p[j] * total_size);
          const double units = in_total + in_p + 4;
          for (size_t d = 0; d < c.head_width; ++d) {
            const size_t q_at = row * width + h * c.head_width + d;
            const size_t k_at = (first + j) * width + h * c.head_width + d;
            result.d_q.Add(q_at, d_score * in.k[k_at], size * std::abs(in.k[k_at]),
                           units + per_term * n);
            result.d_k.Add(k_at, d_score * in.q[q_at], size * std::abs(in.q[q_at]),
                           units + per_term * static_cast<double>(queries));
          }
        }
      }
    }
  }
  return result;
}

TEST(PlainAttention, IsTheOperation) {
  const Case cases[] = {
      {.lengths = {3, 1, 6}, .heads = 2, .head_width = 4, .value_width = 3},
      {.lengths = {3, 1, 6},
       .heads = 2,
       .head_width = 4,
       .value_width = 3,
       .mask = {1, 0, 1, 0, 1, 1, 0, 0, 1, 1}},
      {.lengths = {5, 2}, .heads = 1, .head_width = 3, .value_width = 5, .per_token = false}};
  for (const Case& c : cases) {
    const Inputs in(c);
    const Operands<float> floats = in.As<float>(c);
    const Rows rows = c.per_token ? Rows::kTokens : Rows::kSequences;
    const auto width = static_cast<int64_t>(c.width());
    const auto columns = static_cast<int64_t>(c.value_columns());
    const ReferenceValue q{{Element::kFloat32, rows, width}, floats.q, {}};
    const ReferenceValue k{{Element::kFloat32, Rows::kTokens, width}, floats.k, {}};
    const ReferenceValue v{{Element::kFloat32, Rows::kTokens, columns}, floats.v, {}};
    const std::vector<const ReferenceValue*> inputs = {&q, &k, &v};
    const ValueType types[] = {q.type, k.type, v.type};
    const Attributes attrs =
        AttentionAttrs{.heads = static_cast<int64_t>(c.heads), .scale = c.scale};
    const auto out =
        GetOp(OpKind::kAttention).reference({attrs, types, {}}, {in.offsets, c.mask}, inputs);
    ASSERT_TRUE(out.has_value());
    const PlainResults plain = Plain(c, in.keys, in.As<double>(c));
    Worst worst(c.Name());
    for (size_t i = 0; i < plain.out.value.size(); ++i) {
      worst.Add(i / c.value_columns(), i % c.value_columns(), out->floats[i], plain.out.value[i],
                kRoundoff * std::abs(plain.out.value[i]) + 1e-14);
    }
  }
}

TEST(PlainAttention, GradientsAreDifferences) {
  const Case c{.lengths = {4, 1, 3, 2},
               .heads = 2,
               .head_width = 3,
               .value_width = 2,
               .dropout = 0.3f,
               .mask = {1, 1, 0, 1, 1, 0, 0, 0, 1, 1}};
  const Inputs in(c);
  Operands<double> at = in.As<double>(c);
  const PlainResults plain = Plain(c, in.keys, at);
  const std::pair<std::vector<double>*, const Bounded*> pairs[] = {
      {&at.q, &plain.d_q}, {&at.k, &plain.d_k}, {&at.v, &plain.d_v}};
  for (const auto& [operand, gradient] : pairs) {
    Worst worst("gradient");
    for (size_t i = 0; i < operand->size(); ++i) {
      double& x = (*operand)[i];
      const double start = x;
      const auto loss = [&, &changed = x](double value) {
        changed = value;
        return Plain(c, in.keys, at).loss;
      };
      const Difference slope = Differentiate(loss, start, 1e-14);
      x = start;
      worst.Add(i, 0, gradient->value[i], slope.value, slope.error);
    }
  }
}

// --- The kernels

void Fill(GuardedMatrix& m, size_t rows, size_t width) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < width; ++i) m.at(r, i) = std::numeric_limits<float>::quiet_NaN();
  }
}

// out, d_q, d_k, d_v, kept; every output begins as NaN: it must be written whole and not be read.
Outputs Attend(const TrainKernels& table, const Case& c, const Inputs& in) {
  const AttentionShape shape = in.Shape(c);
  const size_t floats = AttentionKeptFloats(shape);
  GuardedMatrix kept(1, floats, floats + 1, 1);
  GuardedMatrix out(c.queries(), c.value_columns(), in.d_out.stride(), 3);
  GuardedMatrix d_q(c.queries(), c.width(), in.q.stride(), 1);
  GuardedMatrix d_k(c.tokens(), c.width(), in.k.stride(), 2);
  GuardedMatrix d_v(c.tokens(), c.value_columns(), in.v.stride(), 0);
  Fill(out, c.queries(), c.value_columns());
  Fill(d_q, c.queries(), c.width());
  Fill(d_k, c.tokens(), c.width());
  Fill(d_v, c.tokens(), c.value_columns());
  table.attention_forward({.shape = shape,
                           .q = in.q.data(),
                           .k = in.k.data(),
                           .v = in.v.data(),
                           .kept = kept.data(),
                           .out = out.data()});
  table.attention_backward({.shape = shape,
                            .q = in.q.data(),
                            .k = in.k.data(),
                            .v = in.v.data(),
                            .kept = kept.data(),
                            .d_out = in.d_out.data(),
                            .d_q = d_q.data(),
                            .d_k = d_k.data(),
                            .d_v = d_v.data()});
  return {out, d_q, d_k, d_v, kept};
}

void Check(const Case& c) {
  SCOPED_TRACE(c.Name());
  const Inputs in(c);
  const Operands<double> operands = in.As<double>(c);
  ForEachTrainTable([&](const TrainKernels& table) { return Attend(table, c, in); },
                    [&](const TrainKernels& table, const Outputs& got) {
                      const PlainResults plain = Plain(c, in.keys, operands, table.fused ? 1 : 2);
                      const std::tuple<const char*, const Bounded*, size_t> expected[] = {
                          {"out", &plain.out, c.value_columns()},
                          {"d_q", &plain.d_q, c.width()},
                          {"d_k", &plain.d_k, c.width()},
                          {"d_v", &plain.d_v, c.value_columns()}};
                      for (size_t m = 0; m < std::size(expected); ++m) {
                        const auto& [name, values, width] = expected[m];
                        Worst worst(name);
                        for (size_t i = 0; i < values->value.size(); ++i) {
                          // What the exponential rounds to zero.
                          worst.Add(i / width, i % width, got[m].at(i / width, i % width),
                                    values->value[i], values->bound[i] + 0x1p-110);
                        }
                      }
                    });
}

// Every third token is masked, the first of a sequence among them now and then.
std::vector<uint8_t> Mask(size_t tokens) {
  std::vector<uint8_t> mask(tokens, 1);
  for (size_t t = 1; t < tokens; t += 3) mask[t] = 0;
  return mask;
}

TEST(TrainAttention, EveryShortLength) {
  for (int32_t n = 1; n <= 34; ++n) {
    Check({.lengths = {n}, .heads = 2, .head_width = 16, .value_width = 16, .dropout = 0.2f});
  }
}

TEST(TrainAttention, EveryHeadWidth) {
  for (const size_t width : {1, 2, 3, 4, 7, 8, 15, 16, 17, 26, 31, 32, 33, 48, 64, 65}) {
    Check({.lengths = {3, 18}, .heads = 3, .head_width = width, .value_width = 16});
    Check({.lengths = {3, 18}, .heads = 3, .head_width = 16, .value_width = width});
    Check(
        {.lengths = {40}, .heads = 2, .head_width = width, .value_width = width, .dropout = 0.1f});
  }
}

TEST(TrainAttention, SequencesOfAllKinds) {
  for (const float dropout : {0.0f, 0.1f, 0.5f}) {
    const std::vector<int32_t> lengths = {1, 9, 16, 0, 140, 33, 2, 64, 1};
    Case c{.lengths = lengths, .heads = 3, .head_width = 20, .value_width = 24, .dropout = dropout};
    Check(c);
    c.mask = Mask(c.tokens());
    Check(c);
    c.per_token = false;
    Check(c);
    c.mask = {};
    Check(c);
  }
}

TEST(TrainAttention, LongSequences) {
  Check({.lengths = {257}, .heads = 1, .head_width = 32, .value_width = 32, .dropout = 0.1f});
  Check({.lengths = {512}, .heads = 1, .head_width = 16, .value_width = 16});
}

TEST(TrainAttention, LargeAndNegativeScales) {
  Check({.lengths = {9, 40}, .heads = 2, .head_width = 16, .value_width = 16, .scale = 20.0f});
  Check({.lengths = {9, 40}, .heads = 2, .head_width = 16, .value_width = 16, .scale = -0.7f});
}

TEST(TrainAttention, CountsAllAlikeWhereAllAreMasked) {
  Case c{.lengths = {5, 19, 4}, .heads = 2, .head_width = 16, .value_width = 16, .dropout = 0.1f};
  c.mask.assign(c.tokens(), 1);
  std::fill_n(c.mask.begin() + 5, 19, uint8_t{0});
  Check(c);
  const Inputs in(c);
  for (const TrainKernels* table : AvailableTrainKernels()) {
    const Outputs got = Attend(*table, c, in);
    for (size_t t = 5; t < 24; ++t) {
      for (size_t i = 0; i < c.width(); ++i) {
        EXPECT_EQ(got[1].at(t, i), 0.0f) << table->name;
        EXPECT_EQ(got[2].at(t, i), 0.0f) << table->name;
      }
    }
  }
}

TEST(TrainAttention, LeavesMaskedKeysOut) {
  Case c{.lengths = {6, 20}, .heads = 2, .head_width = 16, .value_width = 16};
  c.mask = Mask(c.tokens());
  const Inputs in(c);
  Inputs other(c);
  for (size_t t = 0; t < c.tokens(); ++t) {
    for (size_t i = 0; i < c.width() && c.mask[t] == 0; ++i) {
      other.k.at(t, i) = 1e6f, other.v.at(t, i) = -1e6f;
    }
  }
  for (const TrainKernels* table : AvailableTrainKernels()) {
    const Outputs got = Attend(*table, c, in), changed = Attend(*table, c, other);
    for (const size_t m : {0, 2, 3, 4}) {
      EXPECT_TRUE(got[m].SameBits(changed[m])) << table->name << " " << m;
    }
    for (size_t t = 0; t < c.tokens(); ++t) {
      for (size_t i = 0; i < c.width() && c.mask[t] == 0; ++i) {
        EXPECT_EQ(got[2].at(t, i), 0.0f) << table->name;
        EXPECT_EQ(got[3].at(t, i), 0.0f) << table->name;
      }
    }
  }
}

// A batch in two calls, as two threads would, gives the same bits as in one.
TEST(TrainAttention, CanBeSplit) {
  for (const bool per_token : {true, false}) {
    Case c{.lengths = {7, 40, 1, 20},
           .heads = 2,
           .head_width = 16,
           .value_width = 8,
           .dropout = 0.3f,
           .per_token = per_token};
    c.mask = Mask(c.tokens());
    const Inputs in(c);
    for (const TrainKernels* table : AvailableTrainKernels()) {
      const Outputs whole = Attend(*table, c, in);
      Outputs parts = whole;
      Fill(parts[0], c.queries(), c.value_columns());
      Fill(parts[1], c.queries(), c.width());
      Fill(parts[2], c.tokens(), c.width());
      Fill(parts[3], c.tokens(), c.value_columns());
      size_t kept = 0;
      for (const size_t begin : {0, 2}) {
        AttentionShape shape = in.Shape(c);
        shape.offsets = shape.offsets.subspan(begin, 3);
        const size_t row = per_token ? 0 : begin;
        shape.row_keys += row;
        const float* q = in.q.data() + row * shape.q_stride;
        table->attention_forward({.shape = shape,
                                  .q = q,
                                  .k = in.k.data(),
                                  .v = in.v.data(),
                                  .kept = parts[4].data() + kept,
                                  .out = parts[0].data() + row * shape.out_stride});
        table->attention_backward({.shape = shape,
                                   .q = q,
                                   .k = in.k.data(),
                                   .v = in.v.data(),
                                   .kept = parts[4].data() + kept,
                                   .d_out = in.d_out.data() + row * shape.out_stride,
                                   .d_q = parts[1].data() + row * shape.q_stride,
                                   .d_k = parts[2].data(),
                                   .d_v = parts[3].data()});
        kept += AttentionKeptFloats(shape);
      }
      EXPECT_EQ(kept, AttentionKeptFloats(in.Shape(c)));
      EXPECT_TRUE(SameBits(parts, whole)) << table->name;
    }
  }
}

TEST(TrainAttention, KeepsProbabilitiesWithTheirFate) {
  const Case c{.lengths = {5}, .heads = 2, .head_width = 8, .value_width = 8, .dropout = 0.4f};
  const Inputs in(c);
  for (const TrainKernels* table : AvailableTrainKernels()) {
    const GuardedMatrix kept = Attend(*table, c, in)[4];
    for (size_t h = 0; h < 2; ++h) {
      for (size_t i = 0; i < 5; ++i) {
        double sum = 0;
        for (size_t j = 0; j < 16; ++j) {
          const float p = kept.at(0, (h * 5 + i) * 16 + j);
          sum += std::abs(p);
          if (j >= 5) {
            EXPECT_EQ(p, 0.0f) << table->name;
            continue;
          }
          const uint32_t bits = RandomBits(in.keys[i], static_cast<uint32_t>(h * 5 + j));
          EXPECT_EQ(std::signbit(p), static_cast<int32_t>(bits) < DropoutThreshold(c.dropout));
        }
        EXPECT_NEAR(sum, 1, 16 * kRoundoff) << table->name;
      }
    }
  }
}

TEST(TrainAttention, OfNothingTouchesNothing) {
  for (const std::vector<int32_t>& lengths : {std::vector<int32_t>{}, std::vector<int32_t>{0, 0}}) {
    const Case c{.lengths = lengths, .heads = 2, .head_width = 4, .value_width = 4};
    const Inputs in(c);
    for (const TrainKernels* table : AvailableTrainKernels()) {
      for (const GuardedMatrix& output : Attend(*table, c, in)) {
        EXPECT_TRUE(output.GuardsIntact()) << table->name;
      }
    }
  }
}

}  // namespace
}  // namespace thimble
