"""Pruning: a family of smaller models, what the report says about them, what is refused."""

import json

import support
from word_tasks import WORDS, TrainedTask


class Prune(TrainedTask):
    def prune(self, *more, model=None, calib=None):
        return support.run("prune", model or self.model, "--calib", calib or self.data, "-o", self.folder / "out", "--seq", 32,
                           *more)

    def parameters(self, path):
        return self.inspect(path)["parameters"]

    def test_a_family(self):
        # --force: on a busy machine a promise may be missed, and what is tested here is not time.
        done = self.prune("--speedup", "1,1.5,2", "--valid", self.data, "--force", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        report = json.loads(done.stdout)
        self.assertEqual(report, json.loads((self.folder / "out/report.json").read_text()))
        self.assertEqual([row["target"] for row in report["targets"]], [1, 1.5, 2])
        sizes = [self.parameters(row["file"]) for row in report["targets"]]
        self.assertEqual(sizes[0], self.parameters(self.model))
        self.assertGreater(sizes[0], sizes[1])
        self.assertEqual(sizes, [row["parameters"] for row in report["targets"]])
        for row in report["targets"]:
            self.assertEqual(set(row["sizes"]), {r["structure"] for r in report["table"]["structures"]})
            metrics = json.loads(self.succeed("eval", row["file"], self.data, "--json"))["metrics"]
            self.assertAlmostEqual(metrics["accuracy"], row["score"])
            provenance = self.inspect(row["file"])["provenance"]
            self.assertEqual(json.loads(provenance["pruning"])["target"], row["target"])

        for row in report["targets"]:
            self.assertEqual(row["file_bytes"], (self.folder / "out" / f"{row['target']:g}x.thimble").stat().st_size)
            self.assertGreater(row["seconds"], 0)
        self.assertGreater(report["peak_rss_bytes"], 0)
        self.assertGreaterEqual(report["other_load"], 0)
        for row in report["targets"]:
            if row["target"] > 1 and row["kept_promise"]:
                for factor in row["speedup"], row["measured_again"]:
                    self.assertTrue(row["target"] <= factor <= 1.1 * row["target"], row)

        # An equal call does nothing again and says the same; a target that is gone is made again, the others are not.
        (self.folder / "out/1.5x.thimble").unlink()
        again = self.prune("--speedup", "1,1.5,2", "--valid", self.data, "--force", "--resume", "--json")
        self.assertEqual(again.returncode, 0, again.stderr.decode())
        self.assertEqual(again.stderr.decode().count("is there already"), 2)
        rows = json.loads(again.stdout)["targets"]
        self.assertEqual([rows[0], rows[2]], [report["targets"][0], report["targets"][2]])

        # Other texts to calibrate on are another call.
        other = self.prune("--speedup", "2", "--valid", self.data, "--force", "--resume", "--samples", 64)
        self.assertEqual(other.returncode, 0, other.stderr.decode())
        self.assertNotIn("is there already", other.stderr.decode())

    def test_gradual(self):
        done = self.prune("--speedup", "1.5,2", "--train", self.data, "--valid", self.data, "--epochs", 1, "--force", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        report = json.loads(done.stdout)
        self.assertTrue(report["gradual"])
        first, second = (row["file"] for row in report["targets"])
        self.assertLessEqual(self.parameters(second), self.parameters(first))
        left = {path.name for path in (self.folder / "out").iterdir()}
        self.assertEqual(left, {"1.5x.thimble", "2x.thimble", "report.json", "teacher"})

    def movement(self, *more):
        return support.run("prune", self.model, "--train", self.data, "-o", self.folder / "out", "--seq", 32, "--epochs", 4, *more)

    def test_movement_cuts_what_its_masks_leave(self):
        for method in "movement", "magnitude":
            done = self.movement("--method", method, "--sparsity", "0.5", "--masks", "heads", "--valid", self.data, "--json")
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            report = json.loads(done.stdout)
            self.assertEqual(report, json.loads((self.folder / "out/report.json").read_text()))
            for size in report["pruning"]["sizes"].values():
                self.assertEqual(2 * size["units"], size["dense_units"])
                self.assertEqual(size["zeros"], 0)
            self.assertLess(self.parameters(report["file"]), self.parameters(self.model))
            metrics = json.loads(self.succeed("eval", report["file"], self.data, "--json"))["metrics"]
            self.assertAlmostEqual(metrics["accuracy"], report["score"])

    def test_movement_to_speedups(self):
        # --force: as in test_a_family.
        done = self.movement("--method", "movement", "--speedup", "1.3,1.1", "--valid", self.data, "--force", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        report = json.loads(done.stdout)
        self.assertEqual([row["target"] for row in report["targets"]], [1.1, 1.3])
        for row in report["targets"]:
            self.assertEqual(set(row["sizes"]), {r["structure"] for r in report["table"]["structures"]})
            self.assertLess(self.parameters(row["file"]), self.parameters(self.model))
            nodes = {node["name"]: node for node in self.inspect(row["file"])["nodes"]}
            self.assertFalse(any("block_density" in node for node in nodes.values()))
            metrics = json.loads(self.succeed("eval", row["file"], self.data, "--json"))["metrics"]
            self.assertAlmostEqual(metrics["accuracy"], row["score"])
        left = {path.name for path in (self.folder / "out").iterdir()}
        self.assertEqual(left, {"1.1x.thimble", "1.3x.thimble", "report.json", "teacher"})

        (self.folder / "out/1.3x.thimble").unlink()
        again = self.movement("--method", "movement", "--speedup", "1.1,1.3", "--valid", self.data, "--force", "--resume")
        self.assertEqual(again.returncode, 0, again.stderr.decode())
        self.assertEqual(again.stderr.decode().count("is there already"), 1)

    def test_zero_blocks_are_not_stored(self):
        done = self.movement("--method", "movement", "--sparsity", "0.75", "--masks", "blocks", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        pruned = json.loads(done.stdout)["file"]
        document = self.inspect(pruned)
        sparse = [node for node in document["nodes"] if "block_density" in node]
        self.assertEqual(len(sparse), document["block_sparse"]["weights"])
        self.assertGreater(len(sparse), 4)
        for node in sparse:
            self.assertLess(node["block_density"], 0.8)
        self.assertLess(document["block_sparse"]["bytes"], document["block_sparse"]["dense_bytes"] / 2)
        self.assertIn("% of blocks", self.succeed("inspect", pruned))

        # Training reads it dense, and at a rate that float32 rounds to zero writes the same weights as any others.
        dense = self.folder / "dense.thimble"
        done = support.run("train", "--model", pruned, "--train", self.data, "-o", dense, "--max-steps", 1, "--lr", "1e-60",
                           "--weights", "f32")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertNotIn("block_sparse", self.inspect(dense))
        saved = dense.stat().st_size - (self.folder / "out/pruned.thimble").stat().st_size
        self.assertGreater(saved, 0.9 * (document["block_sparse"]["dense_bytes"] - document["block_sparse"]["bytes"]))
        texts = self.write("texts.txt", "\n".join(WORDS))
        self.assertEqual(self.succeed("predict", pruned, texts, "--json", "--logits"),
                         self.succeed("predict", dense, texts, "--json", "--logits"))

    def test_movement_fills_what_is_left(self):
        done = self.movement("--method", "movement", "--sparsity", "0.5", "--fill-epochs", 1, "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        sizes = json.loads(done.stdout)["pruning"]["sizes"].values()
        self.assertTrue(any(size["zeros"] > 0.2 for size in sizes))
        self.assertLess(self.parameters(self.folder / "out/pruned.thimble"), self.parameters(self.model))

    def test_what_movement_refuses(self):
        for more, words in (
            (["--method", "movement", "--speedup", "2", "--sparsity", "0.5"], "two ways"),
            (["--method", "movement", "--speedup", "2", "--masks", "blocks"], "--masks heads"),
            (["--method", "movement", "--speedup", "2", "--fill-epochs", "1"], "--masks heads"),
            (["--method", "movement", "--sparsity", "1"], "--sparsity"),
            (["--method", "ziplm", "--sparsity", "0.5"], "takes --speedup"),
            (["--method", "movement", "--block", "7,32"], "do not divide"),
        ):
            result = self.movement(*more)
            self.assertEqual(result.returncode, 2, result.stderr.decode())
            self.assertIn(words, result.stderr.decode().splitlines()[-1])

    def test_what_is_refused(self):
        few = self.rows("few.tsv", 5)
        other = self.write("other.tsv", "text\tlabel\n" + "w1 w2\tup\n" * 50)
        int8 = self.folder / "int8.thimble"
        done = support.run("train", "--model", self.model, "--train", self.data, "-o", int8, "--max-steps", 1, "--weights",
                           "int8")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        for arguments, code, words in (
            (dict(calib=few), 1, "too few"),
            (dict(calib=other), 1, "label"),
            (dict(model=int8), 1, "before quantizing"),
        ):
            result = self.prune("--speedup", "2", **arguments)
            self.assertEqual(result.returncode, code, result.stderr.decode())
            self.assertIn(words, result.stderr.decode().splitlines()[-1])
        for more, code, words in (
            (["--speedup", "1000"], 3, "at most"),
            (["--speedup", "1000", "--method", "movement", "--train", self.data], 3, "at most"),
            (["--speedup", "2", "--method", "movement"], 2, "--train"),
            (["--speedup", "0.5"], 2, "1 or more"),
            (["--speedup", "2", "--method", "magic"], 2, "magnitude"),
        ):
            result = self.prune(*more)
            self.assertEqual(result.returncode, code, result.stderr.decode())
            self.assertIn(words, result.stderr.decode().splitlines()[-1])
        self.assertFalse((self.folder / "out").exists())


if __name__ == "__main__":
    support.main()
