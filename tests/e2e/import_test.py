"""thimble import: a checkpoint in, one file out; checkpoints that are not whole."""

import json
import struct

import support


class Import(support.TestCase):
    def setUp(self):
        super().setUp()
        self.checkpoint = support.write_checkpoint(self.folder / "hf")
        self.model = self.folder / "m.thimble"

    def test_summary(self):
        document = json.loads(self.succeed("import", self.checkpoint, "-o", self.model, "--json"))
        self.assertEqual(document["architecture"], "bert")
        self.assertEqual(document["task"], "single_label")
        self.assertEqual(document["labels"], ["no", "maybe", "yes"])
        self.assertEqual(document["file_bytes"], self.model.stat().st_size)
        self.assertEqual((document["warnings"], document["unused_tensors"]), ([], []))
        self.assertRegex(self.succeed("import", self.checkpoint, "-o", self.model),
                         r"m\.thimble: bert, single_label \(3 labels\), \S+ k parameters")

    def test_the_same_directory_gives_the_same_file(self):
        self.succeed("import", self.checkpoint, "-o", self.model)
        again = self.folder / "again.thimble"
        self.succeed("import", self.checkpoint, "-o", again)
        self.assertEqual(self.model.read_bytes(), again.read_bytes())

    def test_weights_change_the_matrices(self):
        # Wide enough that matrices, not panels' padding and names, decide the size.
        wide = support.write_checkpoint(self.folder / "wide", hidden_size=64, intermediate_size=256)
        sizes = {}
        for weights in ("f32", "f16", "int8"):
            self.succeed("import", wide, "-o", self.model, "--weights", weights)
            document = json.loads(self.succeed("inspect", self.model, "--json"))
            self.assertEqual(document["provenance"]["weights"], weights)
            sizes[weights] = document["weight_bytes"]
        self.assertLess(sizes["f16"], 0.6 * sizes["f32"])
        self.assertLess(sizes["int8"], 0.4 * sizes["f32"])

    def test_another_head(self):
        self.succeed("import", self.checkpoint, "-o", self.model, "--task", "features")
        document = json.loads(self.succeed("inspect", self.model, "--json"))
        self.assertEqual((document["task"], document["labels"]), ("features", []))

    def test_tensors_that_are_not_used_are_named(self):
        config = json.loads((self.checkpoint / "config.json").read_text())
        support.write_safetensors(self.checkpoint / "model.safetensors",
                                  support.bert_tensors(config) + [("attic.weight", (2, 2))])
        document = json.loads(self.succeed("import", self.checkpoint, "-o", self.model, "--json"))
        self.assertEqual(document["unused_tensors"], ["attic.weight"])
        self.assertIn("attic.weight", self.succeed("import", self.checkpoint, "-o", self.model))

    def test_tflite_and_back(self):
        """What export writes comes back: the same labels for the same words, heads and columns to prune."""
        self.succeed("import", self.checkpoint, "-o", self.model)
        written = self.folder / "m.tflite"
        self.succeed("export", self.model, "-o", written, "--seq", "8")
        again = self.folder / "again.thimble"
        document = json.loads(self.succeed("import", written, "-o", again, "--json"))
        self.assertEqual((document["task"], document["labels"]), ("single_label", ["no", "maybe", "yes"]))
        self.assertEqual((document["architecture"], document["max_sequence_length"]), ("tflite", 8))
        self.assertTrue(document["tokenizer"])
        self.assertEqual(document["provenance"]["source"], "m.tflite")
        logits = [json.loads(self.succeed("predict", model, "-", "--json", "--logits", "--ids",
                                          stdin='{"input_ids": [2, 4, 5, 3]}\n'))["logits"]
                  for model in (self.model, again)]
        for ours, theirs in zip(*logits):
            self.assertAlmostEqual(ours, theirs, delta=1e-4)
        names = [node["name"] for node in json.loads(self.succeed("inspect", again, "--json"))["nodes"]]
        self.assertIn("encoder.layer.0.attention.query", names)

    def test_tflite_that_is_not_whole(self):
        self.succeed("import", self.checkpoint, "-o", self.model)
        written = self.folder / "m.tflite"
        self.succeed("export", self.model, "-o", written)
        again = self.folder / "again.thimble"
        written.write_bytes(written.read_bytes()[:3000])
        self.assertIn("m.tflite", self.fail_with(1, "import", written, "-o", again))
        written.write_text("no such thing")
        self.assertIn("is not a TensorFlow Lite file", self.fail_with(1, "import", written, "-o", again))
        self.assertFalse(again.exists())
        self.fail_with(2, "import", self.checkpoint, "-o", again, "--vocab", "vocab.txt")

    def test_wrong_calls(self):
        self.fail_with(2, "import", self.checkpoint)
        self.fail_with(2, "import", self.checkpoint, "-o", self.model, "--weights", "int4")
        self.fail_with(2, "import", self.checkpoint, "-o", self.model, "--task", "poetry")


class NotACheckpoint(support.TestCase):
    def setUp(self):
        super().setUp()
        self.checkpoint = support.write_checkpoint(self.folder / "hf")
        self.model = self.folder / "m.thimble"

    def refuse(self, *words):
        """The import fails in one line with these words, and leaves no file behind."""
        line = self.fail_with(1, "import", self.checkpoint, "-o", self.model)
        for word in words:
            self.assertIn(word, line)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["hf"])

    def test_missing_parts(self):
        for name in ("model.safetensors", "config.json"):
            with self.subTest(name):
                (self.checkpoint / name).unlink()
                self.refuse("config.json" if name == "config.json" else "safetensors")

    def test_no_directory(self):
        line = self.fail_with(1, "import", self.folder / "nowhere", "-o", self.model)
        self.assertIn("nowhere", line)

    def test_configurations(self):
        for text, word in (("", "config.json"), ("[]", "config.json"), ("{", "config.json"),
                           ('{"model_type": "poet", "architectures": ["PoetModel"]}', "poet")):
            with self.subTest(text):
                (self.checkpoint / "config.json").write_text(text)
                self.refuse(word)

    def test_sizes_that_are_not(self):
        for key, value in (("hidden_size", -1), ("hidden_size", 2**62), ("num_hidden_layers", 10**9),
                           ("num_attention_heads", 3), ("num_attention_heads", 0),
                           ("vocab_size", 10**12), ("hidden_act", "gelo"), ("hidden_size", "8")):
            with self.subTest(key=key, value=value):
                config = json.loads((self.checkpoint / "config.json").read_text())
                good = dict(config)
                config[key] = value
                (self.checkpoint / "config.json").write_text(json.dumps(config))
                self.refuse()
                (self.checkpoint / "config.json").write_text(json.dumps(good))

    def test_truncated_weights(self):
        path = self.checkpoint / "model.safetensors"
        content = path.read_bytes()
        for end in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
            with self.subTest(end=end):
                path.write_bytes(content[:end])
                self.refuse("model.safetensors")

    def test_a_header_that_lies_about_its_size(self):
        (self.checkpoint / "model.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")
        self.refuse("model.safetensors")

    def test_tensors_that_are_missing_or_of_another_shape(self):
        config = json.loads((self.checkpoint / "config.json").read_text())
        tensors = dict(support.bert_tensors(config))
        name = "bert.encoder.layer.1.output.dense.weight"
        for shape in (None, (8, 8), (16, 8), (8, 16, 1)):
            with self.subTest(shape=shape):
                changed = {**tensors, name: shape}
                support.write_safetensors(self.checkpoint / "model.safetensors",
                                          [(n, s) for n, s in changed.items() if s is not None])
                self.refuse(name)

    def test_output_that_cannot_be_written(self):
        line = self.fail_with(1, "import", self.checkpoint, "-o", self.folder / "nowhere" / "m.thimble")
        self.assertIn("nowhere", line)


class ImportAdapter(support.TestCase):
    """Adapters as Hugging Face's PEFT saves them."""

    def setUp(self):
        super().setUp()
        self.base, self.task = self.folder / "m.thimble", self.folder / "task.thimble"
        self.succeed("import", support.write_checkpoint(self.folder / "hf"), "-o", self.base)
        self.peft = self.folder / "peft"
        self.peft.mkdir()
        self.configure()
        name = "base_model.model.bert.encoder.layer.1.attention.self.query.lora_"
        support.write_safetensors(self.peft / "adapter_model.safetensors",
                                  [(name + "A.weight", (2, 8)), (name + "B.weight", (8, 2)),
                                   ("base_model.model.classifier.weight", (4, 8)),
                                   ("base_model.model.classifier.bias", (4,))])

    def configure(self, **changes):
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "task_type": "SEQ_CLS", "bias": "none", **changes}
        (self.peft / "adapter_config.json").write_text(json.dumps(config))

    def test_runs_beside_its_base(self):
        document = json.loads(self.succeed("import", self.peft, "--base", self.base, "-o", self.task, "--json"))
        self.assertEqual(document["labels"], [f"LABEL_{i}" for i in range(4)])
        self.assertEqual(document["file_bytes"], self.task.stat().st_size)
        answers = self.documents("predict", self.base, "--adapter", self.task, "--json", "--logits", stdin="tiny\n")
        self.assertEqual(len(answers[0]["logits"]), 4)
        merged = self.documents("predict", self.base, "--adapter", self.task, "--merge-adapter", "--json", "--logits",
                                stdin="tiny\n")
        for a, b in zip(answers[0]["logits"], merged[0]["logits"]):
            self.assertAlmostEqual(a, b, delta=1e-5)

    def test_refuses(self):
        call = ("import", self.peft, "-o", self.task)
        self.assertIn("--base", self.fail_with(2, *call))
        self.assertIn("--base", self.fail_with(2, "import", self.folder / "hf", "--base", self.base, "-o", self.task))
        self.assertIn("--weights", self.fail_with(2, *call, "--base", self.base, "--weights", "f16"))
        self.configure(use_dora=True)
        self.assertIn("use_dora", self.fail_with(1, *call, "--base", self.base))
        self.configure(r=3)
        self.assertIn("query", self.fail_with(1, *call, "--base", self.base))
        (self.peft / "adapter_config.json").write_text("{")
        self.assertIn("adapter_config.json", self.fail_with(1, *call, "--base", self.base))
        self.assertFalse(self.task.exists())


if __name__ == "__main__":
    support.main()
