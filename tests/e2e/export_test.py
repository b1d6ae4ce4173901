"""thimble export: what leaves for other runtimes, as a person calls it.

What is in the files is checked where they are written: tests/onnx, tests/tflite, tests/huggingface. Here other programs judge: Python
reads the weights of a directory, PyTorch runs them, and Hugging Face's tokenizers read the tokenizer."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import zipfile

import support

HERE = pathlib.Path(__file__).resolve().parent
TEXTS = ["a thimble fits", "fitters in a TINY thimble!", "transformers, small? b. c", "", "\u00e4 b\u0301 [MASK] c [SEP] x",
         "\u4e2d\u6587 thimbles\u200b\ttiny", "a" * 120, "\U0001f600 it's 3,5\u20ac"]


class Export(support.TestCase):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "m.thimble"
        self.onnx = self.folder / "m.onnx"
        self.tflite = self.folder / "m.tflite"
        self.source = support.write_checkpoint(self.folder / "hf")
        self.succeed("import", self.source, "-o", self.model)

    def test_onnx(self):
        document = json.loads(self.succeed("export", self.model, "-o", self.onnx, "--json"))
        self.assertEqual(document, {"file": str(self.onnx), "format": "onnx", "opset": 17,
                                    "file_bytes": self.onnx.stat().st_size})
        content = self.onnx.read_bytes()
        for name in (b"input_ids", b"attention_mask", b"token_type_ids", b"logits"):
            self.assertIn(name, content)

    def test_weights_and_operator_set(self):
        self.succeed("export", self.model, "-o", self.onnx, "--weights", "int8", "--opset", "13")
        content = self.onnx.read_bytes()
        self.assertIn(b"MatMulInteger", content)
        self.assertNotIn(b"LayerNormalization", content)

    def test_tflite(self):
        document = json.loads(self.succeed("export", self.model, "-o", self.tflite, "--seq", "9", "--json"))
        self.assertEqual(document, {"file": str(self.tflite), "format": "tflite", "batch": 1, "sequence": 9,
                                    "file_bytes": self.tflite.stat().st_size})
        content = self.tflite.read_bytes()
        self.assertEqual(content[4:8], b"TFL3")
        for name in (b"ids", b"mask", b"segment_ids", b"logits", b"TFLITE_METADATA"):
            self.assertIn(name, content)
        with zipfile.ZipFile(self.tflite) as files:
            self.assertEqual(files.read("vocab.txt").decode().split(), support.VOCABULARY)
            self.assertIn("labels.txt", files.namelist())

    def test_tflite_options(self):
        self.succeed("export", self.model, "-o", self.tflite, "--scores", "--batch", "2", "--hidden")
        self.assertIn(b"probability", self.tflite.read_bytes())
        document = json.loads(self.succeed("export", self.model, "-o", self.tflite, "--resizable", "--json"))
        self.assertIsNone(document["sequence"])

    def test_tflite_integers(self):
        texts = self.folder / "texts.txt"
        texts.write_text("a thimble\nb fits , c\n" * 9)
        call = ("export", self.model, "-o", self.tflite, "--calib", texts, "--seq", "8")
        self.assertIn("--weights int8", self.fail_with(2, *call))
        self.succeed(*call, "--weights", "int8", "--int8-outputs")
        content = self.tflite.read_bytes()
        self.assertIn(b"/QUANTIZE", content)
        texts.write_text("")
        self.assertIn("no text", self.fail_with(1, *call, "--weights", "int8"))

    def test_wrong_tflite_calls(self):
        call = ("export", self.model, "-o", self.tflite)
        self.assertIn("at most", self.fail_with(2, *call, "--seq", "100000"))
        self.fail_with(2, *call, "--seq", "0")
        self.fail_with(2, *call, "--seq", "8", "--resizable")
        self.fail_with(2, *call, "--int8-outputs")
        self.assertFalse(self.tflite.exists())

    def test_wrong_calls(self):
        self.assertIn(".onnx", self.fail_with(2, "export", self.model, "-o", self.folder / "m.xyz"))
        self.fail_with(2, "export", self.model)
        self.fail_with(2, "export", self.model, "-o", self.onnx, "--opset", "12")
        self.assertIn("--mobile", self.fail_with(2, "export", self.model, "-o", self.onnx, "--mobile"))

    def test_comes_back(self):
        texts = "a thimble fits a tiny transformer\nsmall , tiny !\n"
        want = self.documents("predict", self.model, "--json", "--logits", stdin=texts)
        again = self.folder / "again.thimble"
        for options in ([], ["--opset", "13"], ["--weights", "f16"]):
            self.succeed("export", self.model, "-o", self.onnx, *options)
            document = json.loads(self.succeed("import", self.onnx, "-o", again, "--json"))
            self.assertEqual((document["architecture"], document["task"], document["labels"], document["tokenizer"]),
                             ("bert", "single_label", ["no", "maybe", "yes"], True))
            got = self.documents("predict", again, "--json", "--logits", stdin=texts)
            for one, other in zip(want, got, strict=True):
                self.assertEqual(one["label"], other["label"])
                for x, y in zip(one["logits"], other["logits"], strict=True):
                    self.assertAlmostEqual(x, y, delta=5e-3 if "f16" in options else 1e-5)

    def test_takes_what_is_beside_a_file_without_metadata(self):
        folder = self.folder / "optimum"
        folder.mkdir()
        self.succeed("export", self.model, "-o", folder / "model.onnx")
        content = (folder / "model.onnx").read_bytes()
        (folder / "model.onnx").write_bytes(content.replace(b"thimble.t", b"unknown.t"))
        for name in ("config.json", "vocab.txt"):
            shutil.copy(self.folder / "hf" / name, folder)
        document = json.loads(self.succeed("import", folder, "-o", self.folder / "o.thimble", "--json"))
        self.assertEqual((document["task"], document["labels"], document["tokenizer"]),
                         ("single_label", ["no", "maybe", "yes"], True))

    def test_refuses_files_that_are_none(self):
        output = self.folder / "bad.thimble"
        for content in (b"", b"no ONNX file at all", b"\x08\x08"):
            self.onnx.write_bytes(content)
            self.assertIn("m.onnx", self.fail_with(1, "import", self.onnx, "-o", output))
        self.assertIn("m2.onnx", self.fail_with(1, "import", self.folder / "m2.onnx", "-o", output))
        self.assertFalse(output.exists())

    def test_agrees_with_onnx_runtime(self):
        support.need("onnxruntime-node")
        environment = {**os.environ, "THIMBLE_NPM": str(support.NPM)}
        document = json.loads(self.succeed("export", self.model, "-o", self.onnx, "--atol", "1e-4", "--json",
                                           env=environment))
        self.assertLess(document["largest_difference"]["logits"], 1e-4)
        self.onnx.unlink()
        line = self.fail_with(4, "export", self.model, "-o", self.onnx, "--weights", "int8", "--atol", "1e-9",
                              env=environment)
        self.assertIn("--atol allows 1e-09", line)
        self.assertEqual([path.name for path in self.folder.glob("m.onnx*")], [])

    def test_says_that_there_is_no_onnx_runtime(self):
        environment = {**os.environ, "THIMBLE_NPM": str(self.folder), "PATH": ""}
        line = self.fail_with(1, "export", self.model, "-o", self.onnx, "--atol", "1e-4", env=environment, cwd=self.folder)
        self.assertIn("npm install onnxruntime-node", line)
        self.assertFalse(self.onnx.exists())

    def test_bad_models(self):
        self.model.write_bytes(self.model.read_bytes()[:500])
        self.assertIn("m.thimble", self.fail_with(1, "export", self.model, "-o", self.onnx))
        self.assertFalse(self.onnx.exists())
        self.assertIn("m.thimble", self.fail_with(1, "export", self.model, "-o", self.folder / "out"))
        self.assertFalse((self.folder / "out").exists())


class Directory(support.TestCase):
    def export(self, *options, **changes):
        """A checkpoint with `changes`, imported and exported; the document that export printed."""
        self.model, self.out = self.folder / "m.thimble", self.folder / "out"
        self.source = support.write_checkpoint(self.folder / "hf", **changes)
        self.succeed("import", self.source, "-o", self.model)
        return json.loads(self.succeed("export", self.model, "-o", self.out, "--json", *options))

    def logits(self, model):
        text = "\n".join(TEXTS[:3])
        return [line["logits"] for line in self.documents("predict", model, "-", "--json", "--logits", stdin=text)]

    def logits_of_torch(self, script, path):
        """What PyTorch makes of the ids of the same texts, padded to one rectangle."""
        python = support.need_torch()
        rows = self.documents("tokenize", "--vocab", self.source / "vocab.txt", "-", "--json", stdin="\n".join(TEXTS[:3]))
        longest = max(len(row["input_ids"]) for row in rows) + 2
        batch = {key: [row[key] + [0] * (longest - len(row[key])) for row in rows]
                 for key in ("input_ids", "attention_mask", "token_type_ids")}
        result = subprocess.run([python, HERE / script, path], input=json.dumps(batch).encode(), capture_output=True)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return json.loads(result.stdout)

    def assert_close(self, got, want, tolerance=1e-5):
        self.assertEqual(len(got), len(want))
        for a, b in zip(got, want):
            if isinstance(b, list):
                self.assert_close(a, b, tolerance)
            else:
                self.assertAlmostEqual(a, b, delta=tolerance)

    def test_what_is_in_it(self):
        document = self.export()
        self.assertEqual(document["format"], "huggingface")
        self.assertEqual(document["class"], "BertForSequenceClassification")
        self.assertEqual(document["files"], sorted(path.name for path in self.out.iterdir()))
        self.assertEqual(document["file_bytes"], sum(path.stat().st_size for path in self.out.iterdir()))
        self.assertEqual(document["notes"], [])
        metadata, tensors = support.read_safetensors(self.out / "model.safetensors")
        self.assertEqual(metadata, {"format": "pt"})
        self.assertEqual(tensors, support.read_safetensors(self.source / "model.safetensors")[1])
        config = json.loads((self.out / "config.json").read_text())
        for key, value in json.loads((self.source / "config.json").read_text()).items():
            self.assertEqual(config[key], value, key)
        self.assertEqual((self.out / "vocab.txt").read_text(), (self.source / "vocab.txt").read_text())
        card = (self.out / "README.md").read_text()
        self.assertTrue(card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-classification\n"), card)
        for part in ("# out", "BertForSequenceClassification", "| maybe | 1 |", "source\\_sha256", "parameters"):
            self.assertIn(part, card)

    def test_comes_back_the_same(self):
        self.export()
        again = self.folder / "again.thimble"
        self.succeed("import", self.out, "-o", again)
        self.assertEqual(self.logits(again), self.logits(self.model))
        # What was exported before is replaced, and nothing is left beside it.
        self.succeed("export", again, "-o", f"{self.out}/")
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["again.thimble", "hf", "m.thimble", "out"])

    def test_types_of_weights(self):
        self.export("--weights", "f16")
        _, tensors = support.read_safetensors(self.out / "model.safetensors")
        self.assertEqual(tensors["classifier.weight"][0], "F16")
        self.succeed("export", self.model, "-o", self.out, "--weights", "int8")
        _, tensors = support.read_safetensors(self.out / "model.safetensors")
        self.assertEqual(tensors["classifier.weight"][0], "F32")
        self.assertLessEqual({dtype for dtype, _, _ in tensors.values()}, {"F32", "F16"})

    def test_pytorch_computes_the_same(self):
        self.export()
        self.assert_close(self.logits_of_torch("torch_bert.py", self.out), self.logits(self.model))

    def test_pruned_heads(self):
        self.export(pruned_heads={"1": [0]})
        config = json.loads((self.out / "config.json").read_text())
        self.assertEqual(config["pruned_heads"], {"1": [1]})  # which ones they were nobody can tell
        _, tensors = support.read_safetensors(self.out / "model.safetensors")
        self.assertEqual(tensors, support.read_safetensors(self.source / "model.safetensors")[1])
        self.assert_close(self.logits_of_torch("torch_bert.py", self.out), self.logits(self.model))

    def test_tokenizers_of_hugging_face(self):
        support.need("tokenizers")
        self.export()
        texts = [text for text in TEXTS if "\n" not in text]
        call = ["node", HERE / "tokenize.mjs", support.NPM, self.out / "tokenizer.json"]
        result = subprocess.run(call, input=json.dumps(texts).encode(), capture_output=True)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        lines = "".join(text + "\n" for text in texts)
        ours = self.documents("tokenize", "--vocab", self.source / "vocab.txt", "-", "--json", stdin=lines)
        by_export = self.documents("tokenize", "--tokenizer", self.out, "-", "--json", stdin=lines)
        theirs = json.loads(result.stdout)
        for text, a, b, c in zip(texts, ours, by_export, theirs, strict=True):
            self.assertEqual(a["input_ids"], c, text)
            self.assertEqual(b, a, text)

    def test_refused(self):
        self.export()
        before = sorted(self.folder.iterdir())
        (self.out / "notes.txt").write_text("mine")
        self.assertIn("'notes.txt'", self.fail_with(2, "export", self.model, "-o", self.out))
        self.assertIn("cannot write", self.fail_with(1, "export", self.model, "-o", self.folder / "none/out"))
        self.assertIn("no directory", self.fail_with(2, "export", self.model, "-o", f"{self.model}/"))
        self.assertEqual(sorted(self.folder.iterdir()), before)

    def test_torchscript(self):
        if not pathlib.Path(support.THIMBLE).with_name("thimble-train").exists():
            self.skipTest("thimble-train is not built")
        self.export()
        for name, options in (("m.pt", []), ("m.ptl", []), ("f16.pt", ["--weights", "f16"]), ("m2.pt", ["--mobile"])):
            with self.subTest(name):
                path = self.folder / name
                document = json.loads(self.succeed("export", self.model, "-o", path, "--json", *options))
                mobile = name in ("m.ptl", "m2.pt")
                self.assertEqual(document, {"file": str(path), "format": "torchscript", "mobile": mobile,
                                            "file_bytes": path.stat().st_size})
                tolerance = 1e-2 if options == ["--weights", "f16"] else 1e-5
                self.assert_close(self.logits_of_torch("torchscript.py", path), self.logits(self.model), tolerance)
        text = self.succeed("export", self.model, "-o", self.folder / "m.pt")
        self.assertRegex(text, re.escape(str(self.folder)) + r"/m\.pt: TorchScript, [0-9.]+ KiB\n")
        self.model.write_bytes(b"no model")
        self.assertIn("m.thimble", self.fail_with(1, "export", self.model, "-o", self.folder / "bad.pt"))
        self.assertFalse((self.folder / "bad.pt").exists())


if __name__ == "__main__":
    support.main()
