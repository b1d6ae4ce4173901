#!/usr/bin/env python3
"""Trains the recipes on real data and writes docs/results-training.md.

    results.py --data DIR [--seeds N] [--warm TEACHER.thimble [--distil]] [--starts START,...] [NAME...]

DIR holds one folder per data set (train, val and test files as .tsv or .tsv.gz). A vocabulary is learned from each
training set, every recipe is run with N seeds, weights are chosen on the validation set, and the test set is
measured once per run. Results of each run are kept in build/results, so that a second call goes on where the first stopped.
Rows of docs/results-training.md that a call does not make again stay as they are; --starts says which to make.

With --warm the English recipes are run twice more: from a student that was distilled from that sentence encoder on plain
text (recipes/general.toml), and from one of the same size that learned masked words of the same text for as much time of
the processor, the teacher's included (recipes/masked_lm.toml). The text is DIR/wiki_en and the texts of the training sets,
without their labels; the vocabulary of both comes from it.

With --distil that encoder is fine-tuned on the tasks of DISTILLED, once each, and teaches the recipes' models there.
"""
import argparse
import datetime
import gzip
import json
import pathlib
import re
import shutil
import statistics
import subprocess
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Set(NamedTuple):
    recipe: str
    folder: str
    pieces: int  # of the vocabulary
    metric: str
    others: str  # what others reach on the test set
    label_column: str = ""
    case: tuple = ()  # of `vocab`, as the recipe has it
    english: bool = True


SETS = {
    "clinc150": Set("clinc150", "clinc150", 2000, "in_scope_accuracy", "FastText 89.0, CNN 91.2, MLP 93.5, BERT 96.9"),
    "tweeteval_emoji": Set("tweeteval_emoji", "tweeteval_emoji", 12000, "macro_f1",
                           "LSTM 24.7, FastText 25.8, SVM 29.3, RoBERTa 30.9", case=("--keep-accents",)),
    "tweet_sentiment": Set("tweet_sentiment", "tweet_sentiment", 12000, "macro_recall",
                           "LSTM 58.3, SVM and FastText 62.9, RoBERTa 71.3"),
    "glue_sst2": Set("glue_sst2", "glue_sst2", 8000, "accuracy", "BERT 91.8, MobileBERT 92.8"),
    "goemotions": Set("goemotions", "goemotions", 12000, "macro_f1", "BERT 50.3"),
    "mrda": Set("mrda", "mrda_multilabel", 4000, "accuracy", "SGNN 86.7, Bi-LSTM-CRF 90.9, CRF-ASN 91.7", "basic5"),
    "airline_polarity": Set("airline_polarity", "airline_polarity", 8000, "accuracy", "majority class 63.7"),
    "mahasent_gt": Set("mahasent_gt", "mahasent_gt", 4000, "accuracy", "naive Bayes 65.3, MahaBERT 78.8", case=("--cased",), english=False),
    "mahasent_mr": Set("mahasent_mr", "mahasent_mr", 8000, "accuracy", "MahaBERT 78.5", case=("--cased",), english=False),
}
ENGLISH = [name for name, data in SETS.items() if data.english]
STARTS = {"cold": "random weights",
          "masked": "masked words of English Wikipedia and of the training sets' texts, for as much processor time as warm took",
          "warm": "distilled from Universal Sentence Encoder Lite on the same text"}
PROBE_STEPS = 200  # of masked words, to know what a step costs
# Tasks whose recipes are also taught by the fine-tuned sentence encoder (recipes/sentence_encoder.toml).
DISTILLED = ("clinc150", "tweet_sentiment")
DISTIL = ("--alpha-task", 0.1, "--alpha-logits", 0.9, "--temperature", 2)
COLUMNS = "| data | start | metric | validation | test | also on test | seeds | minutes | Wh | others, on test | run on |"
TAUGHT = "## With a teacher"
KEPT = ("in_scope_accuracy", "oos_recall", "accuracy", "macro_f1", "macro_recall", "micro_f1")


def find(folder, *stems):
    for stem in stems:
        for end in (".tsv", ".tsv.gz"):
            if (folder / (stem + end)).exists():
                return folder / (stem + end)
    raise SystemExit(f"results: {folder}: there is no {stems[0]}.tsv")


def open_text(path):
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")


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
        data = SETS[name]
        path = self.folder / f"{name}.vocab.txt"
        if not path.exists():
            run(self.thimble, "vocab", find(self.options.data / data.folder, "train"), "-o", path, "--size",
                data.pieces, *data.case)
        return path

    def once(self, result, *arguments):
        """A run of thimble and its summary, kept in `result`."""
        if not result.exists():
            result.write_text(run(self.thimble, *arguments, "--threads", self.options.threads, "--json", "--resume"))
        return json.loads(result.read_text())

    def task(self, run_name, verb, name, recipe, seed, *more):
        """One training run on the data set `name`, judged on its validation and test sets."""
        data = SETS[name]
        folder = self.options.data / data.folder
        if data.label_column:
            more += ("--label-column", data.label_column)
        return self.once(self.folder / f"{run_name}.json", verb, "--recipe", ROOT / f"recipes/{recipe}.toml", "--train",
                         find(folder, "train"), "--valid", find(folder, "val", "valid"), "--test", find(folder, "test"),
                         "-o", self.folder / f"{run_name}.thimble", "--seed", seed, *more)

    def train(self, name, seed, start):
        more = ("--vocab", self.vocabulary(name)) if start == "cold" else ("--model", self.student(start))
        return self.task(f"{name}.{start}.{seed}", "train", name, SETS[name].recipe, seed, *more)

    def teacher(self, name):
        return self.task(f"{name}.teacher", "train", name, "sentence_encoder", 1, "--model", self.options.warm,
                         "--metric", SETS[name].metric)

    def distil(self, name, seed):
        return self.task(f"{name}.distilled.{seed}", "distill", name, SETS[name].recipe, seed, "--vocab",
                         self.vocabulary(name), "--teacher", self.folder / f"{name}.teacher.thimble", "--cache",
                         self.folder / f"{name}.teacher", *DISTIL)

    def parameters(self, run_name):
        return json.loads(run(self.thimble, "inspect", self.folder / f"{run_name}.thimble", "--json"))["parameters"]

    def text(self):
        """A folder of plain text: English Wikipedia and what the training sets of the English tasks say, without labels."""
        folder = self.folder / "text"
        if not folder.exists():
            unfinished = self.folder / "text.unfinished"
            unfinished.mkdir(exist_ok=True)
            for path in (self.options.data / "wiki_en").iterdir():
                shutil.copy(path, unfinished)
            for data in (SETS[name] for name in ENGLISH):
                with open_text(find(self.options.data / data.folder, "train")) as rows:
                    column = next(rows).rstrip("\n").split("\t").index("text")
                    texts = "".join(row.rstrip("\n").split("\t")[column] + "\n" for row in rows if row.strip())
                (unfinished / f"{data.folder}.txt").write_text(texts, encoding="utf-8")
            unfinished.rename(folder)
        return folder

    def student(self, start):
        """What a recipe starts from that does not start cold; made once."""
        student, vocabulary = self.folder / f"{start}.thimble", self.folder / "general.vocab.txt"
        if not vocabulary.exists():
            run(self.thimble, "vocab", self.text(), "-o", vocabulary, "--size", 12000)
        common = ["--train", self.text(), "--vocab", vocabulary]
        if start == "warm":
            self.once(self.folder / "warm.json", "distill", "--recipe", ROOT / "recipes/general.toml", "--teacher",
                      self.options.warm, "--cache", self.folder / "teacher", *common, "-o", student)
            return student
        self.student("warm")

        def masked(name, steps):
            return self.once(self.folder / f"{name}.json", "train", "--recipe", ROOT / "recipes/masked_lm.toml", "--max-steps",
                             steps, *common, "-o", self.folder / f"{name}.thimble")["account"]["cpu_s"]

        budget = json.loads((self.folder / "warm.json").read_text())["account"]["cpu_s"]
        masked("masked", round(budget / masked("probe", PROBE_STEPS) * PROBE_STEPS))
        return student

    def collect(self, name, start):
        runs = [self.train(name, seed, start) for seed in range(1, self.options.seeds + 1)]
        metric = SETS[name].metric
        print(f"{name}, {start}: " + ", ".join(f"{100 * r['test'][metric]:.1f}" for r in runs), flush=True)
        return runs


def spread(values):
    values = [100 * v for v in values]
    middle = statistics.mean(values)
    return f"{middle:.1f}" if len(values) == 1 else f"{middle:.1f} ± {statistics.stdev(values):.1f}"


def distillation(runs, options):
    """The table of students with and without their teacher."""
    seeds = range(1, options.seeds + 1)
    lines = ["", TAUGHT, "",
             "The teacher is the sentence encoder of `./run demo embeddings`, fine-tuned on the task (recipes/sentence_encoder.toml, one seed). The",
             "student is the model of the recipe from random weights, alone and taught by the teacher's softened labels",
             f"(`{' '.join(map(str, DISTIL))}`), all else equal. Test set; \"kept\" is the taught student's mean over the teacher's score.", "",
             "| data | metric | teacher | parameters | student alone | taught | parameters | kept |",
             "|---|---|---:|---:|---:|---:|---:|---:|"]
    for name in DISTILLED:
        metric = SETS[name].metric
        teacher = runs.teacher(name)["test"][metric]
        alone = [runs.train(name, seed, "cold")["test"][metric] for seed in seeds]
        taught = [runs.distil(name, seed)["test"][metric] for seed in seeds]
        print(f"{name}: teacher {100 * teacher:.1f}, alone {spread(alone)}, taught {spread(taught)}", flush=True)
        lines.append(f"| {name} | {metric} | {100 * teacher:.1f} | {runs.parameters(f'{name}.teacher'):,} | {spread(alone)} | "
                     f"**{spread(taught)}** | {runs.parameters(f'{name}.cold.1'):,} | {100 * statistics.mean(taught) / teacher:.1f} % |")
    return lines


def processor():
    name = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return name[1] if name else "unknown processor"


def names_of(options, known, what):
    """The data sets that were asked for; unset: all."""
    unknown = [n for n in options.names if n not in known]
    if unknown:
        raise SystemExit(f"results: there is no {what} '{unknown[0]}': {', '.join(known)}")
    return options.names or list(known)


def kept(page, rows):
    """The lines of an earlier page about runs that were not done this time."""
    done = [(name, start) for name, start, _ in rows]
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    return [line for line in lines if line.startswith("|") and line.count("|") == COLUMNS.count("|")
            and line.split(" | ")[0][2:] in SETS and (line.split(" | ")[0][2:], line.split(" | ")[1]) not in done]


def kept_distillation(page):
    """The section about teachers of an earlier page."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return ["", TAUGHT + text.split(TAUGHT)[1].rstrip("\n")] if TAUGHT in text else []


def report(rows, options, more):
    page = pathlib.Path(options.out)
    table = kept(page, rows)
    machine = f"{datetime.date.today()}, {processor()}, {options.threads} thread{'s' * (options.threads > 1)}"
    for name, start, runs in rows:
        metric = SETS[name].metric
        also = ", ".join(f"{k} {spread([r['test'][k] for r in runs])}" for k in KEPT
                         if k != metric and k in runs[0]["test"])
        minutes = statistics.mean(r["seconds"] for r in runs) / 60
        energy = statistics.mean(r["account"]["energy_j"] for r in runs) / 3600
        table.append(f"| {name} | {start} | {metric} | {spread([r['valid'][metric] for r in runs])} | "
                     f"**{spread([r['test'][metric] for r in runs])}** | {also} | {len(runs)} | {f'{minutes:.0f}' if minutes >= 1 else '< 1'} | {energy:.1f} | "
                     f"{SETS[name].others} | {machine} |")
    lines = ["# Training from scratch on real data", "",
             "Written by `./run results`. No pretrained weights; the recipes stand under `recipes/`, the vocabulary is learned",
             "from the training set. Weights are chosen on the validation set, the test set is measured once per run. Mean and",
             "standard deviation over the seeds, in percent; minutes and watt-hours are those of one run.", "",
             *(f"- **{start}**: {what}" for start, what in STARTS.items() if any(f" | {start} | " in row for row in table)), "",
             COLUMNS, "|---|---|---|---:|---:|---|---:|---:|---:|---|---|", *sorted(table)]
    return "\n".join(lines + (more or kept_distillation(page))) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SETS))
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--warm", help="a sentence encoder as .thimble: run the English recipes from its student too")
    parser.add_argument("--distil", action="store_true", help="with --warm: teach students of that encoder, fine-tuned")
    parser.add_argument("--starts", help=", ".join(STARTS) + "; unset: cold, with --warm all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--thimble", default=str(ROOT / "build/release/bin/thimble"))
    parser.add_argument("--out", default=str(ROOT / "docs/results-training.md"))
    options = parser.parse_args()
    names = names_of(options, SETS, "data set")
    if options.distil and not options.warm:
        raise SystemExit("results: --distil needs the encoder that teaches: --warm ENCODER.thimble")
    starts = options.starts.split(",") if options.starts else list(STARTS) if options.warm else ["cold"]
    unknown = [start for start in starts if start not in STARTS]
    if unknown:
        raise SystemExit(f"results: there is no start '{unknown[0]}': {', '.join(STARTS)}")
    if starts != ["cold"] and not options.warm:
        raise SystemExit("results: other starts than cold need the encoder: --warm ENCODER.thimble")
    runs = Runs(options)
    rows = []
    for name in names:
        rows += [(name, start, runs.collect(name, start)) for start in starts if start == "cold" or name in ENGLISH]
    more = distillation(runs, options) if options.distil else []
    pathlib.Path(options.out).write_text(report(rows, options, more), encoding="utf-8")


if __name__ == "__main__":
    main()
