#include "thimble/runtime/test_models.h"

#include <string>

#include "thimble/runtime/test_graphs.h"

namespace thimble {
namespace {

constexpr int64_t kWidth = 16;

}  // namespace

TokenizerSpec TestVocabulary() {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kWordPiece;
  spec.pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a",     "fine", "film", "bad",
                 "##ly",  "where", "is",    "it",    "in",     "paris", ".",    "?"};
  spec.pad_id = 0;
  spec.unknown_id = 1;
  spec.cls_id = 2;
  spec.sep_id = 3;
  spec.mask_id = 4;
  for (int32_t id = 0; id < 5; ++id) {
    spec.added_tokens.push_back(
        {.id = id, .text = spec.pieces[static_cast<size_t>(id)], .special = true});
  }
  spec.model_max_length = 24;
  return spec;
}

Model TestModel(Task task, int64_t outputs) {
  Model model;
  model.task = task;
  model.tokenizer = TestVocabulary();
  TestGraph weights;
  Builder b;
  const ValueId ids = b.Input(kInputIds);
  const ValueId types = b.Input(kTokenTypeIds);
  ValueId x =
      b.Add(OpKind::kAdd, "sum",
            {b.Add(OpKind::kEmbedding, "words", {ids}, {weights.Table("words", 17, kWidth)}),
             b.Add(OpKind::kEmbedding, "types", {types}, {weights.Table("types", 2, kWidth)})});
  b.Output("last_hidden_state", x);
  const bool per_sequence =
      task == Task::kSingleLabel || task == Task::kMultiLabel || task == Task::kRegression;
  if (per_sequence) x = b.Add(OpKind::kPool, "first", {x}, {}, PoolAttrs{PoolKind::kFirst});
  if (task != Task::kFeatures) b.Output("logits", weights.Linear(b, "head", x, outputs));
  model.graph = *std::move(b).Finish(24);
  for (int64_t i = 0; i < outputs; ++i) model.labels.push_back("L" + std::to_string(i));
  return model;
}

}  // namespace thimble
