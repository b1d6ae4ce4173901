"""What the end-to-end tests share: running the program, and a checkpoint to run it on.

Each test file is a unittest that ctest runs with THIMBLE naming the program; main() reports its cases
in the form that gtest programs use, so that tools/test_summary.py counts them alike.
"""

import functools
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as xml

THIMBLE = os.environ["THIMBLE"]
ROOT = pathlib.Path(__file__).resolve().parents[2]
NPM = pathlib.Path(os.environ.get("THIMBLE_NPM", ROOT / "build/npm"))  # where tools/judges.sh puts runtimes of others
# With sanitizers everything is about ten times slower; no run of these tests takes a second without.
TIMEOUT_SECONDS = 60


def run(*arguments, stdin=b"", **options):
    """Runs the program to its end. Text in, a CompletedProcess with bytes out."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    return subprocess.run([THIMBLE, *map(str, arguments)], input=stdin, capture_output=True,
                          timeout=TIMEOUT_SECONDS, **options)


def shared(path):
    """Where the optional goldens have `path`, or None: $THIMBLE_SHARED, or `shared` beside the checkout."""
    found = pathlib.Path(os.environ.get("THIMBLE_SHARED", ROOT.parent / "shared")) / path
    return found if found.exists() else None


def read_safetensors(path):
    """Metadata, and {name: (type, shape, bytes)}, by the format's description and nothing of ours."""
    content = path.read_bytes()
    length, = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    metadata = header.pop("__metadata__", {})
    data = content[8 + length:]
    ends = sorted(entry["data_offsets"] for entry in header.values())
    if [begin for begin, _ in ends] != [0] + [end for _, end in ends[:-1]] or ends[-1][1] != len(data):
        raise ValueError(f"{path}: tensors do not cover the data")
    return metadata, {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
                      for name, entry in header.items()}


@functools.cache
def python_with_torch():
    """A Python that has PyTorch, or None."""
    for python in (sys.executable, "/usr/bin/python3"):
        probe = [python, "-c", "import torch"]
        if os.path.exists(python) and subprocess.run(probe, capture_output=True).returncode == 0:
            return python
    return None


def need(*packages, programs=("node",)):
    """Skips the test, or the class, where a program or an npm package of tests/judges is missing."""
    for program in programs:
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"no {program}")
    for package in packages:
        if not (NPM / "node_modules" / package).exists():
            raise unittest.SkipTest(f"no {package} in {NPM}: sh tools/judges.sh fetches it")


def need_torch():
    """A Python that has PyTorch; skips the test where there is none."""
    python = python_with_torch()
    if python is None:
        raise unittest.SkipTest("no Python here has PyTorch (Debian: python3-torch)")
    return python


class TestCase(unittest.TestCase):
    def kill_at_first_checkpoint(self, call, output):
        """Starts a training run that writes `output`, and kills it once it has a checkpoint."""
        process = subprocess.Popen([THIMBLE, *map(str, call)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + TIMEOUT_SECONDS
        while not os.path.exists(f"{output}.checkpoint") and time.time() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
        self.assertFalse(output.exists())

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="thimble-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def succeed(self, *arguments, **options):
        """Runs, expects exit 0 and a silent standard error, returns standard output as text."""
        result = run(*arguments, **options)
        self.assertEqual((result.returncode, result.stderr.decode()), (0, ""), arguments)
        return result.stdout.decode()

    def fail_with(self, code, *arguments, **options):
        """Runs, expects that exit code, nothing on standard output, one line on standard error."""
        result = run(*arguments, **options)
        line = result.stderr.decode()
        self.assertEqual(result.returncode, code, (arguments, line))
        self.assertEqual(result.stdout, b"", arguments)
        self.assertRegex(line, r"\Athimble: [^\n]+\n\Z", arguments)
        return line

    def documents(self, *arguments, **options):
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.succeed(*arguments, **options).splitlines()]


VOCABULARY = ("[PAD] [UNK] [CLS] [SEP] [MASK] a b c thimble ##s fit transform ##er ##ers in tiny "
              "small , . ! ?").split()


def bert_tensors(config):
    """(name, shape) of a BERT for sequence classification, as transformers names them."""
    h, i = config["hidden_size"], config["intermediate_size"]

    def linear(name, outputs, inputs):
        return [(name + ".weight", (outputs, inputs)), (name + ".bias", (outputs,))]

    def norm(name):
        return [(name + ".weight", (h,)), (name + ".bias", (h,))]

    e = "bert.embeddings."
    tensors = [(e + "word_embeddings.weight", (config["vocab_size"], h)),
               (e + "position_embeddings.weight", (config["max_position_embeddings"], h)),
               (e + "token_type_embeddings.weight", (config["type_vocab_size"], h))]
    tensors += norm(e + "LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        p = f"bert.encoder.layer.{layer}."
        heads = config["num_attention_heads"]
        pruned = config.get("pruned_heads", {}).get(str(layer), [])
        width = h // heads * (heads - len(pruned))
        for part in ("query", "key", "value"):
            tensors += linear(f"{p}attention.self.{part}", width, h)
        tensors += linear(p + "attention.output.dense", h, width) + norm(p + "attention.output.LayerNorm")
        tensors += linear(p + "intermediate.dense", i, h)
        tensors += linear(p + "output.dense", h, i) + norm(p + "output.LayerNorm")
    return tensors + linear("bert.pooler.dense", h, h) + linear("classifier", 3, h)


def write_safetensors(path, tensors, seed=1, numbers=None):
    """Writes float32 tensors, given as (name, shape): what `numbers` has for a name, else random ones."""
    generator = random.Random(seed)
    header, data = {}, bytearray()
    for name, shape in tensors:
        count = 1
        for dimension in shape:
            count *= dimension
        begin = len(data)
        values = (numbers or {}).get(name) or [generator.uniform(-0.5, 0.5) for _ in range(count)]
        data += struct.pack(f"<{count}f", *values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_checkpoint(folder, **changes):
    """A tiny BERT with three labels as a Hugging Face directory; `changes` override its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["BertForSequenceClassification"], "model_type": "bert",
        "hidden_act": "gelu", "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2,
        "num_hidden_layers": 2, "max_position_embeddings": 32, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "vocab_size": len(VOCABULARY), "pad_token_id": 0,
        "id2label": {"0": "no", "1": "maybe", "2": "yes"},
        "label2id": {"no": 0, "maybe": 1, "yes": 2}, "problem_type": "single_label_classification",
    }
    config.update(changes)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 32}))
    write_safetensors(folder / "model.safetensors", bert_tensors(config))
    return folder


def write_question_answerer(folder):
    """The same with a head for answers, and room for the 384 tokens that BertQuestionAnswerer gives. Its answers are in the
    context: tokens of the second text stand out."""
    write_checkpoint(folder, architectures=["BertForQuestionAnswering"], max_position_embeddings=384)
    config = json.loads((folder / "config.json").read_text())
    h = config["hidden_size"]
    tensors = [(name, shape) for name, shape in bert_tensors(config)
               if not name.startswith(("classifier", "bert.pooler"))]
    tensors += [("qa_outputs.weight", (2, h)), ("qa_outputs.bias", (2,))]
    numbers = {name: [1] * h for name, _ in tensors if name.endswith("LayerNorm.weight")}
    second = [2, -2] * (h // 2)
    numbers["bert.embeddings.position_embeddings.weight"] = [0] * (384 * h)  # all padding is alike
    for name, shape in tensors:
        if name.endswith("output.dense.weight"):
            numbers[name] = [0.01] * (shape[0] * shape[1])
    numbers["bert.embeddings.token_type_embeddings.weight"] = [0] * h + second
    numbers["qa_outputs.weight"] = [x + 0.1 * sign * i for sign in (1, -1) for i, x in enumerate(second)]
    write_safetensors(folder / "model.safetensors", tensors, numbers=numbers)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 384}))
    return folder


class Report(unittest.TextTestResult):
    """Keeps every outcome for the report."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.cases = []

    def add(self, test, tag=None, message=""):
        # A class that is skipped as a whole is called "setUpClass (module.Class)" here.
        classname = str(test)[:-1].rpartition(".")[2] if str(test).startswith("setUpClass") else type(test).__name__
        case = xml.Element("testcase", classname=classname, status="run", name=str(test).split()[0])
        if tag:
            xml.SubElement(case, tag, message=str(message))
        self.cases.append(case)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.add(test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.add(test, "failure", error[1])

    def addError(self, test, error):
        super().addError(test, error)
        self.add(test, "failure", repr(error[1]))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.add(test, "skipped", reason)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self.add(test, "failure", error[1])


def main():
    name = sys.argv[1]
    program = unittest.main(module="__main__", argv=sys.argv[:1], exit=False,
                            testRunner=unittest.TextTestRunner(resultclass=Report))
    output = os.environ.get("GTEST_OUTPUT", "")
    if output.startswith("xml:"):
        root = xml.Element("testsuites")
        root.extend(program.result.cases)
        folder = pathlib.Path(output.removeprefix("xml:"))
        folder.mkdir(parents=True, exist_ok=True)
        xml.ElementTree(root).write(folder / f"{name}.xml")
    sys.exit(0 if program.result.wasSuccessful() else 1)
