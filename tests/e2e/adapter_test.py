"""Adapters: trained beside a frozen model, used beside it, merged into it; what is refused."""

import json

import support
from word_tasks import TINY, WordTask


class Adapter(WordTask):
    def setUp(self):
        super().setUp()
        self.base = self.folder / "base.thimble"
        self.task = self.folder / "task.thimble"
        self.first = self.rows("first.tsv", 240, seed=0)
        self.second = self.rows("second.tsv", 240, labels=("up", "down"), first=10, seed=10)

    def make_base(self, *more, output=None, epochs=10):
        self.run_quietly("train", *TINY, "--vocab", self.vocab, "--train", self.first, "-o", output or self.base,
                         "--epochs", epochs, "--lr", "5e-3", "--dropout", "0", *more)

    def call(self, *more, base=None, data=None, output=None, rank=4, epochs=10):
        return ["train", "--model", base or self.base, "--train", data or self.second, "-o", output or self.task,
                "--adapter-rank", rank, "--epochs", epochs, "--lr", "1e-2", "--dropout", "0", *more]

    def scores(self, *arguments, text="w25 w10 w30\nw11 w22\n"):
        return [(d["label"], d["score"]) for d in self.documents("predict", *arguments, "--json", stdin=text)]

    def weights(self, adapter):
        return self.inspect(self.base, "--adapter", adapter)["weights_sha256"]

    def test_one_base_many_tasks(self):
        self.make_base()
        base = self.base.read_bytes()
        before = self.scores(self.base)
        self.run_quietly(*self.call("--valid", self.second))
        third, other = self.rows("third.tsv", 240, labels=("red", "green", "blue", "none"), first=12, seed=12), self.folder / "other.thimble"
        self.run_quietly(*self.call("--adapter-targets", "all", "--pool", "mean", data=third, output=other))
        self.assertEqual(self.base.read_bytes(), base)
        self.assertLess(self.task.stat().st_size, len(base))

        self.assertEqual([label for label, _ in self.scores(self.base, "--adapter", self.task)], ["up", "down"])
        self.assertEqual([label for label, _ in self.scores(self.base, "--adapter", other, text="w12 w20\nw21 w15\n")],
                         ["red", "none"])
        self.assertEqual(self.scores(self.base), before)
        judged = json.loads(self.succeed("eval", self.base, self.second, "--adapter", self.task, "--json"))
        self.assertGreater(judged["metrics"]["accuracy"], 0.9)
        measured = json.loads(self.succeed("bench", self.base, "--adapter", self.task, "--seq", "8", "--runs", "3",
                                           "--json"))
        self.assertGreater(measured["macs"], json.loads(self.succeed("bench", self.base, "--seq", "8", "--runs", "3",
                                                                     "--json"))["macs"])

    def test_inspect_shows_it(self):
        self.make_base(epochs=1)
        self.run_quietly(*self.call(epochs=1))
        base = self.inspect(self.base)
        both = self.inspect(self.base, "--adapter", self.task)
        self.assertEqual(both["labels"], ["down", "up"])
        self.assertEqual(both["adapter_file_bytes"], self.task.stat().st_size)
        recipe = json.loads(both["provenance"]["training"])["adapter"]
        self.assertEqual(recipe, {"rank": 4, "alpha": 16, "targets": ["query", "value"], "base": base["identity"]})
        added = {n["name"]: n["params"] for n in both["nodes"] if ".lora_" in n["name"]}
        self.assertEqual(set(added), {f"bert.encoder.layer.0.{role}.lora_{m}" for role in ("query", "value") for m in "AB"})
        self.assertEqual(set(added.values()), {4 * 32})
        self.assertIn("adapter", self.succeed("inspect", self.base, "--adapter", self.task))

    def test_merged_is_the_same_in_one_file(self):
        self.make_base()
        self.run_quietly(*self.call("--adapter-targets", "all"))
        beside = self.scores(self.base, "--adapter", self.task)
        merged = self.scores(self.base, "--adapter", self.task, "--merge-adapter")
        full = self.folder / "full.thimble"
        said = json.loads(self.succeed("merge", self.base, self.task, "-o", full, "--json"))
        self.assertEqual(said["labels"], ["down", "up"])
        self.assertEqual(said["file_bytes"], full.stat().st_size)
        self.assertEqual(self.scores(full), merged)
        for (a, x), (b, y) in zip(beside, merged):
            self.assertEqual(a, b)
            self.assertAlmostEqual(x, y, delta=1e-5)
        names = [n["name"] for n in self.inspect(full)["nodes"]]
        self.assertFalse([n for n in names if "lora" in n])

    def test_beside_an_int8_base(self):
        self.make_base("--weights", "int8")
        self.run_quietly(*self.call())
        beside = self.scores(self.base, "--adapter", self.task)
        self.assertEqual([label for label, _ in beside], ["up", "down"])
        line = self.fail_with(1, "predict", self.base, "--adapter", self.task, "--merge-adapter", stdin="w1\n")
        self.assertIn("int8", line)
        full = self.folder / "full.thimble"
        self.assertIn("--weights", self.fail_with(1, "merge", self.base, self.task, "-o", full))
        self.assertFalse(full.exists())
        for weights in ("f32", "int8"):
            self.succeed("merge", self.base, self.task, "-o", full, "--weights", weights)
            self.assertEqual([label for label, _ in self.scores(full)], ["up", "down"])

    def test_a_head_alone(self):
        self.make_base()
        self.run_quietly(*self.call(rank=0))
        both = self.inspect(self.base, "--adapter", self.task)
        self.assertFalse([n["name"] for n in both["nodes"] if "lora" in n["name"]])
        self.assertEqual({label for label, _ in self.scores(self.base, "--adapter", self.task)} - {"up", "down"}, set())

    def test_leaves_thresholds_with_the_adapter(self):
        self.make_base(epochs=1)
        several = self.write("several.tsv", "text\tlabel\n" + "w1 w2\tup|down\nw3 w4\tdown\nw5 w6\tup\n" * 8)
        self.run_quietly(*self.call("--valid", several, data=several))
        chosen = self.documents("predict", self.base, "--adapter", self.task, "--json", stdin="w1 w2\n")[0]["labels"]
        self.assertEqual({c["label"] for c in chosen}, {"up", "down"})

    def test_learns_from_a_teacher(self):
        self.make_base()
        teacher = self.folder / "teacher.thimble"
        self.run_quietly("train", *TINY, "--vocab", self.vocab, "--train", self.second, "-o", teacher, "--epochs", "10",
                         "--lr", "5e-3", "--dropout", "0")
        self.run_quietly("distill", *self.call("--teacher", teacher, "--alpha-hidden", "0.1", "--alpha-attention", "0.1")[1:])
        self.assertEqual([label for label, _ in self.scores(self.base, "--adapter", self.task)], ["up", "down"])
        nodes = self.inspect(self.base, "--adapter", self.task)["nodes"]
        self.assertFalse([n for n in nodes if n["name"].startswith("distill")])

    def test_a_killed_run_resumes_to_the_same_adapter(self):
        self.make_base(epochs=1)
        self.run_quietly(*self.call(epochs=40))
        killed = self.folder / "killed.thimble"
        call = self.call("--checkpoint-every", "0", output=killed, epochs=40)
        self.kill_at_first_checkpoint(call, killed)
        for other in (["--adapter-alpha", "8"], ["--adapter-targets", "query,key"]):
            result = support.run(*call, "--resume", *other)
            self.assertEqual(result.returncode, 2, other)
            self.assertIn(b"another run", result.stderr)
        result = self.run_quietly(*call, "--resume")
        self.assertIn("going on from step", result.stderr.decode())
        self.assertEqual(self.weights(killed), self.weights(self.task))

    def test_refuses_what_does_not_belong_together(self):
        self.make_base(epochs=1)
        self.run_quietly(*self.call(epochs=1))
        stranger = self.folder / "stranger.thimble"
        self.make_base("--seed", "2", output=stranger, epochs=1)
        line = self.fail_with(1, "predict", stranger, "--adapter", self.task, stdin="w1\n")
        self.assertIn("task.thimble: is an adapter of another base", line)
        self.assertIn("is an adapter", self.fail_with(1, "predict", self.task, stdin="w1\n"))
        self.assertIn("is a whole model", self.fail_with(1, "eval", self.base, self.second, "--adapter", stranger))
        self.assertIn("another base", self.fail_with(1, "merge", stranger, self.task, "-o", self.folder / "full.thimble"))
        self.fail_with(1, "inspect", self.base, "--adapter", self.folder / "missing.thimble")
        self.fail_with(2, "predict", self.base, "--merge-adapter", stdin="w1\n")
        content = self.task.read_bytes()
        damaged = self.folder / "damaged.thimble"
        for end in range(0, len(content), len(content) // 16):
            with self.subTest(end=end):
                damaged.write_bytes(content[:end])
                self.assertIn("damaged.thimble", self.fail_with(1, "inspect", self.base, "--adapter", damaged))

    def test_wrong_calls(self):
        self.make_base(epochs=1)
        notes = support.run(*self.call("--adapter-targets", "query,qery"))
        self.assertEqual(notes.returncode, 2)
        self.assertIn("qery", notes.stderr.decode().splitlines()[-1])
        notes = support.run(*self.call(rank=33))
        self.assertEqual(notes.returncode, 2)
        self.assertIn("rank 33", notes.stderr.decode().splitlines()[-1])
        self.assertIn("--adapter-rank", self.fail_with(2, *self.call(rank=-1)))
        self.assertIn("--adapter-alpha", self.fail_with(2, *self.call("--adapter-alpha", "0")))
        self.assertIn("--weights", self.fail_with(2, *self.call("--weights", "int8")))
        call = self.call("--adapter-alpha", "8")
        at = call.index("--adapter-rank")
        self.assertIn("--adapter-rank", self.fail_with(2, *call[:at], *call[at + 2:]))
        notes = support.run("train", *TINY, "--vocab", self.vocab, "--train", self.first, "-o", self.task,
                            "--adapter-rank", "4")
        self.assertEqual(notes.returncode, 2)
        self.assertIn("thimble import", notes.stderr.decode().splitlines()[-1])
        self.assertFalse(self.task.exists())
        notes = support.run(*self.call(output=self.base))
        self.assertEqual(notes.returncode, 2)
        self.assertIn("is the base", notes.stderr.decode().splitlines()[-1])


if __name__ == "__main__":
    support.main()
