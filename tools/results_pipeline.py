#!/usr/bin/env python3
"""Runs the compression recipes on real data and writes docs/results-pipeline.md.

    results_pipeline.py --data DIR --encoder ENCODER.thimble [--seeds N] [NAME...]

DIR is that of results.py; the encoder is the sentence encoder of ./run demo embeddings, which the English recipes start from. Each
recipe is run with N seeds (--set seed=N); its own limits decide, on the validation set, and the test set is measured once per run. Steps
are kept in build/results/pipeline, so that a second call goes on where the first stopped.
"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess

import results

ROOT = results.ROOT
FOLDER = ROOT / "build/results/pipeline"
NAMES = ("clinc150", "mahasent_gt", "tweet_sentiment")


def compress(name, seed, options):
    """The report of one run."""
    folder = options.data / results.SETS[name].folder
    recipe = ROOT / f"recipes/compress_{name}.toml"
    files = {"train": results.find(folder, "train"), "valid": results.find(folder, "val", "valid"),
             "test": results.find(folder, "test")}
    if "{encoder}" in recipe.read_text():
        if not options.encoder:
            raise SystemExit(f"results: {name} starts from the sentence encoder: --encoder ENCODER.thimble")
        files["encoder"] = options.encoder
    output = FOLDER / f"{name}.{seed}"
    command = [options.thimble, "compress", recipe, "-o", output, "--resume", "--set", f"seed={seed}"]
    for key, path in files.items():
        command += ["--file", f"{key}={path}"]
    done = subprocess.run([str(a) for a in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode not in (0, 3):  # 3: a limit was missed, which the table says
        raise SystemExit(f"results: {done.stderr.strip().splitlines()[-1]}")
    return json.loads((output / "report.json").read_text())


def of(reports, value):
    """Each run's figure; where there are several, also their median."""
    values = [value(report["passes"][report["chosen"]], report) for report in reports]
    return values, statistics.median(values)


def row(name, reports):
    metric = reports[0]["metric"]
    _, before = of(reports, lambda p, _: p["reference"]["file_bytes"])
    _, after = of(reports, lambda p, _: p["result"]["file_bytes"])
    smaller, _ = of(reports, lambda p, _: p["result"]["smaller"])
    faster, _ = of(reports, lambda p, _: p["result"]["faster"])
    loss, _ = of(reports, lambda p, _: 100 * p["result"]["loss"])
    score, _ = of(reports, lambda p, _: p["reference"]["score"])
    small, _ = of(reports, lambda p, _: p["result"]["score"])
    test = [report["test"]["metrics"][metric] for report in reports]
    met = sum(report["limits_met"] for report in reports)
    each = lambda values, form: " ".join(format(v, form) for v in values)
    minutes = statistics.median(report["spent"]["seconds"] for report in reports) / 60
    return (f"| {name} | {metric} | {before / 2**20:.1f} | {after / 2**20:.2f} | **{each(smaller, '.1f')}** | {each(faster, '.1f')} | "
            f"{results.spread(score)} | {results.spread(small)} | **{each(loss, '.2f')}** | {results.spread(test)} | "
            f"{met} of {len(reports)} | {minutes:.0f} |")


def steps(name, report):
    """What each step of the first run brought."""
    lines = ["", f"## {name}, step by step (seed 1)", "", "| step | verb | MiB | ms | " + report["metric"] + " | loss of the step | |",
             "|---|---|---:|---:|---:|---:|---|"]
    for step in report["passes"][report["chosen"]]["steps"]:
        model = step.get("model")
        if not model:
            continue
        score = f"{100 * model['score']:.2f}" if "score" in model else ""
        loss = f"{100 * step['loss']:.2f} %" if "loss" in step else ""
        note = step["decision"] + (": " + step["reason"] if "reason" in step else "")
        lines.append(f"| {step['name']} | {step['verb']} | {model['file_bytes'] / 2**20:.2f} | {model['p50_ms']:.3f} | {score} | {loss} | {note} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--encoder", help="the sentence encoder as .thimble")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--thimble", default=str(ROOT / "build/release/bin/thimble"))
    parser.add_argument("--out", default=str(ROOT / "docs/results-pipeline.md"))
    options = parser.parse_args()
    names = results.names_of(options, NAMES, "recipe compress_*.toml for")
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = ["# The pipeline on real data", "",
             f"Written by `./run results pipeline`, {datetime.date.today()}, {results.processor()}. Each recipe "
             "(`recipes/compress_*.toml`) starts with the", "float32 teacher that it makes, and every figure compares with that. Scores are in "
             "percent, mean and standard deviation over the", "seeds; size, speed and loss (relative, of the validation set) are given for "
             "each seed. The test set was measured once per run.", "",
             "| data | metric | teacher MiB | MiB | times smaller | times faster | teacher, validation | result, validation | loss % | "
             "result, test | limits met | minutes |", "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    more = []
    for name in names:
        reports = [compress(name, seed, options) for seed in range(1, options.seeds + 1)]
        lines.append(row(name, reports))
        more += steps(name, reports[0])
        print(lines[-1], flush=True)
    pathlib.Path(options.out).write_text("\n".join(lines + more) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
