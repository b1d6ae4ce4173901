#include "thimble/models/describe.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace thimble {

int64_t NumberAfter(std::string_view name, std::string_view text) {
  const size_t at = name.find(text);
  if (at == name.npos) return -1;
  int64_t number = 0;
  const auto [end, error] =
      std::from_chars(name.data() + at + text.size(), name.data() + name.size(), number);
  return error == std::errc() ? number : -1;
}

const Node* Description::Any(std::string_view suffix) const {
  const auto found = std::ranges::find_if(
      graph_.nodes, [&](const Node& node) { return node.name.ends_with(suffix); });
  return found == graph_.nodes.end() ? nullptr : &*found;
}

int64_t Description::Rows(std::string_view node) const {
  const Node* found = Find(node);
  return found == nullptr || found->weights.empty() ? 0 : found->weights[0].tensor.dim(0);
}

int64_t Description::Columns(std::string_view node) const {
  const Node* found = Find(node);
  return found == nullptr || found->weights.empty() || found->weights[0].tensor.rank() != 2
             ? 0
             : found->weights[0].tensor.dim(1);
}

int64_t Description::MostRows(std::string_view suffix) const {
  int64_t most = 1;
  for (const Node& node : graph_.nodes) {
    if (node.op == OpKind::kLinear && node.name.ends_with(suffix)) {
      most = std::max(most, node.weights[0].tensor.dim(0));
    }
  }
  return most;
}

int64_t Description::CountAfter(std::string_view text) const {
  int64_t count = 0;
  for (const Node& node : graph_.nodes) {
    count = std::max(count, NumberAfter(node.name, text) + 1);
  }
  return count;
}

double Description::Epsilon(std::string_view suffix) const {
  for (const Node& node : graph_.nodes) {
    if (node.op == OpKind::kLayerNorm && node.name.ends_with(suffix)) {
      return std::get<LayerNormAttrs>(node.attrs).epsilon;
    }
  }
  return 1e-12;
}

std::string Description::Function(std::string_view activation, std::string_view before) const {
  for (const Node& node : graph_.nodes) {
    if (node.op == OpKind::kActivation && node.name.ends_with(activation)) {
      return std::string(ActivationName(std::get<ActivationAttrs>(node.attrs).function));
    }
  }
  return Any(before) == nullptr ? "gelu" : "linear";
}

int64_t Description::Heads(int64_t width) const {
  for (const Node& node : graph_.nodes) {
    if (node.op != OpKind::kAttention) continue;
    const double scale = std::get<AttentionAttrs>(node.attrs).scale;
    if (!(scale > 0)) break;
    const auto head_width = static_cast<int64_t>(std::lround(1.0 / (scale * scale)));
    return head_width > 0 && width % head_width == 0 ? std::max<int64_t>(1, width / head_width) : 1;
  }
  return 1;
}

bool Description::Tied(std::string_view decoder, std::string_view words) const {
  const Node *d = Find(decoder), *w = Find(words);
  if (d == nullptr || w == nullptr) return true;
  const Tensor &rows = d->weights[0].tensor, &table = w->weights[0].tensor;
  if (rows.SameAs(table)) return true;
  if (rows.rank() != 2 || rows.dim(0) != table.dim(0) || rows.dim(1) < table.dim(1)) return false;
  const std::vector<float> a = rows.ToFloats(), b = table.ToFloats();
  const auto from = static_cast<size_t>(rows.dim(1)), to = static_cast<size_t>(table.dim(1));
  for (size_t r = 0; r * to < b.size(); ++r) {
    if (!std::equal(b.data() + r * to, b.data() + (r + 1) * to, a.data() + r * from)) return false;
  }
  return true;
}

nlohmann::json DescribeEncoder(const Description& graph, const std::string& model,
                               std::string_view decoder) {
  const std::string embeddings = model + ".embeddings";
  const std::string words = embeddings + ".word_embeddings";
  const int64_t hidden = graph.Columns(embeddings + ".position_embeddings");
  return {{"vocab_size", graph.Rows(words)},
          {"hidden_size", hidden},
          {"num_hidden_layers", graph.CountAfter(".encoder.layer.")},
          {"num_attention_heads", graph.Heads(hidden)},
          {"intermediate_size", graph.MostRows(".intermediate")},
          {"hidden_act", graph.Function(".intermediate_act", ".intermediate")},
          {"max_position_embeddings", graph.Rows(embeddings + ".position_embeddings")},
          {"type_vocab_size", graph.Rows(embeddings + ".token_type_embeddings")},
          {"layer_norm_eps", graph.Epsilon(embeddings + ".LayerNorm")},
          {"tie_word_embeddings", graph.Tied(decoder, words)}};
}

}  // namespace thimble
