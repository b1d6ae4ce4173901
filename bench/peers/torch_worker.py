"""PyTorch (eager, float32) as one side of a comparison; the protocol of onnxruntime_worker.mjs.

The models are the architectures as PyTorch users write them, with weights of the same sizes: this side is
for speed only, which does not depend on the values.
"""
import json
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, query_width, value_width, width, heads):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(query_width, width)
        self.k = nn.Linear(query_width, width)
        self.v = nn.Linear(value_width, width)
        self.out = nn.Linear(width, width)

    def forward(self, qk, value, mask):
        batch, length, _ = qk.shape

        def split(x):
            return x.view(batch, length, self.heads, -1).transpose(1, 2)

        q, k, v = split(self.q(qk)), split(self.k(qk)), split(self.v(value))
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, -1))


class BertLayer(nn.Module):
    def __init__(self, hidden, heads, intermediate):
        super().__init__()
        self.attention = Attention(hidden, hidden, hidden, heads)
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.up, self.down = nn.Linear(hidden, intermediate), nn.Linear(intermediate, hidden)

    def forward(self, x, mask):
        x = self.norm1(x + self.attention(x, x, mask))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, hidden, layers, heads, intermediate):
        super().__init__()
        self.words, self.positions = nn.Embedding(30522, hidden), nn.Embedding(512, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.layers = nn.ModuleList(BertLayer(hidden, heads, intermediate) for _ in range(layers))
        self.pooler, self.classifier = nn.Linear(hidden, hidden), nn.Linear(hidden, 2)

    def forward(self, ids, mask):
        x = self.norm(self.words(ids) + self.positions(torch.arange(ids.shape[1])))
        for layer in self.layers:
            x = layer(x, mask)
        return self.classifier(torch.tanh(self.pooler(x[:, 0])))


class NoNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return x * self.weight + self.bias


class MobileBertLayer(nn.Module):
    def __init__(self, hidden=512, inner=128, heads=4, intermediate=512, feed_forwards=4):
        super().__init__()
        self.input = nn.Sequential(nn.Linear(hidden, inner), NoNorm(inner))
        self.shared = nn.Sequential(nn.Linear(hidden, inner), NoNorm(inner))
        self.attention, self.attention_norm = Attention(inner, hidden, inner, heads), NoNorm(inner)
        self.ffn = nn.ModuleList(
            nn.Sequential(nn.Linear(inner, intermediate), nn.ReLU(), nn.Linear(intermediate, inner))
            for _ in range(feed_forwards))
        self.norms = nn.ModuleList(NoNorm(inner) for _ in range(feed_forwards))
        self.output, self.output_norm = nn.Linear(inner, hidden), NoNorm(hidden)

    def forward(self, x, mask):
        a = self.attention_norm(self.input(x) + self.attention(self.shared(x), x, mask))
        for ffn, norm in zip(self.ffn, self.norms):
            a = norm(a + ffn(a))
        return self.output_norm(x + self.output(a))


class MobileBert(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(30522, 128), nn.Embedding(512, 512)
        self.widen, self.norm = nn.Linear(384, 512), NoNorm(512)
        self.layers = nn.ModuleList(MobileBertLayer() for _ in range(24))
        self.classifier = nn.Linear(512, 2)

    def forward(self, ids, mask):
        e = self.words(ids)
        e = torch.cat([F.pad(e[:, 1:], (0, 0, 0, 1)), e, F.pad(e[:, :-1], (0, 0, 1, 0))], 2)
        x = self.norm(self.widen(e) + self.positions(torch.arange(ids.shape[1])))
        for layer in self.layers:
            x = layer(x, mask)
        return self.classifier(x[:, 0])


MODELS = {
    "mobilebert": MobileBert,
    "tinybert-4": lambda: Bert(312, 4, 12, 1200),
    "minilm-6": lambda: Bert(384, 6, 12, 1536),
    "distilbert": lambda: Bert(768, 6, 12, 3072),
}


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    model = ids = mask = None
    with torch.inference_mode():
        for line in sys.stdin:
            request = json.loads(line)
            if "model" in request:
                start = time.perf_counter()
                torch.set_num_threads(request["threads"])
                model = MODELS[request["model"]]().eval()
                loaded = time.perf_counter()
                longest = max(map(len, request["ids"]))
                ids = torch.tensor([s + [0] * (longest - len(s)) for s in request["ids"]])
                lengths = torch.tensor([len(s) for s in request["ids"]])
                hidden = torch.arange(longest)[None, :] >= lengths[:, None]
                mask = (hidden * torch.finfo(torch.float32).min)[:, None, None, :]
                first = time.perf_counter()
                model(ids, mask)
                answer = {"load_ms": 1e3 * (loaded - start), "first_ms": 1e3 * (time.perf_counter() - first),
                          "peak_rss_bytes": peak_rss(), "version": torch.__version__}
            else:
                times, end = [], time.perf_counter() + request["seconds"]
                model(ids, mask)
                while len(times) < 3 or time.perf_counter() < end:
                    start = time.perf_counter()
                    model(ids, mask)
                    times.append(1e3 * (time.perf_counter() - start))
                times.sort()
                answer = {"p50_ms": times[(len(times) + 1) // 2 - 1], "min_ms": times[0], "runs": len(times),
                          "peak_rss_bytes": peak_rss()}
            print(json.dumps(answer), flush=True)


main()
