"""torch_bert.py DIR < batch.json: logits of an exported BERT for sequence classification from a padded batch, as JSON.

BERT (Devlin et al. 2019) written down once more in plain PyTorch, from config.json and model.safetensors, with the names and the
meaning of "pruned_heads" that Hugging Face's classes give them: heads that are listed are not there, the others keep their
width. Nothing of ours computes here."""

import json
import math
import pathlib
import struct
import sys

import torch
from torch.nn import functional as F

folder = pathlib.Path(sys.argv[1])
config = json.loads((folder / "config.json").read_text())
content = (folder / "model.safetensors").read_bytes()
length, = struct.unpack_from("<Q", content)
header = json.loads(content[8:8 + length])
assert header.pop("__metadata__")["format"] == "pt"
weights = {}
for name, entry in header.items():
    begin, end = (8 + length + offset for offset in entry["data_offsets"])
    dtype = {"F32": torch.float32, "F16": torch.float16}[entry["dtype"]]
    weights[name] = torch.frombuffer(bytearray(content[begin:end]), dtype=dtype).float().reshape(entry["shape"])


def take(name):
    return weights.pop(name)  # each once: what is left over at the end was not read


def linear(name, x):
    return F.linear(x, take(name + ".weight"), take(name + ".bias"))


def norm(name, x):
    return F.layer_norm(x, x.shape[-1:], take(name + ".weight"), take(name + ".bias"), config["layer_norm_eps"])


def layer(name, x, bias, heads):
    width = config["hidden_size"] // config["num_attention_heads"]
    q, k, v = (linear(f"{name}.attention.self.{part}", x).unflatten(-1, (heads, width)).transpose(1, 2)
               for part in ("query", "key", "value"))
    scores = q @ k.transpose(2, 3) / math.sqrt(width) + bias
    attended = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    x = norm(name + ".attention.output.LayerNorm", linear(name + ".attention.output.dense", attended) + x)
    function = {"gelu": F.gelu, "relu": F.relu}[config["hidden_act"]]
    y = linear(name + ".output.dense", function(linear(name + ".intermediate.dense", x)))
    return norm(name + ".output.LayerNorm", y + x)


batch = {key: torch.tensor(rows) for key, rows in json.load(sys.stdin).items()}
ids = batch["input_ids"]
e = "bert.embeddings."
x = take(e + "word_embeddings.weight")[ids] + take(e + "token_type_embeddings.weight")[batch["token_type_ids"]]
x = norm(e + "LayerNorm", x + take(e + "position_embeddings.weight")[: ids.shape[1]])
bias = (1.0 - batch["attention_mask"].float())[:, None, None, :] * torch.finfo(torch.float32).min
for i in range(config["num_hidden_layers"]):
    gone = config.get("pruned_heads", {}).get(str(i), [])
    x = layer(f"bert.encoder.layer.{i}", x, bias, config["num_attention_heads"] - len(gone))
logits = linear("classifier", torch.tanh(linear("bert.pooler.dense", x[:, 0])))
assert not weights, f"not read: {sorted(weights)}"
print(json.dumps(logits.tolist()))
