// What a graph tells about the configuration that it was built from, by the names of its nodes. What is not there (the
// width of heads that are all gone) has a value that fits.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "thimble/graph/graph.h"

namespace thimble {

// The number that follows `text` in `name`; -1 if there is none.
int64_t NumberAfter(std::string_view name, std::string_view text);

class Description {
 public:
  explicit Description(const Graph& graph) : graph_(graph) {}

  const Node* Find(std::string_view name) const { return graph_.FindNode(name); }
  bool Has(std::string_view name) const { return Find(name) != nullptr; }
  // The first node whose name ends so; null if there is none.
  const Node* Any(std::string_view suffix) const;

  // Of the first weight of a node; 0 if there is no such node.
  int64_t Rows(std::string_view node) const;
  int64_t Columns(std::string_view node) const;
  // The most outputs of linears whose names end so; at least 1.
  int64_t MostRows(std::string_view suffix) const;
  // One more than the largest number that follows `text` in the name of a node: "layer." counts layers.
  int64_t CountAfter(std::string_view text) const;
  // Of the layer norms whose names end so; where there is none the value that every architecture here assumes.
  double Epsilon(std::string_view suffix) const;
  // The activation function of nodes whose names end so, as configurations name it. Where there is none: the identity, if
  // there are linears before it, which `before` ends the names of; else some function.
  std::string Function(std::string_view activation, std::string_view before) const;
  // Heads of a whole attention, `width` wide in all: pruning leaves their width.
  int64_t Heads(int64_t width) const;
  // Whether the decoder of a masked language model has the word embedding as its weight, as where there is no decoder.
  bool Tied(std::string_view decoder, std::string_view words) const;

 private:
  const Graph& graph_;
};

// What BERT's, RoBERTa's and ALBERT's configurations have in common.
// `model`: "bert"; `decoder`: the node of the masked language model's head.
nlohmann::json DescribeEncoder(const Description& graph, const std::string& model,
                               std::string_view decoder);

}  // namespace thimble
