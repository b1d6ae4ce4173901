"""Every text golden, taken out through every format and run by others: logits as Hugging Face's library recorded them. Measured by
tools/results_formats.py, which writes the same figures into docs/formats.md."""

import pathlib
import shutil
import struct
import sys
import tempfile

import support

sys.path.insert(0, str(support.ROOT / "tools"))
import results_formats  # noqa: E402

FORMS = results_formats.FORMS


class Formats(support.TestCase):
    @classmethod
    def setUpClass(cls):
        support.need()
        folder = support.shared("goldens/hf")
        if folder is None:
            raise support.unittest.SkipTest("no goldens: THIMBLE_SHARED names the folder that holds goldens/hf")
        cls.goldens = results_formats.goldens_in(folder)
        made = pathlib.Path(tempfile.mkdtemp(prefix="thimble-formats-"))
        cls.addClassCleanup(shutil.rmtree, made)
        cls.judge = results_formats.Judge(support.THIMBLE, support.NPM, support.python_with_torch(), made)
        cls.ours = cls.judge.measure(FORMS[0], cls.goldens)

    def check(self, ending):
        for form in FORMS:
            if form.ending != ending:
                continue
            with self.subTest(form.name):
                cells = self.ours if form is FORMS[0] else self.judge.measure(form, self.goldens)
                for name, cell in cells.items():
                    self.assertLessEqual(cell["worst"], form.tolerance, name)
                    # None is left out: of each run, every row.
                    for key in ("runs", "rows"):
                        self.assertEqual(cell[key], self.ours[name][key], (name, key))
                cell = results_formats.total(cells.values())
                self.assertGreaterEqual(cell["kept"], form.agreement * cell["decided"])

    def test_thimble(self):
        self.check(".thimble")
        for golden in self.goldens:
            self.assertEqual(self.ours[golden.folder.name]["runs"], len(golden.runs), golden.folder)

    def test_directory(self):
        self.check("")
        # Not only close: what comes back computes the very same numbers.
        forms = {form.ending: FORMS.index(form) for form in FORMS}
        for golden in self.goldens:
            first, again = (self.judge.folder / f"{golden.folder.name}-{forms[ending]}.json" for ending in (".thimble", ""))
            self.assertTrue(first.read_bytes() == again.read_bytes(), golden.folder)

    def test_tensorflow_lite(self):
        support.need("@litertjs/core")
        self.check(".tflite")

    def test_onnx(self):
        support.need("onnxruntime-node")
        self.check(".onnx")

    def test_torchscript(self):
        if not pathlib.Path(support.THIMBLE).with_name("thimble-train").exists():
            self.skipTest("thimble-train is not built")
        support.need_torch()
        self.check(".pt")

    def test_notices_another_weight(self):
        golden = next(golden for golden in self.goldens if golden.folder.name == "bert_seqcls")
        changed = self.folder / "changed"
        shutil.copytree(golden.folder, changed)
        weights = changed / "model.safetensors"
        content = bytearray(weights.read_bytes())
        last, = struct.unpack_from("<f", content, len(content) - 4)
        struct.pack_into("<f", content, len(content) - 4, last + 0.01)
        weights.write_bytes(content)
        cell = self.judge.measure(FORMS[0], [golden._replace(folder=changed)])["changed"]
        self.assertGreater(cell["worst"], FORMS[0].tolerance)


if __name__ == "__main__":
    support.main()
