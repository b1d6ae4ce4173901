#!/usr/bin/env python3
"""Takes every text golden through every format, computes it there in somebody else's runtime, and writes the matrix of
docs/formats.md. tests/e2e/formats_test.py measures with the same code and judges.

    results_formats.py [--thimble PROGRAM] [--goldens DIR] [--npm DIR] [--python PYTHON]

A golden is a checkpoint with what Hugging Face's library computed from it. It is imported, exported, and run on the recorded
ids: tools/check_export.mjs says how far the outputs are from the recorded ones, and in how many rows of logits the largest is
the same. Needs Node.js, the packages of tests/judges/package.json and a Python with PyTorch.
"""
import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import NamedTuple

import results

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEXT_MODELS = ("albert", "bert", "distilbert", "mobilebert", "roberta")
COUNTS = ("outputs", "runs", "rows", "same", "decided", "kept")  # as tools/check_export.mjs has them
BEGIN, END = "<!-- matrix: written by ./run results formats -->", "<!-- end of the matrix -->"


class Form(NamedTuple):
    """A column: what export is asked for, and what may be lost by it."""
    name: str
    ending: str  # of the file; "" is a directory, ".thimble" what export starts from
    options: tuple = ()
    tolerance: float = 2e-5  # that of the goldens, for float32 in any order of summation
    agreement: float = 1.0  # share of decided rows of logits with the same largest


# Of int8, with random weights, the agreement is what counts.
FORMS = (
    Form("Thimble", ".thimble"),
    Form("Hugging Face directory", ""),
    Form("TFLite f32", ".tflite", tolerance=1e-4),
    Form("TFLite f16", ".tflite", ("--weights", "f16"), 1e-2),
    Form("TFLite int8", ".tflite", ("--weights", "int8"), 0.15, 0.99),
    Form("ONNX f32", ".onnx"),
    Form("ONNX f32, opset 13", ".onnx", ("--opset", "13")),
    Form("ONNX f16", ".onnx", ("--weights", "f16"), 1e-2),
    # Of signed codes ONNX Runtime's products saturate where a processor has no VNNI.
    Form("ONNX int8", ".onnx", ("--weights", "int8", "--unsigned"), 0.15, 0.99),
    Form("TorchScript", ".pt"),
)


class Golden(NamedTuple):
    folder: pathlib.Path
    runs: dict  # {"run0": {"input_ids": [[...]], ...}}
    outputs: set  # names

    @property
    def expected(self):
        return self.folder / "expected.safetensors"

    def lengths(self):
        return sorted({len(inputs["input_ids"][0]) for inputs in self.runs.values()})


def goldens_in(folder):
    """The text goldens that hold their weights."""
    found = []
    for path in sorted(folder.glob("*/expected.safetensors")):
        config = json.loads((path.parent / "config.json").read_text()) if (path.parent / "config.json").exists() else {}
        if config.get("model_type") not in TEXT_MODELS or (path.parent / "recipe.json").exists():
            continue
        runs = json.loads((path.parent / "expected.json").read_text())["runs"]
        found.append(Golden(path.parent, {f"run{run['index']}": {name: value["data"] for name, value in run["inputs"].items()}
                                          for run in runs}, set(runs[0]["outputs"])))
    return found


class Judge:
    def __init__(self, thimble, npm, python, folder):
        self.thimble, self.npm, self.python, self.folder = thimble, npm, python, folder

    def call(self, *arguments, stdin=None):
        done = subprocess.run([str(a) for a in arguments], input=stdin, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, arguments[:6]))}: {done.stderr.strip()}")
        return done.stdout

    def imported(self, golden):
        """The golden as a .thimble file, made once."""
        model = self.folder / f"{golden.folder.name}.thimble"
        if not model.exists():
            self.call(self.thimble, "import", golden.folder, "-o", model)
        return model

    def computed(self, golden, model, stem):
        """What Thimble computes, in the form that tools/check_export.mjs reads."""
        lines = [json.dumps({name: rows[i] for name, rows in inputs.items()})
                 for inputs in golden.runs.values() for i in range(len(inputs["input_ids"]))]
        rows = iter(self.call(self.thimble, "predict", model, "--ids", "--json", "--logits", "--hidden",
                              stdin="\n".join(lines) + "\n").splitlines())
        outputs = {}
        for run, inputs in golden.runs.items():
            outputs[run] = {}
            for _ in inputs["input_ids"]:
                row = json.loads(next(rows))
                if isinstance(row.get("logits"), dict):
                    row |= {f"{key}_logits": values for key, values in row.pop("logits").items()}
                for name, values in row.items():
                    if name.endswith("logits") or name in golden.outputs:
                        outputs[run].setdefault(name, []).extend(flat(values))
        path = self.folder / f"{stem}.json"
        path.write_text(json.dumps(outputs))
        return path

    def files(self, golden, form, stem):
        """What there is to run of a golden in that form: [(file, TorchScript request or None)]."""
        model = self.imported(golden)
        if form.ending == ".thimble":
            return [(self.computed(golden, model, stem), None)]
        if form.ending == "":
            self.call(self.thimble, "export", model, "-o", self.folder / stem, *form.options)
            again = self.folder / f"{stem}.thimble"
            self.call(self.thimble, "import", self.folder / stem, "-o", again)
            return [(self.computed(golden, again, stem), None)]
        if form.ending == ".tflite":
            files = [(self.folder / f"{stem}-{length}.tflite", ("--seq", length, "--hidden")) for length in golden.lengths()]
        else:
            files = [(self.folder / f"{stem}{form.ending}", ())]
        for file, options in files:
            self.call(self.thimble, "export", model, "-o", file, *form.options, *options)
        if form.ending != ".pt":
            return [(file, None) for file, _ in files]
        names = [name for name in ("start_logits", "end_logits", "logits", "prediction_logits", "seq_relationship_logits")
                 if name in golden.outputs] or [n for n in ("last_hidden_state", "pooler_output") if n in golden.outputs]
        outputs = files[0][0].with_suffix(".json")
        return [(outputs, {"file": str(files[0][0]), "runs": golden.runs, "names": names, "output": str(outputs)})]

    def measure(self, form, goldens):
        """{golden: {"worst", "rows", ...}}: how far what that form computes is from what was recorded."""
        pairs, requests = [], []
        for golden in goldens:
            stem = f"{golden.folder.name}-{FORMS.index(form)}"
            for file, request in self.files(golden, form, stem):
                pairs.append((file, golden))
                requests += [request] if request else []
        if requests:
            self.call(self.python, ROOT / "tools/torchscript_outputs.py", stdin=json.dumps(requests))
        arguments = [path for file, golden in pairs for path in (file, golden.expected)]
        lines = self.call("node", ROOT / "tools/check_export.mjs", "--npm", self.npm, "--json", "--tolerance", "Infinity",
                          *arguments).splitlines()
        cells = {}
        for (_, golden), line in zip(pairs, lines, strict=True):
            document = json.loads(line)
            document["worst"] = float(document["worst"])
            name = golden.folder.name
            cells[name] = total([cells[name], document]) if name in cells else document
        return cells


def flat(values):
    return [x for row in values for x in row] if isinstance(values[0], list) else values


def total(cells):
    return {"worst": max(cell["worst"] for cell in cells), **{key: sum(cell[key] for cell in cells) for key in COUNTS}}


def text_of(cell):
    """A cell of the table: the worst difference, and where it is not all, the share of rows with the same largest."""
    share = f", {100 * cell['same'] / cell['rows']:.1f} %" if cell["same"] < cell["rows"] else ""
    return f"{cell['worst']:.0e}".replace("e-0", "e-") + share


def matrix(columns):
    """The table, of {form: cells}."""
    lines = ["| golden | " + " | ".join(form.name for form in columns) + " |", "|---|" + "---|" * len(columns)]
    for golden in next(iter(columns.values())):
        lines.append(f"| {golden} | " + " | ".join(text_of(cells[golden]) for cells in columns.values()) + " |")
    lines.append("| **all** | " + " | ".join(text_of(total(cells.values())) for cells in columns.values()) + " |")
    return lines


def version(npm, package):
    return json.loads((npm / "node_modules" / package / "package.json").read_text())["version"]


def method(columns, options):
    """What stands below the table: how much was measured, on what, and of how many decided rows the largest is kept."""
    totals = {form.name: total(cells.values()) for form, cells in columns.items()}
    ours = totals[FORMS[0].name]
    kept = [f"{name} of {100 * cell['kept'] / cell['decided']:.1f} %" for name, cell in totals.items()
            if cell["kept"] < cell["decided"]]
    torch = subprocess.run([options.python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    return [f"{ours['runs']} runs, {ours['rows']} rows of logits, {ours['decided']} of them decided, whose largest all forms keep"
            + (f" but {', '.join(kept)}" if kept else "") + ".",
            f"{datetime.date.today()}, {results.processor()}; LiteRT {version(options.npm, '@litertjs/core')}, "
            f"ONNX Runtime {version(options.npm, 'onnxruntime-node')}, PyTorch {torch.stdout.strip()}."]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thimble", type=pathlib.Path, default=ROOT / "build/release/bin/thimble")
    parser.add_argument("--goldens", type=pathlib.Path, default=ROOT.parent / "shared/goldens/hf")
    parser.add_argument("--npm", type=pathlib.Path, default=ROOT / "build/npm")
    parser.add_argument("--python", default="/usr/bin/python3", help="one that has PyTorch")
    options = parser.parse_args()
    goldens = goldens_in(options.goldens)
    if not goldens:
        raise SystemExit(f"results: no text goldens in {options.goldens}")
    columns = {}
    with tempfile.TemporaryDirectory(prefix="thimble-formats-") as folder:
        judge = Judge(options.thimble, options.npm, options.python, pathlib.Path(folder))
        for form in FORMS:
            try:
                columns[form] = judge.measure(form, goldens)
            except (OSError, RuntimeError) as error:
                raise SystemExit(f"results: {form.name}: {error}") from error
            print(f"{form.name}:", text_of(total(columns[form].values())), flush=True)
    page = ROOT / "docs/formats.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    page.write_text(before + "\n".join([BEGIN, *matrix(columns), "", *method(columns, options), END]) + after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
