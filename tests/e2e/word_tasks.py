"""Tasks that a small model learns in a second: texts of made-up words, one of which decides the label."""

import json
import pathlib
import random
import shutil
import tempfile

import support

WORDS = [f"w{i}" for i in range(40)]
SPECIALS = "[PAD] [UNK] [CLS] [SEP] [MASK]".split()
LABELS = ("no", "maybe", "yes")
# A preset made small.
TINY = ["--model", "bert-tiny", "--set", "hidden_size=32", "--set", "intermediate_size=64", "--set",
        "num_hidden_layers=1", "--set", "max_position_embeddings=32"]


def rows(path, count, labels=LABELS, words=WORDS, first=0, fillers=slice(20, None), seed=1):
    """Writes `count` labelled texts. A text of label i holds words[first + i] among words[fillers]."""
    rng = random.Random(seed)
    lines = ["text\tlabel"]
    for _ in range(count):
        label = rng.randrange(len(labels))
        text = [rng.choice(words[fillers]) for _ in range(rng.randrange(2, 9))]
        text.insert(rng.randrange(len(text)), words[first + label])
        lines.append(" ".join(text) + "\t" + labels[label])
    path.write_text("\n".join(lines) + "\n")
    return path


class WordTask(support.TestCase):
    words = WORDS
    pieces = SPECIALS + WORDS

    def setUp(self):
        super().setUp()
        self.vocab = self.write("vocab.txt", "\n".join(self.pieces) + "\n")

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def rows(self, name, count, **how):
        return rows(self.folder / name, count, words=self.words, **how)

    def run_quietly(self, *arguments):
        """Training reports on standard error; everything else as succeed() wants it."""
        result = support.run(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return result

    def inspect(self, model, *arguments):
        return json.loads(self.succeed("inspect", model, *arguments, "--json"))


class TrainedTask(WordTask):
    """`self.model` has learned `self.data`, once for all tests of a class, which leave both as they are."""

    fillers = slice(20, None)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = pathlib.Path(tempfile.mkdtemp(prefix="thimble-e2e-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        vocab = folder / "vocab.txt"
        vocab.write_text("\n".join(cls.pieces) + "\n")
        cls.data = rows(folder / "data.tsv", 160, words=cls.words, fillers=cls.fillers)
        cls.model = folder / "model.thimble"
        # Wide enough for what makes it smaller to be felt beside what every run costs.
        done = support.run("train", "--model", "bert-tiny", "--vocab", vocab, "--train", cls.data, "-o", cls.model,
                           "--epochs", 4, "--lr", "2e-3")
        assert done.returncode == 0, done.stderr.decode()
