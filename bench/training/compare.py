"""Training throughput beside eager PyTorch: same architecture, same token ids, in one run, taking turns.

    compare.py --thimble PATH [--rounds N] [--steps N] [--quick] [--out docs/training-speed.md]

Texts have the lengths of 64 real tweets (bench/peers/text_lengths.json), 32 a batch. PyTorch pads each batch to its
longest text and is given its best number of threads, found first; tokens are counted without padding on both sides.
"""
import argparse
import datetime
import json
import pathlib
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH, WARM = 32, 5
CASES = [  # title, torch's name, ours
    ("BERT, 4 layers, 256 wide", "bert", ["--model", "bert-mini"]),
    ("MobileBERT, 4 blocks", "mobilebert", ["--model", "mobilebert", "--set", "num_hidden_layers=4"]),
]


def make_data(folder, steps):
    """A vocabulary of whole words, a TSV for us, and the same rows as ids in JSON for PyTorch."""
    lengths = json.loads((ROOT / "bench/peers/text_lengths.json").read_text())
    rng = random.Random(7)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [f"w{i}" for i in range(30522 - len(special))]
    (folder / "vocab.txt").write_text("\n".join(special + words) + "\n")
    rows, batches = [], []
    for _ in range(steps):
        batch = {"ids": [], "labels": []}
        for _ in range(BATCH):
            picked = [rng.randrange(len(words)) for _ in range(rng.choice(lengths))]
            label = rng.randrange(2)
            rows.append(" ".join(words[i] for i in picked) + "\t" + "ab"[label])
            batch["ids"].append([2] + [i + len(special) for i in picked] + [3])
            batch["labels"].append(label)
        batches.append(batch)
    (folder / "train.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    (folder / "train.json").write_text(json.dumps(batches))


def rate(seconds, tokens):
    return sum(tokens[WARM:]) / sum(seconds[WARM:])


def run_torch(folder, name, steps, threads, dropout):
    out = subprocess.run([sys.executable, str(ROOT / "bench/training/torch_train.py"), name,
                          str(folder / "train.json"), str(steps), str(threads), str(dropout)],
                         check=True, capture_output=True, text=True).stdout
    run = json.loads(out)
    return rate(run["seconds"], run["tokens"]), run["version"]


def run_thimble(folder, thimble, model, steps, threads, dropout):
    output = folder / "model.thimble"
    subprocess.run([thimble, "train", *model, "--vocab", str(folder / "vocab.txt"), "--train",
                    str(folder / "train.tsv"), "-o", str(output), "--max-steps", str(steps), "--epochs", "1000",
                    "--batch", str(BATCH), "--threads", str(threads), "--dropout", str(dropout),
                    "--attention-dropout", str(dropout), "--lr", "1e-4", "--checkpoint-every", "1e9"],
                   check=True, capture_output=True)
    log = [json.loads(line) for line in open(str(output) + ".log.jsonl", encoding="utf-8")]
    steps_ = [line for line in log if line["event"] == "step"]
    return rate([s["seconds"] for s in steps_], [s["tokens"] for s in steps_])


def processor():
    match = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.processor()


def compare(options, folder):
    rows, version = [], ""
    for title, name, model in CASES:
        for dropout in (0.1, 0.0):
            # Its best setting, by a short run of each.
            best = max(range(1, options.threads + 1),
                       key=lambda t: run_torch(folder, name, WARM + 10, t, dropout)[0])
            ours, theirs = [], []
            for _ in range(options.rounds):
                ours.append(run_thimble(folder, options.thimble, model, options.steps, options.threads, dropout))
                speed, version = run_torch(folder, name, options.steps, best, dropout)
                theirs.append(speed)
            ratios = [a / b for a, b in zip(ours, theirs)]
            rows.append((title, dropout, statistics.median(ours), statistics.median(theirs), best,
                         statistics.median(ratios), min(ratios), max(ratios)))
            print(f"{title}, dropout {dropout}: {rows[-1][2]:.0f} against {rows[-1][3]:.0f} tokens/s, "
                  f"{rows[-1][5]:.2f}x ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    return rows, version


def report(rows, version, options):
    lines = [
        "# Training throughput", "",
        "Written by `./run bench training`. Forward, backward, clipping and AdamW on batches of 32 texts with the",
        "lengths of real tweets; real tokens per second, padding not counted. Both sides take turns; the ratio is the",
        "median over rounds, with the smallest and the largest. PyTorch pads each batch to its longest text and has",
        "its best number of threads. Dropout is given apart because PyTorch's costs it much of its time on processors.", "",
        f"{datetime.date.today()}, {processor()}, {options.threads} threads, PyTorch {version}, "
        f"{options.rounds} rounds of {options.steps} steps.", "",
        "| model | dropout | Thimble, tokens/s | PyTorch, tokens/s | its threads | ratio | over rounds |",
        "|---|---:|---:|---:|---:|---:|---:|"]
    for title, dropout, ours, theirs, best, ratio, low, high in rows:
        lines.append(f"| {title} | {dropout} | {ours:.0f} | {theirs:.0f} | {best} | {ratio:.2f} | "
                     f"{low:.2f} to {high:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thimble", default=str(ROOT / "build/train/bin/thimble"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="2 rounds of 20 steps")
    parser.add_argument("--out", default=str(ROOT / "docs/training-speed.md"))
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps = 2, 20
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_data(folder, options.steps)
        rows, version = compare(options, folder)
    pathlib.Path(options.out).write_text(report(rows, version, options), encoding="utf-8")


if __name__ == "__main__":
    main()
