#!/usr/bin/env python3
"""logits_test.py FOLDER MODEL PROGRAM...: the example's logits beside those of x86-64.

PROGRAM is examples/classify.c, behind its emulator if it needs one. FOLDER/expected_logits.txt has one line per
model and text: model, text and logits, separated by tabs. float32 differs by the order of additions (graphs of this
depth and width: below 1e-4). With --write in place of MODEL the file is written from this machine's results.
"""

import pathlib
import subprocess
import sys

TEXTS = ["a fine film", "bad", "", "where is it? it is in Paris.", "\u00e9 unknown w\u00f6rds ##ly", "a " * 200]
TOLERANCE = 1e-4


def logits_of(program, model):
    """The logits of every text, as the program prints them."""
    run = subprocess.run([*program, "--logits", str(model), *TEXTS], stdout=subprocess.PIPE, check=True, text=True)
    return [[float(value) for value in line.split()] for line in run.stdout.splitlines()]


def main(folder, model, *program):
    expected_file = pathlib.Path(folder) / "expected_logits.txt"
    if model == "--write":
        lines = []
        for name in ("float32", "int8"):
            for text, values in zip(TEXTS, logits_of(program, pathlib.Path(folder) / f"{name}.thimble")):
                lines.append("\t".join([name, repr(text), *map(repr, values)]))
        expected_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return 0
    rows = [line.split("\t") for line in expected_file.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row[0] == model]
    found = logits_of(program, pathlib.Path(folder) / f"{model}.thimble")
    if len(rows) != len(TEXTS) or len(found) != len(TEXTS):
        print(f"{len(rows)} expected and {len(found)} found logits for {len(TEXTS)} texts")
        return 1
    worst = 0.0
    for row, text, values in zip(rows, TEXTS, found):
        expected = [float(value) for value in row[2:]]
        if row[1] != repr(text) or len(values) != len(expected):
            print(f"{text!r}: expected {row[1]} with {len(expected)} logits, found {len(values)}")
            return 1
        worst = max([worst, *(abs(a - b) for a, b in zip(values, expected))])
        if not worst <= TOLERANCE:
            print(f"{model}, {text!r}: {values}, expected {expected}: {worst:.3g} apart, bound {TOLERANCE:g}")
            return 1
    print(f"{model}: worst difference to x86-64 {worst:.3g}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
