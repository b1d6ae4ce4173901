"""Adapters that PEFT itself wrote: imported, they give PEFT's logits, beside their base and merged into it."""

import json
import pathlib

import support

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "peft"
EXPECTED = json.loads((FIXTURES / "logits.json").read_text())
TOLERANCE = 4e-6  # of logits up to 2: sums of a hundred float32 terms in two orders


class Peft(support.TestCase):
    def setUp(self):
        super().setUp()
        self.base = self.folder / "base.thimble"
        self.succeed("import", FIXTURES / "base", "-o", self.base)

    def check(self, name, *model):
        texts = [{"input_ids": row, "attention_mask": [int(i != 0) for i in row]} for row in EXPECTED["ids"]]
        ids = "".join(json.dumps(text) + "\n" for text in texts)
        rows = [d["logits"] for d in self.documents("predict", *model, "--ids", "--logits", "--json", stdin=ids)]
        self.assertEqual(len(rows), len(EXPECTED[name]))
        for row, expected in zip(rows, EXPECTED[name]):
            for value, right in zip(row, expected, strict=True):
                self.assertAlmostEqual(value, right, delta=TOLERANCE, msg=name)

    def test_logits(self):
        self.check("base", self.base)
        for name in ("qv", "all", "rslora"):
            adapter, merged = self.folder / f"{name}.thimble", self.folder / f"{name}-merged.thimble"
            self.succeed("import", FIXTURES / name, "--base", self.base, "-o", adapter)
            self.check(name, self.base, "--adapter", adapter)
            self.succeed("merge", self.base, adapter, "-o", merged)
            self.check(name, merged)

    def test_dora_is_refused_by_name(self):
        result = support.run("import", FIXTURES / "dora", "--base", self.base, "-o", self.folder / "x.thimble")
        self.assertEqual(result.returncode, 1)
        self.assertIn("dora", result.stderr.decode().lower())
        self.assertFalse((self.folder / "x.thimble").exists())


if __name__ == "__main__":
    support.main()
