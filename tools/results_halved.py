#!/usr/bin/env python3
"""Halves the width of a model of a real task and writes docs/results-halved.md.

    results_halved.py --data DIR [--seeds N] [NAME...]

DIR is that of results.py, whose recipe trains two models of each task from random weights: as the recipe says, and with half the width
and half the attention heads. A third is the first one with its table of words factorized to half the width. Each is taken
as it is, with 30 % of the weights of its body set to zero by magnitude while it trains on, and in int8. What
comes out is judged on the validation and once on the test set, and timed in turns. Runs are kept in build/results/halved.
"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess

import results

ROOT = results.ROOT
FOLDER = ROOT / "build/results/halved"
NAMES = ("mahasent_gt", "tweeteval_emoji")  # tasks whose recipes train one layer
TURNS = 9
TOKENS = 32
# Of the models that recipes train; --set on the command line replaces that of a recipe.
WIDTHS = {"full": dict(hidden_size=128, num_attention_heads=2), "half": dict(hidden_size=64, num_attention_heads=1)}
ROWS = ("full", "full, sparse", "full, int8", "half", "half, sparse", "half, int8", "table", "table, int8")
MODELS = {"full": "as the recipe says", "half": "half the width, half the heads", "table": "table of words factorized to half the width"}


class Halved:
    def __init__(self, options):
        self.options = options
        self.runs = results.Runs(options)
        FOLDER.mkdir(parents=True, exist_ok=True)

    def sets(self, name):
        folder = self.options.data / results.SETS[name].folder
        return {"train": results.find(folder, "train"), "valid": results.find(folder, "val", "valid"), "test": results.find(folder, "test")}

    def recipe(self, name):
        return ROOT / f"recipes/{results.SETS[name].recipe}.toml"

    def model(self, name, row, seed):
        """The file of a row, made if it is not there."""
        base, _, form = row.partition(", ")
        path = FOLDER / f"{name}.{row.replace(', ', '.')}.{seed}.thimble"
        if path.exists():
            return path
        sets, options = self.sets(name), self.options
        if form == "sparse":
            folder = path.with_suffix("")
            results.run(options.thimble, "prune", self.model(name, base, seed), "--method", "magnitude", "--sparsity", 0.3,
                        "--masks", "blocks", "--block", "1,1", "--train", sets["train"], "--valid", sets["valid"], "--metric",
                        results.SETS[name].metric, "--token-dropout", 0.3, "--seed", seed, "--train-threads", options.threads, "-o", folder)
            return (folder / "pruned.thimble").rename(path)
        if form == "int8":
            results.run(options.thimble, "quantize", self.model(name, base, seed), "--scheme", "dynamic", "--valid", sets["valid"],
                        "--metric", results.SETS[name].metric, "--max-drop", 1, "-o", path)  # the table says what is lost
        elif base == "table":
            results.run(options.thimble, "factorize", self.model(name, "full", seed), "--embedding-rank", "half", "--corpus",
                        sets["train"], "-o", path)
        else:
            shape = {"num_hidden_layers": 1, "intermediate_size": 256, **WIDTHS[base]}
            results.run(options.thimble, "train", "--recipe", self.recipe(name), "--set", *(f"{k}={v}" for k, v in shape.items()),
                        "--train", sets["train"], "--valid", sets["valid"], "--vocab", self.runs.vocabulary(name), "--seed", seed,
                        "--threads", options.threads, "-o", path, "--resume")
        return path

    def score(self, name, row, seed, split):
        model = self.model(name, row, seed)
        kept = model.with_suffix(f".{split}.json")
        if not kept.exists():
            kept.write_text(results.run(self.options.thimble, "eval", model, self.sets(name)[split], "--json"))
        return json.loads(kept.read_text())["metrics"][results.SETS[name].metric]

    def bench(self, name):
        """Milliseconds per text of each row, the median of turns."""
        kept = FOLDER / f"{name}.bench.json"
        if not kept.exists():
            turns = [{row: self.p50(name, row) for row in ROWS} for _ in range(TURNS)]
            kept.write_text(json.dumps({row: statistics.median(turn[row] for turn in turns) for row in ROWS}))
        return json.loads(kept.read_text())

    def p50(self, name, row):
        out = results.run(self.options.thimble, "bench", self.model(name, row, 1), "--seq", TOKENS, "--batch", 1, "--threads", 1,
                          "--seconds", 0.3, "--json")
        return json.loads(out)["p50_ms"]

    def inspect(self, name, row):
        return json.loads(results.run(self.options.thimble, "inspect", self.model(name, row, 1), "--json"))


def saved(value, full):
    return f"{100 * (1 - value / full):.0f} %"


def table(halved, name, seeds):
    bench = halved.bench(name)
    full_time, full_size = bench["full"], halved.inspect(name, "full")
    lines = ["", f"## {name}", "",
             "| model | form | parameters | weights, KiB | less | ms | less | validation | test |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    for row in ROWS:
        base, _, form = row.partition(", ")
        size = halved.inspect(name, row)
        scores = [results.spread([halved.score(name, row, seed, split) for seed in seeds]) for split in ("valid", "test")]
        lines.append(f"| {MODELS[base]} | {form or 'float32'} | {size['parameters']:,} | {size['weight_bytes'] / 1024:.0f} | "
                     f"{saved(size['weight_bytes'], full_size['weight_bytes'])} | {bench[row]:.4f} | "
                     f"{saved(bench[row], full_time)} | {' | '.join(scores)} |")
        print(lines[-1], flush=True)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES) + "; unset: the first")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of training; timing takes one")
    parser.add_argument("--thimble", default=str(ROOT / "build/release/bin/thimble"))
    parser.add_argument("--out", default=str(ROOT / "docs/results-halved.md"))
    options = parser.parse_args()
    halved, seeds = Halved(options), range(1, options.seeds + 1)
    lines = ["# Half the width", "",
             f"Written by `./run results halved`, {datetime.date.today()}, {results.processor()}, one thread, {TOKENS} tokens, "
             f"{options.seeds} seeds.",
             "A published memory-efficient transformer halves the width of its embeddings and its attention heads and has 52 % less memory and",
             "33 % less time for it: 1,122,304 bytes become 536,576 and 0.0241 s become 0.0160 s, by counting 3 d² + 2000 d parameters",
             "of 8 bytes, without a score. Here the same is done to classifiers of real tasks, and beside it what else makes them smaller.",
             "Scores are in percent, mean and standard deviation over the seeds, the test set measured once per model; times are medians of",
             f"{TURNS} turns of all rows. \"Less\" is against the first row.",
             "\"Sparse\" has 30 % zeros in the linears of its layers, single weights by magnitude. They save nothing here: a sparse form is stored",
             "only where it is smaller and faster, which needs blocks ([compression](compression.md))."]
    results.names_of(options, NAMES, "task")
    for name in options.names or NAMES[:1]:
        lines += table(halved, name, seeds)
    pathlib.Path(options.out).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
