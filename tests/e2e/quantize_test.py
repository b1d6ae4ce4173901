"""Quantization: int8 within a limit, what the tables say, what is refused."""

import json
import random

import support

WORDS = [f"w{i}" for i in range(40)]


class Quantize(support.TestCase):
    def setUp(self):
        super().setUp()
        self.vocab = self.write("vocab.txt", "\n".join("[PAD] [UNK] [CLS] [SEP] [MASK]".split() + WORDS) + "\n")
        self.data = self.rows("data.tsv", 160)
        self.model = self.folder / "model.thimble"
        self.train("--model", "bert-tiny", "--vocab", self.vocab, "-o", self.model, "--epochs", 4, "--lr", "2e-3")

    def train(self, *arguments):
        done = support.run("train", "--train", self.data, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def rows(self, name, count, labels=("no", "maybe", "yes")):
        rng = random.Random(1)
        lines = ["text\tlabel"]
        for _ in range(count):
            label = rng.randrange(len(labels))
            words = [rng.choice(WORDS[20:]) for _ in range(rng.randrange(2, 9))]
            words.insert(rng.randrange(len(words)), WORDS[label])
            lines.append(" ".join(words) + "\t" + labels[label])
        return self.write(name, "\n".join(lines) + "\n")

    def quantize(self, *more, output="out.thimble"):
        return support.run("quantize", self.model, "--valid", self.data, "--seq", 16, "-o", self.folder / output, *more)

    def int8_nodes(self, path):
        rows = (line.split() for line in self.succeed("inspect", path).splitlines())
        return {row[0] for row in rows if any(cell.startswith("i8") for cell in row[1:])}

    def test_dynamic_is_int8_everywhere(self):
        done = self.quantize("--scheme", "dynamic", "--max-drop", "1", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        report = json.loads(done.stdout)
        self.assertEqual([row["type"] for row in report["types"]], ["as it was", "int8"])
        out = self.folder / "out.thimble"
        self.assertLess(out.stat().st_size, self.model.stat().st_size / 2.5)
        metrics = json.loads(self.succeed("eval", out, self.data, "--json"))["metrics"]
        self.assertAlmostEqual(metrics["accuracy"], report["types"][1]["score"])

    def test_static_scales_smoothing_and_bias_correction(self):
        for method in ("minmax", "percentile", "mse", "entropy"):
            done = self.quantize("--scheme", "static", "--calib", self.data, "--calibration_method", method, "--max-drop", "1",
                                 "--bias-correction", "--smooth", "0.5", "--json")
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            report = json.loads(done.stdout)
            self.assertEqual([row["type"] for row in report["types"]], ["as it was", "int8, static"])
            self.assertEqual(report["calibration_method"], method)
            self.assertTrue(report["bias_correction"])
            self.assertGreater(report["smoothing"]["streams"], 0)
            metrics = json.loads(self.succeed("eval", self.folder / "out.thimble", self.data, "--json"))["metrics"]
            self.assertAlmostEqual(metrics["accuracy"], report["types"][1]["score"])

    def test_mixed_says_what_each_weight_costs(self):
        # --goal size and --force: on a busy machine times may say anything, and what is tested here is not time.
        done = self.quantize("--calib", self.data, "--goal", "size", "--max_drop", "0.02", "--force", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        report = json.loads(done.stdout)
        self.assertEqual([row["type"] for row in report["types"]], ["as it was", "all int8", "mixed"])
        scores = [row["score"] for row in report["types"]]
        self.assertLessEqual(scores[0] - scores[2], 0.02)
        out = self.folder / "out.thimble"
        metrics = json.loads(self.succeed("eval", out, self.data, "--json"))["metrics"]
        self.assertAlmostEqual(metrics["accuracy"], scores[2])
        int8 = self.int8_nodes(out)
        self.assertTrue(int8)
        for group in report["groups"]:
            for node in group["nodes"]:
                self.assertEqual(node in int8, group["int8"], node)

    def test_without_a_validation_set_the_calibration_set_judges(self):
        done = support.run("quantize", self.model, "--scheme", "dynamic", "--calib", self.data, "--max-drop", "0.5", "--seq", 16,
                           "-o", self.folder / "out.thimble", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertIn("without --valid", done.stderr.decode())
        self.assertIn("score", json.loads(done.stdout)["types"][1])
        done = support.run("quantize", self.model, "--scheme", "dynamic", "-o", self.folder / "out.thimble")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--valid", done.stderr.decode())

    def test_what_is_refused(self):
        self.assertEqual(self.quantize("--scheme", "dynamic", "--max-drop", "1", output="int8.thimble").returncode, 0)
        for arguments, code, words in (
            (["--scheme", "dynamic", "--max-drop", "-1"], 3, "--max-drop"),
            (["--calib", self.data, "--max-drop", "-1"], 3, "costs most"),
            (["--scheme", "mixed"], 2, "--calib"),
            (["--scheme", "static"], 2, "--calib"),
            (["--scheme", "dynamic", "--smooth", "0.5"], 2, "--calib"),
            (["--scheme", "dynamic", "--per-channel", "false"], 2, "--per-channel"),
            (["--scheme", "magic"], 2, "scheme"),
        ):
            result = self.quantize(*arguments)
            self.assertEqual(result.returncode, code, result.stderr.decode())
            self.assertIn(words, result.stderr.decode().splitlines()[-1])
            self.assertFalse((self.folder / "out.thimble").exists())
        self.model = self.folder / "int8.thimble"
        result = self.quantize("--calib", self.data)
        self.assertEqual(result.returncode, 1)
        self.assertIn("quantized already", result.stderr.decode())


if __name__ == "__main__":
    support.main()
