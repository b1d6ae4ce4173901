"""torchscript.py FILE < batch.json: what a TorchScript file computes from a padded batch, as JSON. Needs PyTorch only."""

import json
import sys

import torch
from torch.jit.mobile import _load_for_lite_interpreter

path = sys.argv[1]
batch = {key: torch.tensor(rows) for key, rows in json.load(sys.stdin).items()}
inputs = (batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
with torch.no_grad():
    if path.endswith(".ptl"):
        module = _load_for_lite_interpreter(path)
        outputs = module(*inputs)
    else:
        files = {"thimble.json": "", "vocab.txt": ""}
        module = torch.jit.load(path, _extra_files=files)
        facts = json.loads(files["thimble.json"])
        assert facts["labels"] == ["no", "maybe", "yes"], facts
        assert facts["task"] == "single_label" and facts["max_sequence_length"] == 32, facts
        assert files["vocab.txt"].startswith(b"[PAD]\n[UNK]\n"), files["vocab.txt"]
        outputs = module(*inputs)
        # All there is and no types are what it takes where nothing is said.
        alone = module(batch["input_ids"][:, :3])
        assert torch.equal(alone, module(batch["input_ids"][:, :3].int(), torch.ones(3, 3).bool(), torch.zeros(3, 3).int()))
print(json.dumps(outputs.tolist()))
