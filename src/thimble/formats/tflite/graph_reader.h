// The graph of a .tflite file, operation by operation, as ours.
//
// Every tensor is a view (tensor_view.h) of something that is understood: a constant, an input, an
// expression over a row (formats/rows), scores or results of an attention. Operations that move data
// change the view only; sums, products and reductions extend expressions; matrix products, lookups and
// outputs ask for values of the graph, which is when an expression is recognised. So attention is found by
// where its data come from, however heads are split and joined, and nothing depends on names or order.
//
// What has no counterpart is kUnsupported with the operation's number and name.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "thimble/formats/rows/expressions.h"
#include "thimble/formats/rows/recognise.h"
#include "thimble/formats/tflite/constant.h"
#include "thimble/formats/tflite/tensor_view.h"
#include "thimble/formats/tflite/tflite_file.h"
#include "thimble/graph/graph.h"
#include "thimble/graph/task.h"

namespace thimble {

inline Error NotOfOurs(const char* what) {
  return Unsupported(std::string("it ") + what + ", which has no counterpart here");
}

inline Error CannotFollow() {
  return Unsupported("it mixes tokens and columns in a way that import does not follow");
}

// What is read from the file's graph.
struct TfliteGraph {
  Graph graph;
  // What the last operation says: kMultiLabel after LOGISTIC, kSingleLabel after SOFTMAX or where nothing is
  // said, kTokenLabels, kAnswers or kFeatures by the outputs' shapes.
  Task task = Task::kSingleLabel;
  bool task_is_stated = false;  // by LOGISTIC, SOFTMAX or shapes
  std::vector<std::string> warnings;
};

class TfliteGraphReader {
 public:
  // `tokens`: the sequence length where the file leaves it open.
  TfliteGraphReader(const TfliteFile& file, int64_t open_tokens)
      : file_(file), open_tokens_(open_tokens) {}

  Result<TfliteGraph> Read() &&;

 private:
  enum class BaseKind : uint8_t {
    kConstant,   // {element}
    kIds,        // {token} of an input
    kOneHot,     // {token, id} of an input
    kMask,       // {token}: one number where a token is, another where none is
    kPositions,  // {token}: how many tokens stand up to there
    kRows,       // {token, column} of an expression
    kShifted,  // {token, column}: the row so many tokens on, zeros beyond the ends; tokens may be more than there are
    kMasked,   // {token, column} of an expression, zeros where no token is
    kMaskedSum,  // {-, column} of an expression: the sum of those
    kMaskCount,  // tokens that are there
    kSoftmax,    // {token, column} of an expression's softmax
    kScores,     // {token, token, column, column} of a product of two matrices' rows
    kWeights,    // {query, key, column, column}: the softmax of scores
    kContext,    // {query, column, column, column of values}
  };
  struct View {
    BaseKind kind = BaseKind::kConstant;
    int id = 0;             // among those of its kind
    ExprId expr = kNoExpr;  // of kinds that are of an expression
    Extent extent;
    double scale = 1;
  };
  struct MaskValues {
    double present = 1, absent = 0;
    int64_t skip_id =
        -1;  // a token is absent where its id is this; -1: where the mask input says so
    bool IsPlain() const { return present == 1 && absent == 0; }
  };
  struct Positions {
    PositionIdsAttrs attrs;
    bool skips =
        true;  // tokens of attrs.skip_id stand at offset - 1; false: where the one before stands
  };
  struct Scores {
    ValueId q = kNoValue, k = kNoValue;
    Atoms q_depth, k_depth;  // what is summed over
    double scale = 1;
    bool masked = false;
    int masked_token = -1;  // coordinate that the mask is about
    bool operator==(const Scores&) const = default;
  };
  struct Context {
    int scores = 0;
    ValueId v = kNoValue;
    bool operator==(const Context&) const = default;
  };
  using Columns = std::vector<std::pair<ValueId, std::vector<int64_t>>>;

  // --- read_graph.cc: the walk, inputs, what several operations share
  Status CheckOps() const;
  Status FindRoles();
  Status ReadInput(size_t input);
  Result<std::vector<View>> ReadOp(const TfliteOp& op);
  Result<View> Activated(const TfliteOp& op, View view);
  Result<View> In(const TfliteOp& op, size_t i);
  bool HasIn(const TfliteOp& op, size_t i) const;
  Result<std::vector<int64_t>> Numbers(const TfliteOp& op, size_t i);
  Result<std::vector<int64_t>> NumbersOf(const View& view);
  Status Spend(int64_t elements);
  View NewConstant(TfliteConstant constant);
  Result<std::vector<double>> ConstantValues(const View& view);
  Result<View> FromValues(Shape shape, const std::vector<double>& values, bool whole_numbers);
  bool IsWholeNumbers(const View& view) const;
  Result<size_t> Axis(int64_t axis, size_t rank) const;

  // --- read_layout.cc
  Result<std::vector<View>> ReadLayout(const TfliteOp& op);
  Result<View> Reshape(View view, const Shape& shape);
  Result<View> Broadcast(View view, const Shape& shape);
  Result<View> ReadReshape(const TfliteOp& op);
  Result<View> ReadTranspose(const TfliteOp& op);
  Result<View> ReadExpandDims(const TfliteOp& op);
  Result<View> ReadSqueeze(const TfliteOp& op);
  Result<View> ReadSlice(const TfliteOp& op);
  Result<View> ReadStridedSlice(const TfliteOp& op);
  Result<std::vector<View>> ReadSplit(const TfliteOp& op);
  Result<View> ReadTile(const TfliteOp& op);
  Result<View> ReadPad(const TfliteOp& op);
  Result<View> ReadShapeOp(const TfliteOp& op);

  // --- read_joins.cc
  Result<View> ReadConcatenation(const TfliteOp& op);
  Result<View> Concatenate(std::vector<View> parts, size_t dim);
  Result<View> ConcatenateRows(const std::vector<View>& parts, size_t dim);

  // --- read_lookups.cc
  Result<View> ReadGather(const TfliteOp& op);
  Result<View> ReadOneHot(const TfliteOp& op);
  Result<View> Lookup(const View& ids, const View& table);

  // --- read_elementwise.cc
  Result<View> ReadUnary(const TfliteOp& op);
  Result<View> Unary(RowOp op, View x, double parameter);
  Result<View> Binary(RowOp op, View a, View b);
  Result<View> FoldBinary(RowOp op, const View& a, const View& b);
  Result<View> ScoresBinary(RowOp op, const View& a, const View& b);
  Result<View> ScaledRows(RowOp op, const View& a, const View& b);
  Result<View> RowsAndConstant(RowOp op, const View& rows, const View& constant,
                               bool constant_first);
  Result<View> RowsAndRows(RowOp op, const View& a, const View& b);
  std::optional<ValueId> ScaledTable(ExprId a, ExprId b);
  Result<View> ReadReduce(const TfliteOp& op);
  Result<View> FoldReduce(const TfliteOp& op, const View& x, const std::vector<bool>& gone);
  Result<View> ReadSelect(const TfliteOp& op);
  Result<View> ReadSoftmax(const TfliteOp& op);
  std::optional<double> Uniform(const View& constant);

  // --- read_tokens.cc: a number for each token: masks and positions
  const MaskValues& MaskOf(const View& mask) const { return masks_[static_cast<size_t>(mask.id)]; }
  View NewMask(View like, MaskValues values);
  Result<View> MaskBinary(RowOp op, const View& a, const View& b);
  Result<View> ReadCumsum(const TfliteOp& op);
  Result<View> FoldCumsum(const View& x, size_t axis, bool exclusive, bool reverse);
  Result<View> PositionsBinary(RowOp op, const View& a, const View& b);
  Result<ValueId> PositionsOf(const View& positions);
  ValueId PositionIds(const PositionIdsAttrs& attrs);
  void LimitLength(int64_t table_rows, const PositionIdsAttrs& attrs);
  Result<View> AddPositions(const View& rows, const View& constant,
                            const std::vector<double>& table, double sign);

  // --- read_products.cc
  Result<View> ReadFullyConnected(const TfliteOp& op);
  Result<View> ReadBatchMatMul(const TfliteOp& op);
  Result<View> Product(View a, View b);
  Result<View> LinearOf(const View& x, const View& weight, const View* bias, const Shape& shape);
  Result<View> ScoresOf(const View& a, const View& b);
  Result<View> ContextOf(const View& a, const View& b);
  struct Heads {
    Atoms heads, depth;  // atoms of the view
    std::pair<ValueId, std::vector<int64_t>> q, k, v;
    double scale = 1;
  };
  Result<Heads> HeadsOf(const View& context);
  Result<View> Placed(const View& view, const Heads& heads, ValueId attention, int64_t column);
  Result<std::vector<View>> AttentionOf(const std::vector<View>& contexts);
  Result<std::vector<Atoms>> BatchAtoms(const View& a, const View& b, size_t a_coordinate,
                                        size_t b_coordinate) const;

  // --- read_values.cc: from views to values of the graph
  // Rows of an expression, with all that is pending in `view` done (attention, scale); may be a part.
  Result<View> AsRows(const View& view);
  // The same, all columns and all tokens or one row per sequence: what expressions are made of.
  Result<View> Whole(const View& view);
  bool IsWhole(const View& view) const;
  Result<View> Narrowed(const View& view);
  Result<View> StripScale(View view);
  Rows RowsOf(ExprId e) const { return builder_.type(values_.at(rows_[e].base)).rows; }
  // What `e` is of `from`, one of its cuts.
  Result<std::optional<RowFunction>> FunctionOf(ExprId e, ExprId from);
  Result<ValueId> ValueOf(ExprId e);
  Result<ValueId> Apply(const RowFunction& function, ValueId x);
  Result<ValueId> GatherColumns(const Columns& columns);
  std::optional<ValueId> MergedLinear(const Columns& columns);
  Result<ValueId> FirstTokens(ValueId value);
  View LeafView(ValueId value, std::vector<Atoms> dims);
  ValueId AddNode(OpKind op, std::vector<ValueId> inputs, std::vector<Tensor> weights = {},
                  Attributes attrs = NoAttrs{});
  bool IsTokens(const Atoms& atoms, size_t coordinate = 0) const;

  // --- read_outputs.cc
  bool IsScored(ExprId e) const { return rows_[e].op == RowOp::kSigmoid && !values_.contains(e); }
  Status ReadOutputs();
  Result<ValueId> LogitsOf(const View& view);
  Status ReadAnswers(const View& start, const View& end);
  void MarkHidden(ValueId logits);

  const TfliteFile& file_;
  const int64_t open_tokens_;
  int64_t tokens_ = 0;
  bool open_ = false;
  int64_t longest_ = 0;  // sequence that tables of positions allow; 0: no table
  int64_t budget_ = 0;

  Builder builder_;
  std::map<ValueId, Node> nodes_;         // by output
  std::map<std::string, ValueId> made_;   // nodes that may be asked for again
  std::map<std::string, Tensor> shared_;  // weights that may be used again
  ValueId ids_ = kNoValue, types_ = kNoValue;
  std::vector<std::string_view>
      roles_;  // of inputs: kInputIds, kTokenTypeIds, or empty for the mask

  std::vector<std::optional<View>> views_;  // of tensors
  std::vector<TfliteConstant> constants_;
  RowExpressions rows_;
  std::map<ExprId, ValueId> values_;  // expressions that are values of the graph; all bases are
  std::vector<MaskValues> masks_;
  std::vector<Positions> positions_;
  std::vector<int64_t> shifts_;
  std::vector<Scores> scores_;
  std::vector<Context> contexts_;
  std::map<ValueId, ExprId> leaves_;
  bool attends_unmasked_ = false, pools_unmasked_ = false;

  TfliteGraph result_;
};

// Bias affines into their linears, dead nodes out, names by role: "encoder.layer.0.query".
Result<Graph> TidyGraph(const Graph& graph);

}  // namespace thimble
