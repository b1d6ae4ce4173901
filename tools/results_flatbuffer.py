#!/usr/bin/env python3
"""Measures what a FlatBuffer for a device is beside a large checkpoint, and writes docs/results-flatbuffer.md.

    results_flatbuffer.py --data DIR [--seeds N]

DIR is that of results.py. A model of MobileBERT's shape is trained on the tweets of airline_polarity and exported as float32 and int8
.tflite; test tweets are classified by each form once. Beside it stand models of the published sizes of MobileBERT and BERT-large with
random weights, for bytes, speed and memory.
"""
import argparse
import datetime
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import time

import results

ROOT = results.ROOT
FOLDER = ROOT / "build/results/flatbuffer"
NAME = "airline_polarity"
TRAINED = "MobileBERT-shaped, 4 blocks, trained"
TOKENS = 64     # of a .tflite
FEW = 40        # tweets that a model as slow as BERT-large is timed on
ADAM_SLOTS = 2  # numbers that a training checkpoint keeps beside each weight
APART = 0.3     # of the largest logit: how far a runtime's may be from ours to count as working (int8 rounds otherwise there)


def watched(command):
    """Standard output of a command, its seconds and its peak resident memory; None where it fails, which it says itself."""
    start = time.monotonic()
    process = subprocess.Popen([str(a) for a in command], stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        return None
    return output, time.monotonic() - start, usage.ru_maxrss * 1024


class Study:
    def __init__(self, options):
        self.options = options
        self.runs = results.Runs(options)
        self.bench = pathlib.Path(options.thimble).parent / "make_bench_models"
        self.test = results.find(options.data / NAME, "test")
        packed = gzip.open if self.test.suffix == ".gz" else open
        with packed(self.test, "rt", encoding="utf-8") as lines:
            rows = [line.rstrip("\n").split("\t") for line in lines]
        self.tweets, self.truth = ([row[rows[0].index(column)] for row in rows[1:]] for column in ("text", "label"))
        FOLDER.mkdir(parents=True, exist_ok=True)

    def thimble(self, *arguments):
        return results.run(self.options.thimble, *arguments)

    def made(self, path, *arguments):
        """The file that this call of thimble writes, made once."""
        if not path.exists():
            self.thimble(*arguments, "-o", path)
        return path

    def tflite(self, model, stem, weights):
        """A .tflite and, for our own runtime, a .thimble with the very same weights."""
        tflite = self.made(FOLDER / f"{stem}-{weights}.tflite", "export", model, "--seq", TOKENS, "--weights", weights)
        return model if weights == "f32" else self.made(FOLDER / f"{stem}-int8.thimble", "import", tflite), tflite

    def random(self, name):
        path = FOLDER / f"{name}-f32.thimble"
        if not path.exists():
            results.run(self.bench, FOLDER, name)
        return path

    def ids(self, tokenizer, count):
        """A file with the ids of that many test tweets."""
        path = FOLDER / f"tweets-{count}.jsonl"
        text = FOLDER / "tweets.txt"
        text.write_text("".join(t + "\n" for t in self.tweets[:count]), encoding="utf-8")
        path.write_text(self.thimble("tokenize", "--tokenizer", tokenizer, text, "--json", "--max-length", TOKENS))
        return path, len(self.tweets[:count])

    def ours(self, model, ids, one, count):
        """Tweets per second, one at a time on one thread, loading left out; the peak memory of the process; the tweets' logits."""
        call = lambda file: watched([self.options.thimble, "predict", model, file, "--ids", "--batch", 1, "--threads", 1, "--json", "--logits"])
        rates, peaks = [], []
        for _ in range(3):
            _, loading, _ = call(one)
            output, seconds, peak = call(ids)
            rates.append((count - 1) / (seconds - loading))
            peaks.append(peak)
        return statistics.median(rates), max(peaks), [json.loads(line)["logits"] for line in output.splitlines()]

    def litert(self, tflite, ids):
        done = watched(["node", ROOT / "tools/litert_texts.mjs", tflite, ids, "--npm", self.options.npm])
        return json.loads(done[0]) if done else None

    def accuracy(self, model):
        return json.loads(self.thimble("eval", model, self.test, "--json", "--bootstrap", 0))["metrics"]["accuracy"]

    def accuracy_of(self, logits, labels):
        return statistics.mean(labels[row.index(max(row))] == t for row, t in zip(logits, self.truth, strict=True))


def distance(theirs, ours):
    """The largest difference of any logit, over the largest logit."""
    flat = lambda rows: [x for row in rows for x in row]
    a, b = flat(theirs), flat(ours)
    return max(abs(x - y) for x, y in zip(a, b)) / max(map(abs, b))


def mib(count):
    return f"{count / 2**20:.1f}"


def trained_rows(study):
    """Scores of the trained model in each form and runtime, over the seeds; and the model of the first seed."""
    scores = {"float32, Thimble": [], "float32, LiteRT": [], "int8, Thimble": [], "int8, LiteRT": []}
    for seed in range(1, study.options.seeds + 1):
        study.runs.train(NAME, seed, "cold")
        model = study.runs.folder / f"{NAME}.cold.{seed}.thimble"
        labels = json.loads(study.thimble("inspect", model, "--json"))["labels"]
        ids, _ = study.ids(model, 1 << 30)
        for weights, name in (("f32", "float32"), ("int8", "int8")):
            ours, tflite = study.tflite(model, f"trained.{seed}", weights)
            scores[f"{name}, Thimble"].append(study.accuracy(ours))
            scores[f"{name}, LiteRT"].append(study.accuracy_of(study.litert(tflite, ids)["logits"], labels))
    lines = ["## Accuracy", "",
             f"{NAME}: what tweets say of an airline, three classes (majority class 63.7 %), test set of 2,875 tweets, {study.options.seeds} seeds.", "",
             "| form | accuracy on test |", "|---|---:|", *(f"| {form} | {results.spread(values)} |" for form, values in scores.items())]
    for runtime in ("Thimble", "LiteRT"):
        drops = [a - b for a, b in zip(scores["float32, Thimble"], scores[f"int8, {runtime}"])]
        lines += ["", f"int8 in {runtime} loses {results.spread(drops)} points against float32 (each seed: "
                  f"{', '.join(f'{100 * d:+.2f}' for d in drops)})."]
    return lines, study.runs.folder / f"{NAME}.cold.1.thimble"


def sizes(study, trained):
    rows, largest = [], None
    for name, model, tweets in (("BERT-large", study.random("bert-large"), FEW), ("MobileBERT", study.random("mobilebert"), FEW * 10),
                                (TRAINED, trained, 1 << 30)):
        ids, count = study.ids(trained, tweets)
        one, _ = study.ids(trained, 1)
        parameters = json.loads(study.thimble("inspect", model, "--json"))["parameters"]
        for weights in ("f32", "int8"):
            ours, tflite = study.tflite(model, "trained.1" if name == TRAINED else name.lower(), weights)
            rate, peak, logits = study.ours(ours, ids, one, count)
            litert = study.litert(tflite, ids)
            apart = litert and distance(litert["logits"], logits)
            size = tflite.stat().st_size
            largest = largest or size
            theirs = f"{litert['texts_per_second']:.1f} | {mib(litert['peak_rss_bytes'])}" if litert and apart < APART else \
                "runs, with wrong logits |" if litert else "does not load |"
            rows.append(f"| {name}, {'float32' if weights == 'f32' else weights} | {parameters:,} | {size:,} | {largest / size:.1f} | "
                        f"{rate:.1f} | {mib(peak)} | {theirs} |")
            print(rows[-1], flush=True)
    return ["", "## Bytes, speed, memory", "",
            "| model | parameters | bytes of the .tflite | BERT-large float32 to it | tweets/s, Thimble | peak MiB | tweets/s, LiteRT | peak MiB |",
            "|---|---:|---:|---:|---:|---:|---:|---:|", *rows], largest


def report(study):
    accuracy, trained = trained_rows(study)
    table, largest = sizes(study, trained)
    mobilebert = (FOLDER / "mobilebert-int8.tflite").stat().st_size
    small = (FOLDER / "trained.1-int8.tflite").stat().st_size
    checkpoint = largest * (1 + ADAM_SLOTS)
    return "\n".join([
        "# A FlatBuffer for a device beside a large checkpoint", "",
        "Written by `./run results flatbuffer`. The study that this follows (arXiv:2310.03971) classifies tweets by reputation with a MobileBERT in",
        "TensorFlow Lite's FlatBuffer: 160 times smaller than BERT-large, 4.1 % less accuracy, at least one tweet per second. Its tweets cannot be",
        "had; airline_polarity, opinions on airlines, stands in for them.", "",
        f"{datetime.date.today()}, {results.processor()}. Thimble: one thread, native code, tweets of their own length, one at a time. LiteRT: one",
        f"thread of WebAssembly in Node.js, tweets padded to the {TOKENS} tokens of the file; its memory holds Node.js too. BERT-large and MobileBERT",
        "have random weights of the published shapes: their bytes and times are real, their answers are not asked for. The trained model",
        "is MobileBERT-shaped (preset mobilebert-mini: 4 blocks, 256 and 64 wide, 8,000 word pieces) and learned from nothing but the training set",
        "(recipes/airline_polarity.toml).", "",
        *accuracy, *table, "", "## 160 times", "",
        f"- **Like for like** it cannot be had with MobileBERT: float32 BERT-large over int8 MobileBERT is {largest / mobilebert:.1f} times, most of it",
        f"  the architecture ({largest / mobilebert / 4:.0f} to 1) and four times the type.",
        f"- It can be had against a **training checkpoint**: weights and {ADAM_SLOTS} moments of Adam are {checkpoint:,} bytes, which is",
        f"  {checkpoint / mobilebert:.0f} times the int8 MobileBERT. That is the likely origin of the published figure, and not a fair comparison: nobody",
        "  ships the moments.",
        f"- It can be had like for like with a **smaller model of the same kind**: the trained model's int8 file is {largest / small:.0f} times",
        "  smaller than float32 BERT-large, with the accuracy above. No BERT-large was fine-tuned here, so that the published drop of 4.1 %",
        "  against one has no figure of ours beside it.", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--thimble", default=str(ROOT / "build/release/bin/thimble"))
    parser.add_argument("--npm", default=str(ROOT / "build/npm"))
    parser.add_argument("--out", default=str(ROOT / "docs/results-flatbuffer.md"))
    options = parser.parse_args()
    pathlib.Path(options.out).write_text(report(Study(options)), encoding="utf-8")


if __name__ == "__main__":
    main()
