"""Factorization: smaller files that still answer, and what is refused."""

import json

import support
from word_tasks import SPECIALS, TrainedTask

LETTERS = "abcdefghij"


class Factorize(TrainedTask):
    words = [a + b for a in LETTERS for b in LETTERS[:4]]
    # A word whose piece is gone can be spelt.
    pieces = SPECIALS + list(LETTERS) + [f"##{c}" for c in LETTERS] + words
    fillers = slice(10, 30)

    def train(self, *arguments):
        self.run_quietly("train", "--train", self.data, *arguments)

    def scores(self, model, text):
        return [(d["label"], d["score"]) for d in self.documents("predict", model, "--json", stdin=text)]

    def accuracy(self, model):
        return json.loads(self.succeed("eval", model, self.data, "--json"))["metrics"]["accuracy"]

    def test_a_smaller_vocabulary_answers_alike(self):
        small = self.folder / "small.thimble"
        report = json.loads(self.succeed("factorize", self.model, "--vocabulary", self.data, "-o", small, "--json"))
        self.assertLess(report["vocabulary"]["pieces"], report["vocabulary"]["pieces_before"])
        self.assertEqual(report["vocabulary"]["tokens_covered"], 1)
        self.assertEqual(report["vocabulary"]["texts_changed"], 0)
        text = "aa cc da\nab ea\n"
        for (label, score), (other, value) in zip(self.scores(self.model, text), self.scores(small, text), strict=True):
            self.assertEqual((label, score), (other, value))
        # A word whose piece is gone is spelt.
        tokens = json.loads(self.succeed("tokenize", "--vocab", self.vocab, "-", "--json", stdin="jd"))["input_ids"]
        self.assertEqual(len(tokens), 3)
        self.assertTrue(self.scores(small, "jd\n"))

    def test_a_thinner_table_and_thinner_linears(self):
        thin = self.folder / "thin.thimble"
        report = json.loads(self.succeed("factorize", self.model, "--embedding-rank", "half", "--corpus", self.data,
                                         "--linear-error", "0.05", "--calib", self.data, "--valid", self.data, "-o", thin,
                                         "--json"))
        self.assertEqual((report["embedding"]["width"], report["embedding"]["rank"]), (128, 64))
        self.assertTrue(report["linears"]["factorized"])
        self.assertLess(report["after"]["parameters"], report["before"]["parameters"])
        self.assertLess(thin.stat().st_size, self.model.stat().st_size)
        self.assertAlmostEqual(report["score"], self.accuracy(thin))
        # It is a model like any other: it trains, and is quantized.
        again = self.folder / "again.thimble"
        self.train("--model", thin, "-o", again, "--epochs", 1, "--weights", "int8")
        self.assertLess(again.stat().st_size, thin.stat().st_size)

    def test_linears_get_the_share_that_is_asked_for(self):
        thin = self.folder / "thin.thimble"
        report = json.loads(self.succeed("factorize", self.model, "--linear-share", "0.5", "--calib", self.data, "-o", thin,
                                         "--json"))
        linears = report["linears"]
        self.assertLessEqual(linears["parameters"], linears["parameters_before"] / 2)
        self.assertGreater(linears["parameters"], linears["parameters_before"] * 0.45)
        nodes = {n["name"]: n for n in self.inspect(thin)["nodes"]}
        for row in linears["factorized"]:
            self.assertEqual(nodes[row["node"] + ".down"]["shape"][1], row["rank"])

    def test_what_is_refused(self):
        int8 = self.folder / "int8.thimble"
        self.train("--model", self.model, "-o", int8, "--max-steps", 1, "--weights", "int8")
        empty = self.write("empty.txt", "")
        out = self.folder / "out.thimble"
        for arguments, code, words in (
            ([self.model], 2, "nothing to do"),
            ([self.model, "--embedding-rank", "500"], 2, "128 wide"),
            ([self.model, "--embedding-rank", "thin"], 2, "half"),
            ([self.model, "--embedding-rank", "half", "--corpus", empty], 1, "no text"),
            ([self.model, "--embedding-rank", "3.7"], 2, "half"),
            ([self.model, "--embedding-rank", "inf"], 2, "half"),
            ([self.model, "--linear-error", "0.1"], 2, "--calib"),
            ([self.model, "--linear-share", "0.001", "--calib", self.data], 2, "rank 1 everywhere"),
            ([int8, "--linear-share", "0.5", "--calib", self.data], 1, "float model"),
            ([int8, "--embedding-rank", "half"], 1, "i8"),
            ([self.model, "--embedding-rank", "1", "--valid", self.data, "--max-drop", "-1"], 3, "--max-drop"),
        ):
            result = support.run("factorize", *arguments, "-o", out)
            self.assertEqual(result.returncode, code, result.stderr.decode())
            self.assertIn(words, result.stderr.decode().splitlines()[-1])
            self.assertFalse(out.exists())


if __name__ == "__main__":
    support.main()
