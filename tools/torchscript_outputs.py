"""torchscript_outputs.py < REQUEST.json: what TorchScript files compute, in one process. Needs PyTorch only.

REQUEST is a list of {"file", "runs": {run: {"input_ids": [[...]], ...}}, "names", "output"}; "names" are those of the outputs in
their order. Writes {run: {name: [numbers]}} to "output", as tools/check_export.mjs reads it."""

import json
import sys

import torch

torch.set_num_threads(1)
for request in json.load(sys.stdin):
    module = torch.jit.load(request["file"])
    results = {}
    for run, inputs in request["runs"].items():
        ids = torch.tensor(inputs["input_ids"])
        mask = torch.tensor(inputs.get("attention_mask") or torch.ones_like(ids).tolist())
        types = torch.tensor(inputs.get("token_type_ids") or torch.zeros_like(ids).tolist())
        with torch.no_grad():
            outputs = module(ids, mask, types)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        results[run] = {name: value.flatten().tolist() for name, value in zip(request["names"], outputs, strict=True)}
    with open(request["output"], "w", encoding="utf-8") as file:
        json.dump(results, file)
