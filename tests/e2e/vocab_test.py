"""thimble vocab: a vocabulary from text; corpora and calls that are wrong."""

import gzip
import json

import support


class Vocab(support.TestCase):
    def setUp(self):
        super().setUp()
        self.corpus = self.folder / "corpus"
        self.corpus.mkdir()
        (self.corpus / "a.txt").write_text("the cat sat\n\nThe CAT sat again\n" * 20)
        (self.corpus / "b.txt.gz").write_bytes(gzip.compress("a café in the city\n".encode() * 20))
        self.out = self.folder / "vocab.txt"

    def pieces(self):
        return self.out.read_text().splitlines()

    def test_what_was_learned_is_what_tokenize_finds(self):
        document = json.loads(self.succeed("vocab", self.corpus, "-o", self.out, "--size", "40", "--json"))
        self.assertEqual(document["pieces"], 40)
        self.assertEqual((document["lines"], document["words"]), (60, 240))
        pieces = self.pieces()
        self.assertEqual(pieces[:5], ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        self.assertEqual(len(pieces), len(set(pieces)))
        self.assertIn("the", pieces)
        line, = self.succeed("tokenize", "--vocab", self.out, stdin="The cat\n").splitlines()
        self.assertEqual(line, "[CLS] the cat [SEP]")
        again = self.out.read_bytes()
        self.succeed("vocab", self.corpus, "-o", self.out, "--size", "40")
        self.assertEqual(self.out.read_bytes(), again)

    def test_cased(self):
        self.succeed("vocab", self.corpus, "-o", self.out, "--size", "46", "--cased")
        self.assertIn("T", self.pieces())
        self.assertIn("##é", self.pieces())

    def test_keep_accents(self):
        self.succeed("vocab", self.corpus, "-o", self.out, "--size", "40", "--keep-accents")
        self.assertIn("##é", self.pieces())
        self.assertNotIn("T", self.pieces())
        self.assertIn("é", self.succeed("tokenize", "--vocab", self.out, "--keep-accents", stdin="THÉ\n"))
        self.assertNotIn("é", self.succeed("tokenize", "--vocab", self.out, stdin="THÉ\n"))

    def test_texts_of_data_sets(self):
        data = self.folder / "data.tsv"
        data.write_text("text\tlabel\n" + "zebra crossing\tanimal\n" * 3)
        result = support.run("vocab", data, "-o", self.out)
        self.assertEqual(result.returncode, 0)
        self.assertIn(b"only ", result.stderr)
        self.assertIn("zebra", self.pieces())
        self.assertNotIn("animal", self.pieces())

    def refuse(self, code, *arguments):
        before = sorted(self.folder.iterdir())
        line = self.fail_with(code, "vocab", *arguments)
        self.assertEqual(sorted(self.folder.iterdir()), before)
        return line

    def test_bad_corpora(self):
        empty = self.folder / "empty.txt"
        empty.write_text("\n \n")
        self.assertIn("no words", self.refuse(1, empty, "-o", self.out))
        self.assertIn("nowhere", self.refuse(1, self.folder / "nowhere", "-o", self.out))
        cut = self.folder / "cut.txt.gz"
        cut.write_bytes((self.corpus / "b.txt.gz").read_bytes()[:-5])
        self.assertIn("cut off", self.refuse(1, cut, "-o", self.out))

    def test_too_small_for_the_alphabet(self):
        self.assertIn("no room", self.refuse(2, self.corpus, "-o", self.out, "--size", "12"))

    def test_output_that_cannot_be_written(self):
        self.assertIn("nosuch", self.refuse(1, self.corpus, "-o", self.folder / "nosuch" / "v.txt"))

    def test_wrong_calls(self):
        self.refuse(2, "-o", self.out)
        self.refuse(2, self.corpus)
        self.refuse(2, self.corpus, "-o", self.out, "--size", "2")


if __name__ == "__main__":
    support.main()
