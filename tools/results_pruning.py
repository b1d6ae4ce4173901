#!/usr/bin/env python3
"""Prunes models of real tasks to speedups and writes docs/results-pruning.md.

    results_pruning.py --data DIR [--seeds N] [--targets 1.5,2,3,4,6,8] [--seq 32,128] [--gradual EPOCHS] [--movement EPOCHS] [NAME...]

DIR is that of results.py, whose recipe trains the dense model of each task (--preset in place of the recipe's), one per
seed. Each is pruned by ZipLM and by magnitude, with --gradual also by ZipLM with training in between, with --movement by
masks that are learned; what comes out is judged on the validation set. The promise is checked a second time, from outside: `thimble bench` times dense and pruned model in
turns. Runs are kept in build/results/pruning, so that a second call goes on where the first stopped.
"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess

import results

ROOT = results.ROOT
FOLDER = ROOT / "build/results/pruning"
TURNS = 7


class Pruning:
    def __init__(self, options):
        self.options = options
        self.runs = results.Runs(options)
        FOLDER.mkdir(parents=True, exist_ok=True)

    def data(self, name):
        folder = self.options.data / results.SETS[name].folder
        return results.find(folder, "train"), results.find(folder, "val", "valid")

    def dense(self, name, seed):
        path = FOLDER / f"{name}.{self.options.preset}.{seed}.thimble"
        if not path.exists():
            train, valid = self.data(name)
            epochs = ["--epochs", self.options.epochs] if self.options.epochs else []
            results.run(self.options.thimble, "train", "--recipe", ROOT / f"recipes/{results.SETS[name].recipe}.toml", "--model",
                        self.options.preset, "--train", train, "--valid", valid, "--vocab", self.runs.vocabulary(name), "-o",
                        path, "--seed", seed, "--threads", self.options.threads, "--resume", *epochs)
        return path

    def prune(self, name, seed, seq, method):
        dense = self.dense(name, seed)
        folder = FOLDER / f"{name}.{self.options.preset}.{seed}.{seq}.{method}"
        train, valid = self.data(name)
        command = [self.options.thimble, "prune", dense, "--method", method.removesuffix("-gradual"), "--speedup",
                   self.options.targets, "--calib", train, "--valid", valid, "--metric", results.SETS[name].metric, "--seq", seq,
                   "--seed", seed, "-o", folder, "--resume", "--json"]
        if method.endswith("-gradual"):
            command += ["--train", train, "--epochs", self.options.gradual, "--train-threads", self.options.threads]
        elif method == "movement":
            command += ["--train", train, "--epochs", self.options.movement, "--train-threads", self.options.threads]
        if not (folder / "report.json").exists():
            done = subprocess.run([str(a) for a in command], capture_output=True, text=True)
            if done.returncode not in (0, 3):  # 3: a target was missed, which the table says
                raise SystemExit(f"results: {done.stderr.strip()}")
        report = json.loads((folder / "report.json").read_text())
        for row in report["targets"]:
            if row["kept_promise"]:
                row["bench"] = self.bench(dense, pathlib.Path(row["file"]), seq)
        return report

    def p50(self, model, seq):
        out = results.run(self.options.thimble, "bench", model, "--seq", seq, "--batch", 1, "--threads", 1, "--seconds", 0.3, "--json")
        return json.loads(out)["p50_ms"]

    def bench(self, dense, pruned, seq):
        """The median ratio of medians, in turns."""
        kept = pruned.with_suffix(".bench.json")
        if not kept.exists():
            ratios = [self.p50(dense, seq) / self.p50(pruned, seq) for _ in range(TURNS)]
            kept.write_text(json.dumps(statistics.median(ratios)))
        return json.loads(kept.read_text())


def cell(reports, target, key):
    """Mean over the seeds, in percent for scores; what is missing is counted."""
    rows = [row for report in reports for row in report["targets"] if row["target"] == target and row["kept_promise"]]
    missed = f" ({len(reports) - len(rows)} missed)" if len(rows) < len(reports) else ""
    if not rows:
        return "missed"
    values = [row[key] for row in rows]
    if key == "score":
        return results.spread(values) + missed
    return " ".join(f"{v:.2f}" for v in values) + missed


def table(name, seq, reports, targets):
    methods = list(reports)
    dense = results.spread([r["dense"]["score"] for r in reports[methods[0]]])
    off = max(abs(r["table"]["half_from_table_ms"] / r["table"]["half_measured_ms"] - 1) for m in methods for r in reports[m])
    lines = ["", f"## {name}, {seq} tokens", "",
             f"{results.SETS[name].metric} of the dense model: **{dense}**; {reports[methods[0]][0]['table']['dense_ms']:.2f} ms, of "
             f"which pruning can take all but {reports[methods[0]][0]['table']['fixed_ms']:.2f}. The latency table was off by "
             f"at most {100 * off:.1f} % for the half-sized model.", "",
             "| target | " + " | ".join(f"{m}: speedup | by bench | score" for m in methods) + " |",
             "|---:|" + "---:|---:|---:|" * len(methods)]
    for target in targets:
        cells = [cell(reports[m], target, key) for m in methods for key in ("speedup", "bench", "score")]
        lines.append(f"| {target:g}x | " + " | ".join(cells) + " |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets of results.py; unset: clinc150 and mahasent_mr")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--targets", default="1.5,2,3,4,6,8")
    parser.add_argument("--seq", default="32,128")
    parser.add_argument("--gradual", type=float, default=0, metavar="EPOCHS", help="of training per target; 0: one shot only")
    parser.add_argument("--movement", type=float, default=0, metavar="EPOCHS",
                        help="of training per target, each from the dense model; 0: none")
    parser.add_argument("--preset", default="bert-mini")
    parser.add_argument("--epochs", type=float, default=0, help="of the dense model; 0: the recipe's")
    parser.add_argument("--threads", type=int, default=2, help="of training; timing takes one")
    parser.add_argument("--thimble", default=str(ROOT / "build/release/bin/thimble"))
    parser.add_argument("--out", default=str(ROOT / "docs/results-pruning.md"))
    options = parser.parse_args()
    results.names_of(options, results.SETS, "data set")
    pruning = Pruning(options)
    targets = sorted(float(t) for t in options.targets.split(","))
    methods = ["ziplm", "magnitude"] + ["ziplm-gradual"] * (options.gradual > 0) + ["movement"] * (options.movement > 0)
    lines = ["# Pruning to a speedup, on real data", "",
             f"Written by `./run results pruning`, {datetime.date.today()}, {results.processor()}, one thread, batch 1, "
             f"{options.seeds} seed{'s' if options.seeds > 1 else ''}. Dense model: {options.preset} by the recipe of the task"
             + (f", {options.epochs:g} epochs" if options.epochs else "") + ".",
             "Scores are of the validation set, mean and standard deviation over the seeds, in percent. Speedups are those that `prune`",
             "measured, and beside them what `thimble bench` gives for the files, the median of "
             f"{TURNS} turns with the dense model: one figure per seed."]
    for name in options.names or ["clinc150", "mahasent_mr"]:
        for seq in (int(s) for s in options.seq.split(",")):
            reports = {m: [pruning.prune(name, seed, seq, m) for seed in range(1, options.seeds + 1)] for m in methods}
            lines += table(name, seq, reports, targets)
            print("\n".join(lines[-len(targets) - 4:]), flush=True)
    pathlib.Path(options.out).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
