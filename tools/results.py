#!/usr/bin/env python3
"""Trains the recipes on real data and writes docs/results-training.md.

    results.py --data DIR [--seeds N] [--warm TEACHER.thimble] [NAME...]

DIR holds one folder per data set (train, val and test files as .tsv or .tsv.gz). A vocabulary is learned from each
training set, every recipe is run with N seeds, weights are chosen on the validation set, and the test set is
measured once per run. Results of each run are kept in build/results, so that a second call goes on where the first stopped.

With --warm the English recipes are run a second time from a student that was distilled from that sentence encoder on the
plain text of DIR/wiki_en (recipes/general.toml), whose vocabulary comes from the same text.
"""
import argparse
import datetime
import json
import pathlib
import re
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
# name: recipe, folder, pieces of the vocabulary, metric, label column, what others reach on the test set
SETS = {
    "clinc150": ("clinc150", "clinc150", 4000, "in_scope_accuracy", "", "FastText 89.0, CNN 91.2, MLP 93.5, BERT 96.9"),
    "tweeteval_emoji": ("tweeteval_emoji", "tweeteval_emoji", 12000, "macro_f1", "",
                        "LSTM 24.7, FastText 25.8, SVM 29.3, RoBERTa 30.9"),
    "tweet_sentiment": ("tweet_sentiment", "tweet_sentiment", 12000, "macro_recall", "",
                        "LSTM 58.3, SVM and FastText 62.9, RoBERTa 71.3"),
    "glue_sst2": ("glue_sst2", "glue_sst2", 8000, "accuracy", "", "BERT 91.8, MobileBERT 92.8"),
    "goemotions": ("goemotions", "goemotions", 12000, "macro_f1", "", "BERT 50.3"),
    "mrda": ("mrda", "mrda_multilabel", 4000, "accuracy", "basic5", "SGNN 86.7, Bi-LSTM-CRF 90.9, CRF-ASN 91.7"),
    "mahasent_gt": ("mahasent", "mahasent_gt", 8000, "accuracy", "", "naive Bayes 65.3, MahaBERT 78.8"),
    "mahasent_mr": ("mahasent", "mahasent_mr", 8000, "accuracy", "", "MahaBERT 78.5"),
}
ENGLISH = [name for name in SETS if not name.startswith("maha")]
KEPT = ("in_scope_accuracy", "oos_recall", "accuracy", "macro_f1", "macro_recall", "micro_f1")


def find(folder, *stems):
    for stem in stems:
        for end in (".tsv", ".tsv.gz"):
            if (folder / (stem + end)).exists():
                return folder / (stem + end)
    raise SystemExit(f"results: {folder}: there is no {stems[0]}.tsv")


def run(*arguments):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"results: {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


class Runs:
    def __init__(self, options):
        self.options = options
        self.thimble = options.thimble
        self.folder = ROOT / "build/results"
        self.folder.mkdir(parents=True, exist_ok=True)

    def vocabulary(self, name):
        recipe, folder, size, *_ = SETS[name]
        path = self.folder / f"{name}.vocab.txt"
        if not path.exists():
            cased = ["--cased"] if recipe == "mahasent" else []
            run(self.thimble, "vocab", find(self.options.data / folder, "train"), "-o", path, "--size", size, *cased)
        return path

    def train(self, name, seed, start):
        """One run; `start` is "cold" or the warm student."""
        recipe, folder, _, _, column, _ = SETS[name]
        label = "cold" if start == "cold" else "warm"
        result = self.folder / f"{name}.{label}.{seed}.json"
        if not result.exists():
            data = self.options.data / folder
            model = self.folder / f"{name}.{label}.{seed}.thimble"
            more = ["--label-column", column] if column else []
            more += ["--vocab", self.vocabulary(name)] if start == "cold" else ["--model", start]
            summary = run(self.thimble, "train", "--recipe", ROOT / f"recipes/{recipe}.toml", "--train",
                          find(data, "train"), "--valid", find(data, "val", "valid"), "--test", find(data, "test"),
                          "-o", model, "--threads", self.options.threads, "--seed", seed, "--json", "--resume", *more)
            result.write_text(summary)
        return json.loads(result.read_text())

    def warm_student(self):
        """The student of general distillation, made once."""
        student = self.folder / "general.thimble"
        if not student.exists():
            text = self.options.data / "wiki_en"
            vocabulary = self.folder / "general.vocab.txt"
            run(self.thimble, "vocab", text, "-o", vocabulary, "--size", 12000)
            summary = run(self.thimble, "distill", "--recipe", ROOT / "recipes/general.toml", "--teacher",
                          self.options.warm, "--train", text, "--vocab", vocabulary, "-o", student, "--threads",
                          self.options.threads, "--cache", self.folder / "teacher", "--json", "--resume")
            (self.folder / "general.json").write_text(summary)
        return student

    def collect(self, name, start):
        runs = [self.train(name, seed, start) for seed in range(1, self.options.seeds + 1)]
        metric = SETS[name][3]
        print(f"{name}: " + ", ".join(f"{100 * r['test'][metric]:.1f}" for r in runs), flush=True)
        return runs


def spread(values):
    values = [100 * v for v in values]
    middle = statistics.mean(values)
    return f"{middle:.1f}" if len(values) == 1 else f"{middle:.1f} ± {statistics.stdev(values):.1f}"


def report(rows, options):
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    lines = ["# Training from scratch on real data", "",
             "Written by `./run results`. No pretrained weights; the recipes stand under `recipes/`, the vocabulary is learned",
             "from the training set. Weights are chosen on the validation set, the test set is measured once per run. Mean and",
             "standard deviation over the seeds, in percent; minutes are those of one run. \"warm\": from a student distilled from",
             "Universal Sentence Encoder Lite on English Wikipedia text.", "",
             f"{datetime.date.today()}, {cpu[1] if cpu else 'unknown processor'}, {options.threads} threads.", "",
             "| data | start | metric | validation | test | also on test | seeds | minutes | others, on test |",
             "|---|---|---|---:|---:|---|---:|---:|---|"]
    for name, start, runs in rows:
        metric, others = SETS[name][3], SETS[name][5]
        also = ", ".join(f"{k} {spread([r['test'][k] for r in runs])}" for k in KEPT
                         if k != metric and k in runs[0]["test"])
        minutes = statistics.mean(r["seconds"] for r in runs) / 60
        lines.append(f"| {name} | {start} | {metric} | {spread([r['valid'][metric] for r in runs])} | "
                     f"**{spread([r['test'][metric] for r in runs])}** | {also} | {len(runs)} | {minutes:.0f} | {others} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SETS))
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--warm", help="a sentence encoder as .thimble: run the English recipes from its student too")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--thimble", default=str(ROOT / "build/release/bin/thimble"))
    parser.add_argument("--out", default=str(ROOT / "docs/results-training.md"))
    options = parser.parse_args()
    unknown = [n for n in options.names if n not in SETS]
    if unknown:
        raise SystemExit(f"results: there is no data set '{unknown[0]}': {', '.join(SETS)}")
    runs = Runs(options)
    rows = []
    for name in options.names or SETS:
        rows.append((name, "cold", runs.collect(name, "cold")))
        if options.warm and name in ENGLISH:
            rows.append((name, "warm", runs.collect(name, runs.warm_student())))
    pathlib.Path(options.out).write_text(report(rows, options), encoding="utf-8")


if __name__ == "__main__":
    main()
