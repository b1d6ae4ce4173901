"""One side of compare.py: eager PyTorch trains the same architecture on the same token ids.

    torch_train.py MODEL DATA.json STEPS THREADS DROPOUT

Written as PyTorch users write it: batches padded to their longest sequence, nn modules, AdamW, clipping.
Prints one JSON document: seconds and real (unpadded) tokens of every step.
"""
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, query_width, value_width, width, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q, self.k = nn.Linear(query_width, width), nn.Linear(query_width, width)
        self.v, self.out = nn.Linear(value_width, width), nn.Linear(width, width)

    def forward(self, qk, value, mask):
        batch, length, _ = qk.shape

        def split(x):
            return x.view(batch, length, self.heads, -1).transpose(1, 2)

        q, k, v = split(self.q(qk)), split(self.k(qk)), split(self.v(value))
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask
        p = F.dropout(scores.softmax(-1), self.dropout)
        return self.out((p @ v).transpose(1, 2).reshape(batch, length, -1))


class BertLayer(nn.Module):
    def __init__(self, hidden, heads, intermediate, dropout):
        super().__init__()
        self.dropout = dropout
        self.attention = Attention(hidden, hidden, hidden, heads, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.up, self.down = nn.Linear(hidden, intermediate), nn.Linear(intermediate, hidden)

    def forward(self, x, mask):
        x = self.norm1(x + F.dropout(self.attention(x, x, mask), self.dropout))
        return self.norm2(x + F.dropout(self.down(F.gelu(self.up(x))), self.dropout))


class Bert(nn.Module):
    def __init__(self, dropout, hidden=256, layers=4, heads=4, intermediate=1024):
        super().__init__()
        self.dropout = dropout
        self.words, self.positions = nn.Embedding(30522, hidden), nn.Embedding(512, hidden)
        self.types, self.norm = nn.Embedding(2, hidden), nn.LayerNorm(hidden)
        self.layers = nn.ModuleList(BertLayer(hidden, heads, intermediate, dropout)
                                    for _ in range(layers))
        self.pooler, self.classifier = nn.Linear(hidden, hidden), nn.Linear(hidden, 2)

    def forward(self, ids, mask):
        positions = torch.arange(ids.shape[1])
        x = self.norm(self.words(ids) + self.positions(positions) + self.types(ids * 0))
        x = F.dropout(x, self.dropout)
        for layer in self.layers:
            x = layer(x, mask)
        return self.classifier(F.dropout(torch.tanh(self.pooler(x[:, 0])), self.dropout))


class NoNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return x * self.weight + self.bias


class MobileBertLayer(nn.Module):
    def __init__(self, dropout, hidden=512, inner=128, heads=4, intermediate=512, feed_forwards=4):
        super().__init__()
        self.dropout = dropout
        self.input = nn.Sequential(nn.Linear(hidden, inner), NoNorm(inner))
        self.shared = nn.Sequential(nn.Linear(hidden, inner), NoNorm(inner))
        self.attention = Attention(inner, hidden, inner, heads, dropout)
        self.attention_norm = NoNorm(inner)
        self.ffn = nn.ModuleList(
            nn.Sequential(nn.Linear(inner, intermediate), nn.ReLU(), nn.Linear(intermediate, inner))
            for _ in range(feed_forwards))
        self.norms = nn.ModuleList(NoNorm(inner) for _ in range(feed_forwards))
        self.output, self.output_norm = nn.Linear(inner, hidden), NoNorm(hidden)

    def forward(self, x, mask):
        def drop(y):
            return F.dropout(y, self.dropout)

        a = self.attention_norm(self.input(x) + drop(self.attention(self.shared(x), x, mask)))
        for ffn, norm in zip(self.ffn, self.norms):
            a = norm(a + drop(ffn(a)))
        return self.output_norm(x + drop(self.output(a)))


class MobileBert(nn.Module):
    def __init__(self, dropout, layers=4):
        super().__init__()
        self.dropout = dropout
        self.words, self.positions = nn.Embedding(30522, 128), nn.Embedding(512, 512)
        self.types, self.widen, self.norm = nn.Embedding(2, 512), nn.Linear(384, 512), NoNorm(512)
        self.layers = nn.ModuleList(MobileBertLayer(dropout) for _ in range(layers))
        self.classifier = nn.Linear(512, 2)

    def forward(self, ids, mask):
        e = self.words(ids)
        e = torch.cat([F.pad(e[:, 1:], (0, 0, 0, 1)), e, F.pad(e[:, :-1], (0, 0, 1, 0))], 2)
        x = self.widen(e) + self.positions(torch.arange(ids.shape[1])) + self.types(ids * 0)
        x = F.dropout(self.norm(x), self.dropout)
        for layer in self.layers:
            x = layer(x, mask)
        return self.classifier(F.dropout(x[:, 0], self.dropout))


def main(name, path, steps, threads, dropout):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    with open(path, encoding="utf-8") as file:
        batches = json.load(file)
    model = {"bert": Bert, "mobilebert": MobileBert}[name](dropout)
    for p in model.parameters():
        if p.dim() > 1:
            nn.init.normal_(p, std=0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    seconds, tokens = [], []
    for step in range(steps):
        batch = batches[step % len(batches)]
        start = time.perf_counter()
        longest = max(len(ids) for ids in batch["ids"])
        ids = torch.tensor([s + [0] * (longest - len(s)) for s in batch["ids"]])
        lengths = torch.tensor([len(s) for s in batch["ids"]])
        hidden = torch.arange(longest)[None, :] >= lengths[:, None]
        mask = (hidden * torch.finfo(torch.float32).min)[:, None, None, :]
        loss = F.cross_entropy(model(ids, mask), torch.tensor(batch["labels"]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
        tokens.append(sum(len(s) for s in batch["ids"]))
    print(json.dumps({"seconds": seconds, "tokens": tokens, "version": torch.__version__}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
