#!/usr/bin/env python3
"""Prunes models of real tasks to speedups and writes docs/results-pruning.md.

    results_pruning.py --data DIR [--seeds N] [--targets 1.5,2,3,4,6,8] [--seq 32,128] [--gradual EPOCHS] [--movement EPOCHS]
                       [--encoder ENCODER.thimble] [NAME[:MODEL[:SEEDS]]...]

DIR is that of results.py, whose recipe trains the dense model of each task, one per seed. MODEL is a preset in place of the
recipe's (bert-mini where none is named), or "encoder": the sentence encoder of ./run demo embeddings, given by --encoder and fine-tuned by
recipes/sentence_encoder.toml. Each is pruned by ZipLM and by magnitude, with --gradual also by ZipLM with training in between, with --movement by
masks that are learned; what comes out is judged on the validation set. The promise is checked a second time, from outside: `thimble bench` times dense and pruned model in
turns. Runs are kept in build/results/pruning, so that a second call goes on where the first stopped. Tables of
docs/results-pruning.md that a call does not make again stay as they are.
"""
import argparse
import datetime
import json
import pathlib
import re
import statistics
import subprocess
from typing import NamedTuple

import results

ROOT = results.ROOT
FOLDER = ROOT / "build/results/pruning"
TURNS = 31  # short ones: what disturbs a shared machine comes and goes within seconds


class Dense(NamedTuple):
    name: str  # of the data set
    model: str
    seeds: int  # at the first length, without training

    def __str__(self):
        return f"{self.name}, {self.model}"


def dense_models(names, encoder, seeds):
    models = []
    for name, model, count in ((text + "::").split(":")[:3] for text in names):
        if count and not count.isdigit():
            raise SystemExit(f"results: {name}: '{count}' is no number of seeds")
        models.append(Dense(name, model or "bert-mini", int(count or seeds)))
    for dense in models:
        if dense.name not in results.SETS:
            raise SystemExit(f"results: there is no data set '{dense.name}': {', '.join(results.SETS)}")
        if dense.model == "encoder" and not encoder:
            raise SystemExit(f"results: {dense.name}:encoder starts from the sentence encoder: --encoder ENCODER.thimble")
    return models


class Pruning:
    def __init__(self, options):
        self.options = options
        self.runs = results.Runs(options)
        FOLDER.mkdir(parents=True, exist_ok=True)

    def data(self, name):
        folder = self.options.data / results.SETS[name].folder
        return results.find(folder, "train"), results.find(folder, "val", "valid")

    def dense(self, dense, seed):
        path = FOLDER / f"{dense.name}.{dense.model}.{seed}.thimble"
        if not path.exists():
            train, valid = self.data(dense.name)
            data = results.SETS[dense.name]
            if dense.model == "encoder":
                start = ["--recipe", ROOT / "recipes/sentence_encoder.toml", "--model", self.options.encoder, "--metric", data.metric]
            else:
                start = ["--recipe", ROOT / f"recipes/{data.recipe}.toml", "--model", dense.model, "--vocab",
                         self.runs.vocabulary(dense.name)]
                start += ["--epochs", self.options.epochs] if self.options.epochs else []
            if data.label_column:
                start += ["--label-column", data.label_column]
            results.run(self.options.thimble, "train", *start, "--train", train, "--valid", valid, "-o", path, "--seed", seed,
                        "--threads", self.options.threads, "--resume")
        return path

    @staticmethod
    def trains(method):
        return method in ("ziplm-gradual", "movement")

    def seeds(self, dense, method, seq):
        few = self.trains(method) or seq != self.options.lengths[0]
        return range(1, (self.options.more_seeds if few else dense.seeds) + 1)

    def prune(self, model, seed, seq, method):
        dense = self.dense(model, seed)
        folder = FOLDER / f"{model.name}.{model.model}.{seed}.{seq}.{method}"
        train, valid = self.data(model.name)
        command = [self.options.thimble, "prune", dense, "--method", method.removesuffix("-gradual"), "--speedup",
                   self.options.trained_targets if self.trains(method) else self.options.targets, "--calib", train,
                   "--valid", valid, "--metric", results.SETS[model.name].metric, "--seq", seq,
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
        report["date"] = datetime.date.fromtimestamp((folder / "report.json").stat().st_mtime)
        for row in report["targets"]:
            if row["kept_promise"]:
                row["bench"] = self.bench(dense, pathlib.Path(row["file"]), seq)
        return report

    def bench(self, dense, pruned, seq):
        """The median ratio of medians, two programs in turns."""
        kept = pruned.with_suffix(".bench.json")
        if not kept.exists():
            both = [subprocess.Popen([self.options.thimble, "bench", str(model), "--seq", str(seq), "--threads", "1", "--seconds",
                                      "0.1", "--rounds"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                    for model in (dense, pruned)]
            for program in both:
                program.stdout.readline()  # ready
            ratios = []
            for _ in range(TURNS):
                times = []
                for program in both:
                    program.stdin.write("\n")
                    program.stdin.flush()
                    times.append(json.loads(program.stdout.readline())["p50_ms"])
                ratios.append(times[0] / times[1])
            for program in both:
                program.communicate()
            kept.write_text(json.dumps(statistics.median(ratios)))
        return json.loads(kept.read_text())


def dense_times(report):
    return [report["table"]["dense_ms"]] + [row["dense_p50_ms"] for row in report["targets"]]


def cell(reports, target, key):
    """Mean over the seeds, in percent for scores; what is missing is counted."""
    tried = [report for report in reports if any(row["target"] == target for row in report["targets"])]
    if not tried:
        return ""
    rows = [row for report in tried for row in report["targets"] if row["target"] == target and row["kept_promise"]]
    missed = f" ({len(tried) - len(rows)} missed)" if len(rows) < len(tried) else ""
    if not rows:
        return "missed"
    values = [row[key] for row in rows]
    if key == "score":
        return results.spread(values) + missed
    return " ".join(f"{v:.2f}" for v in values) + missed


def agreement(reports, targets):
    """How far bench is from prune, over all files, and how often within the promise."""
    rows = [row for rs in reports.values() for r in rs for row in r["targets"]
            if row["kept_promise"] and row["target"] in targets]
    apart = [row["bench"] / row["speedup"] - 1 for row in rows]
    kept = sum(row["target"] <= row["bench"] <= 1.1 * row["target"] for row in rows)
    low, middle, high = (100 * q for q in statistics.quantiles(apart, n=4))
    return [f"Of {len(rows)} files `bench` finds {kept} within [target, 1.1 target]; it is {middle:+.1f} % from `prune` in the "
            f"median, half of them between {low:+.1f} and {high:+.1f} %."]


def made(model, reports, options):
    """When, where and how the models of a table were made."""
    dates = sorted({str(report["date"]) for rs in reports.values() for report in rs})
    text = f"{' to '.join(dates[:1] + dates[1:][-1:])}, {results.processor()}. Dense model: "
    if model.model == "encoder":
        text += "Universal Sentence Encoder Lite, fine-tuned by recipes/sentence_encoder.toml."
    else:
        epochs = f", {options.epochs:g} epochs" if options.epochs else ""
        text += f"{model.model} from random weights by recipes/{results.SETS[model.name].recipe}.toml{epochs}."
    if "ziplm-gradual" in reports:
        text += f" ziplm-gradual trains {options.gradual:g} epochs after each target, with the dense model as teacher."
    if "movement" in reports:
        text += f" movement trains {options.movement:g} epochs for each target, from the dense model."
    return text


def table(model, seq, reports, targets, options):
    methods = list(reports)
    dense = results.spread([r["dense"]["score"] for r in reports[methods[0]]])
    off = max(abs(r["table"]["half_from_table_ms"] / r["table"]["half_measured_ms"] - 1) for m in methods for r in reports[m])
    times = [t for m in methods for r in reports[m] for t in dense_times(r)]
    lines = [f"## {model}, {seq} tokens", "", made(model, reports, options), "",
             f"{results.SETS[model.name].metric} of the dense model: **{dense}**; {min(times):.2f} to {max(times):.2f} ms in the "
             f"course of this, of which pruning can take all but {reports[methods[0]][0]['table']['fixed_ms']:.2f}. The latency table was off by "
             f"at most {100 * off:.1f} % for the half-sized model. Other programs kept at most "
             f"{max(r.get('other_load', -1) for m in methods for r in reports[m]):.2f} processors busy.", *agreement(reports, targets), "",
             "| target | " + " | ".join(f"{m}: speedup | by bench | score" for m in methods) + " |",
             "|---:|" + "---:|---:|---:|" * len(methods)]
    for target in targets:
        cells = [cell(reports[m], target, key) for m in methods for key in ("speedup", "bench", "score")]
        lines.append(f"| {target:g}x | " + " | ".join(cells) + " |")
    return lines


def order(title):
    """Tables by data set and model, short texts first."""
    return [int(word) if word.isdigit() else word for word in re.split(r"(\d+)(?= tokens)", title)]


def kept_sections(page):
    """The tables of an earlier page, by their titles."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    sections = ("## " + part.rstrip("\n") for part in text.split("\n## ")[1:])
    return {section.splitlines()[0]: section for section in sections}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME[:MODEL[:SEEDS]]", default=["clinc150", "mahasent_mr"],
                        help="data sets of results.py; unset: clinc150 and mahasent_mr")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--targets", default="1.5,2,3,4,6,8")
    parser.add_argument("--trained-targets", default="2,4", help="of --gradual and --movement")
    parser.add_argument("--more-seeds", type=int, default=1,
                        help="of all but the first length without training")
    parser.add_argument("--seq", default="32,128")
    parser.add_argument("--gradual", type=float, default=0, metavar="EPOCHS",
                        help="of training per target, at the first length; 0: one shot only")
    parser.add_argument("--movement", type=float, default=0, metavar="EPOCHS",
                        help="of training per target, each from the dense model, at the first length; 0: none")
    parser.add_argument("--encoder", help="the sentence encoder as .thimble, which NAME:encoder starts from")
    parser.add_argument("--epochs", type=float, default=0, help="of presets; 0: the recipe's")
    parser.add_argument("--threads", type=int, default=2, help="of training; timing takes one")
    parser.add_argument("--thimble", default=str(ROOT / "build/release/bin/thimble"))
    parser.add_argument("--out", default=str(ROOT / "docs/results-pruning.md"))
    options = parser.parse_args()
    models = dense_models(options.names, options.encoder, options.seeds)
    options.lengths = [int(s) for s in options.seq.split(",")]
    pruning = Pruning(options)
    targets = sorted(float(t) for t in options.targets.split(","))
    methods = ["ziplm", "magnitude"] + ["ziplm-gradual"] * (options.gradual > 0) + ["movement"] * (options.movement > 0)
    sections = kept_sections(pathlib.Path(options.out))
    for model in models:
        for seq in options.lengths:
            here = methods if seq == options.lengths[0] else methods[:2]
            reports = {m: [pruning.prune(model, seed, seq, m) for seed in pruning.seeds(model, m, seq)] for m in here}
            lines = table(model, seq, reports, targets, options)
            sections[lines[0]] = "\n".join(lines)
            print(sections[lines[0]] + "\n", flush=True)
    page = ["# Pruning to a speedup, on real data", "",
            "Written by `./run results pruning`. One thread, batch 1. Scores are of the validation set, mean and standard deviation over the",
            "seeds, in percent. Speedups are those that `prune` measured, and beside them what `thimble bench` gives for the files, the",
            f"median of {TURNS} turns with the dense model: one figure per seed."]
    page += ["\n" + sections[title] for title in sorted(sections, key=order)]
    pathlib.Path(options.out).write_text("\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
