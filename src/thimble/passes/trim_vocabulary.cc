#include "thimble/passes/trim_vocabulary.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "thimble/base/quote.h"
#include "thimble/graph/panels.h"
#include "thimble/passes/matrices.h"

namespace thimble {
namespace {

// The characters of valid UTF-8.
std::vector<std::string_view> Characters(std::string_view text) {
  std::vector<std::string_view> characters;
  for (size_t i = 0; i < text.size();) {
    size_t n = 1;
    while (i + n < text.size() && (static_cast<unsigned char>(text[i + n]) & 0xC0) == 0x80) ++n;
    characters.push_back(text.substr(i, n));
    i += n;
  }
  return characters;
}

// Rows of a table, a weight or a bias.
Tensor PickRows(const Tensor& tensor, const std::vector<int32_t>& rows) {
  const Tensor flat = tensor.InLayout(Layout::kRowMajor);
  const size_t bytes = flat.data().size() / static_cast<size_t>(flat.dim(0));
  std::vector<std::byte> out;
  out.reserve(rows.size() * bytes);
  for (const int32_t r : rows) {
    const std::byte* row = flat.data().data() + static_cast<size_t>(r) * bytes;
    out.insert(out.end(), row, row + bytes);
  }
  Shape shape = flat.shape();
  shape[0] = static_cast<int64_t>(rows.size());
  Tensor picked = Tensor::Copy(flat.dtype(), shape, out);
  if (!flat.scales().empty()) {
    auto scales = std::make_shared<std::vector<float>>();
    const size_t groups = flat.scales().size() / static_cast<size_t>(flat.dim(0));
    for (const int32_t r : rows) {
      const auto row = flat.scales().subspan(static_cast<size_t>(r) * groups, groups);
      scales->insert(scales->end(), row.begin(), row.end());
    }
    const std::span<const float> view(*scales);
    picked = picked.WithScales(view, std::move(scales), flat.scale_group());
  }
  return picked.InLayout(tensor.layout());
}

}  // namespace

Result<std::vector<int32_t>> PiecesToKeep(const TokenizerSpec& tokenizer,
                                          const std::vector<double>& counts, double least) {
  if (tokenizer.kind != TokenizerKind::kWordPiece) {
    return Unsupported(
        "only WordPiece vocabularies can be trimmed: another tokenizer would cut texts "
        "differently without the pieces that go");
  }
  const std::string_view prefix = tokenizer.continuing_prefix;
  // A piece without its prefix, and whether it had one.
  const auto body = [&](const std::string& piece) {
    const bool continues = piece.size() > prefix.size() && piece.starts_with(prefix);
    return std::pair(std::string_view(piece).substr(continues ? prefix.size() : 0), continues);
  };
  std::set<std::string_view> begins, continues;  // characters that are pieces
  for (const std::string& piece : tokenizer.pieces) {
    const auto [text, continuing] = body(piece);
    if (Characters(text).size() == 1) (continuing ? continues : begins).insert(text);
  }
  std::set<int32_t> special = {tokenizer.unknown_id, tokenizer.cls_id, tokenizer.sep_id,
                               tokenizer.pad_id, tokenizer.mask_id};
  for (const AddedToken& token : tokenizer.added_tokens) special.insert(token.id);
  std::vector<int32_t> kept;
  for (size_t i = 0; i < tokenizer.pieces.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const auto [text, continuing] = body(tokenizer.pieces[i]);
    const std::vector<std::string_view> characters = Characters(text);
    bool keep =
        special.contains(id) || characters.size() == 1 || (i < counts.size() && counts[i] >= least);
    for (size_t c = 0; c < characters.size() && !keep; ++c) {
      keep = !(c == 0 && !continuing ? begins : continues).contains(characters[c]);
    }
    if (keep) kept.push_back(id);
  }
  return kept;
}

Result<Trimmed> TrimVocabulary(const Graph& graph, const TokenizerSpec& tokenizer,
                               const std::vector<int32_t>& kept) {
  const auto pieces = static_cast<int64_t>(tokenizer.pieces.size());
  std::vector<int32_t> place(tokenizer.pieces.size(), -1);
  for (size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] < (i > 0 ? kept[i - 1] + 1 : 0) || kept[i] >= pieces) {
      return InvalidArgument("pieces to keep are rising ids below " + std::to_string(pieces));
    }
    place[static_cast<size_t>(kept[i])] = static_cast<int32_t>(i);
  }
  Trimmed result{graph, tokenizer};
  TokenizerSpec& t = result.tokenizer;
  t.pieces.clear();
  for (const int32_t id : kept) t.pieces.push_back(tokenizer.pieces[static_cast<size_t>(id)]);
  const auto move = [&](int32_t& id) -> Status {
    if (id < 0) return {};
    if (id >= pieces) {
      return Unsupported("the token of id " + std::to_string(id) +
                         " has no piece in the vocabulary");
    }
    const int32_t now = place[static_cast<size_t>(id)];
    if (now < 0)
      return InvalidArgument("the special token of id " + std::to_string(id) + " has to stay");
    id = now;
    return {};
  };
  for (int32_t* id : {&t.unknown_id, &t.cls_id, &t.sep_id, &t.pad_id, &t.mask_id})
    TRY_VOID(move(*id));
  for (AddedToken& token : t.added_tokens) TRY_VOID(move(token.id));

  // Rows beyond the vocabulary, which padded tables have, go too.
  const auto pick = [&](const Tensor& tensor) -> Result<Tensor> { return PickRows(tensor, kept); };
  TiedConversion rows(pick);
  const GraphOutput* logits = graph.FindOutput("logits");
  int tables = 0;
  int64_t table_rows = 0;
  for (const Node& node : graph.nodes) {
    if (node.op != OpKind::kEmbedding || graph.value(node.inputs[0]).name != kInputIds) continue;
    ++tables;
    table_rows = node.weights[0].tensor.dim(0);
  }
  if (tables != 1 || table_rows < pieces) {
    return Unsupported("the model has no table with a row per piece of its vocabulary");
  }
  for (Node& node : result.graph.nodes) {
    const bool table =
        node.op == OpKind::kEmbedding && graph.value(node.inputs[0]).name == kInputIds;
    const bool decoder = node.op == OpKind::kLinear && logits != nullptr &&
                         node.output == logits->value &&
                         node.weights[0].tensor.dim(0) == table_rows;
    if (!table && !decoder) continue;
    for (Weight& weight : node.weights) TRY_VOID(rows.Apply(weight));
    if (decoder)
      result.graph.values[Index(node.output)].type.width = static_cast<int64_t>(kept.size());
  }
  TRY_VOID(Verify(result.graph));
  return result;
}

}  // namespace thimble
