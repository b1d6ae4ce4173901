"""Quantization: int8 within a limit, what the tables say, what is refused."""

import json

import support
from word_tasks import TrainedTask


class Quantize(TrainedTask):
    def train(self, *arguments):
        self.run_quietly("train", "--train", self.data, *arguments)

    def quantize(self, *more, output="out.thimble"):
        return support.run("quantize", self.model, "--valid", self.data, "--seq", 16, "-o", self.folder / output, *more)

    def quantized_nodes(self, path):
        rows = (line.split() for line in self.succeed("inspect", path).splitlines())
        return {row[0] for row in rows if any(cell.startswith(("i8", "i4g")) for cell in row[1:])}

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
        quantized = self.quantized_nodes(out)
        self.assertTrue(quantized)
        for group in report["groups"]:
            for node in group["nodes"]:
                self.assertEqual(node in quantized, group["type"] in ("i8", "i4g"), node)

    def test_weight_only_by_group(self):
        sizes = {}
        for bits, group in ((8, 32), (4, 32), (4, 128)):
            done = self.quantize("--scheme", "weight-only", "--bits", bits, "--group", group, "--max-drop", "1", "--json")
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            report = json.loads(done.stdout)
            self.assertEqual([row["type"] for row in report["types"]], ["as it was", f"int{bits} by group"])
            self.assertEqual((report["bits"], report["group"], report["activations"]), (bits, group, "float"))
            out = self.folder / "out.thimble"
            metrics = json.loads(self.succeed("eval", out, self.data, "--json"))["metrics"]
            self.assertAlmostEqual(metrics["accuracy"], report["types"][1]["score"])
            self.assertIn(f"i{bits}g", self.succeed("inspect", out))
            sizes[bits, group] = report["types"][1]["weight_bytes"]
        whole = report["types"][0]["weight_bytes"]
        # bert-tiny here is mostly linears: 9, 5 and 4.25 bits a weight beside the float32 of what stays.
        self.assertLess(sizes[8, 32], whole * 0.45)
        self.assertLess(sizes[4, 32], whole * 0.3)
        self.assertLess(sizes[4, 128], sizes[4, 32])
        # Other programs see floats.
        self.succeed("export", out, "-o", self.folder / "out.onnx")
        for arguments in (["--bits", 5], ["--group", 48], ["--activations", "static", "--calib", self.data]):
            self.assertEqual(self.quantize("--scheme", "weight-only", *arguments).returncode, 2)

    def test_training_gives_back_what_int4_loses(self):
        call = ["--scheme", "weight-only", "--bits", "4", "--group", "128", "--max-drop", "1", "--json"]
        done = self.quantize(*call, "--train", self.data, "--epochs", 4, "--lr", "1e-3")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        report = json.loads(done.stdout)
        rows = {row["type"]: row["score"] for row in report["types"]}
        self.assertEqual(list(rows), ["as it was", "int4 by group", "int4 by group, trained"])
        self.assertGreaterEqual(rows["int4 by group, trained"], max(rows["int4 by group"], rows["as it was"] - 0.02))
        out = self.folder / "out.thimble"
        metrics = json.loads(self.succeed("eval", out, self.data, "--json"))["metrics"]
        self.assertAlmostEqual(metrics["accuracy"], rows["int4 by group, trained"])
        self.assertEqual(sorted(p.name for p in self.folder.glob("out.thimble*")), ["out.thimble"])

    def test_int8_is_trained_with_rounded_inputs(self):
        for scheme in ("dynamic", "static"):
            done = self.quantize("--scheme", scheme, "--calib", self.data, "--max-drop", "0.05", "--train", self.data,
                                 "--epochs", 1, "--json")
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            types = [row["type"] for row in json.loads(done.stdout)["types"]]
            self.assertEqual(types[-1], types[1] + ", trained")

    def test_every_type_is_measured_and_the_best_taken(self):
        page, charts = self.folder / "types.html", self.folder / "uplot"
        (charts / "dist").mkdir(parents=True)
        for name, text in (("LICENSE", "a licence"), ("dist/uPlot.min.css", ".u-legend {}"),
                           ("dist/uPlot.iife.min.js", "function uPlot() {}")):
            (charts / name).write_text(text)
        done = self.quantize("--scheme", "all", "--goal", "size", "--calib", self.data, "--max-drop", "0.5", "--report", page,
                             "--charts", charts, "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        report = json.loads(done.stdout)
        rows = {row["type"]: row for row in report["types"]}
        self.assertEqual(set(rows), {"as it was", "all int8", "mixed", "float16", "int8, static", "int8 by group", "int4 by group"})
        # Nothing learned depends on so much precision, so the smallest of all is within the limit.
        smallest = min(rows.values(), key=lambda row: row["weight_bytes"])
        self.assertEqual(report["chosen"], smallest["type"])
        self.assertEqual(report["sweet_spots"]["size"], smallest["type"])
        self.assertEqual(report["sweet_spots"]["speed"], max(rows.values(), key=lambda row: row["speedup"])["type"])
        metrics = json.loads(self.succeed("eval", self.folder / "out.thimble", self.data, "--json"))["metrics"]
        self.assertAlmostEqual(metrics["accuracy"], smallest["score"])
        text = page.read_text()
        for part in ("a licence", "function uPlot", "int4 by group", "sensitivitySection('Sensitivity'"):
            self.assertIn(part, text)
        held = text[text.index('id="report">') + len('id="report">'):]
        self.assertEqual(json.loads(held[:held.index("</script>")])["types"], report["types"])

        done = self.quantize("--scheme", "all", "--calib", self.data, "--max-drop", "0.5")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertIn("within the limit", done.stdout.decode())

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
            (["--scheme", "all", "--calib", self.data, "--max-drop", "-1"], 3, "no type"),
            (["--scheme", "all"], 2, "--calib"),
            (["--scheme", "all", "--calib", self.data, "--train", self.data], 2, "second call"),
            (["--scheme", "mixed"], 2, "--calib"),
            (["--scheme", "static"], 2, "--calib"),
            (["--scheme", "dynamic", "--smooth", "0.5"], 2, "--calib"),
            (["--scheme", "dynamic", "--per-channel=false"], 2, "per_channel"),
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
