// The form in which a .thimble file stores weights and the runtime uses them.
#pragma once

#include <cstddef>

#include "thimble/formats/model.h"
#include "thimble/graph/graph.h"
#include "thimble/graph/tensor.h"

namespace thimble {

struct StoredForm {
  DType dtype;
  Layout layout;
  bool operator==(const StoredForm&) const = default;
};

// Of a node's weight: matrices of linears in panels or block-sparse, all else row-major; types that no kernel reads
// become float32.
StoredForm StoredFormOf(const Node& node, size_t weight_index);

// Shares the data where it has the form already.
Tensor InForm(const Tensor& tensor, const StoredForm& form);

// With every weight in that form, as a file would give it back. What has it already is shared; weights that were one
// and have one form stay one.
Graph Packed(Graph graph);
Model Packed(Model model);

}  // namespace thimble
