"""thimble export: ONNX files. What is in them is checked where they are written, in formats/onnx."""

import json

import support


class Export(support.TestCase):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "m.thimble"
        self.onnx = self.folder / "m.onnx"
        self.succeed("import", support.write_checkpoint(self.folder / "hf"), "-o", self.model)

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

    def test_wrong_calls(self):
        self.assertIn(".onnx", self.fail_with(2, "export", self.model, "-o", self.folder / "m.xyz"))
        self.fail_with(2, "export", self.model)
        self.fail_with(2, "export", self.model, "-o", self.onnx, "--opset", "12")

    def test_bad_models(self):
        self.model.write_bytes(self.model.read_bytes()[:500])
        self.assertIn("m.thimble", self.fail_with(1, "export", self.model, "-o", self.onnx))
        self.assertFalse(self.onnx.exists())


if __name__ == "__main__":
    support.main()
