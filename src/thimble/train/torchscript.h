// Writes a model as TorchScript, which torch.jit.load and PyTorch Mobile run without anything of ours.
//
//   forward(input_ids, attention_mask=None, token_type_ids=None)   integers [batch, sequence], padded, both free
//     -> "logits" [batch, width] or [batch, sequence, width]; of answers (start, end), [batch, sequence] each; of
//        pretraining (logits, seq_relationship_logits); of features last_hidden_state, with pooler_output behind it where
//        the model has one
//
// What is masked stays in place and is not attended to, as in Hugging Face's classes. Weights of float16 stay so in the file
// and are widened where they are used; quantized ones become float32, and inputs with a calibrated scale are rounded as
// the graph says.
//
// Extra files in the archive: thimble.json (architecture, task, labels, thresholds, longest input, provenance) and those of the
// tokenizer (formats/huggingface/write_tokenizer.h).
#pragma once

#include <cstddef>
#include <string>

#include "thimble/base/result.h"
#include "thimble/formats/model.h"

namespace thimble::train {

struct TorchScriptOptions {
  bool mobile = false;  // for PyTorch Mobile's interpreter (.ptl)
};

// The source of `forward`: for tests, and for people who wonder.
Result<std::string> TorchScriptSource(const Model& model);

// Replaces the file under `path` atomically; returns its size.
Result<size_t> ExportTorchScript(const Model& model, const std::string& path,
                                 const TorchScriptOptions& options = {});

}  // namespace thimble::train
