"""thimble tokenize: ids from vocabularies, directories and models; lines, pairs, objects; the frame's
promises about pipes and Ctrl-C."""

import json
import os
import signal
import subprocess

import support


class Tokenize(support.TestCase):
    def setUp(self):
        super().setUp()
        self.checkpoint = support.write_checkpoint(self.folder / "hf")
        self.vocabulary = self.checkpoint / "vocab.txt"

    def ids(self, *words):
        return [support.VOCABULARY.index(word) for word in words]

    def tokenize(self, stdin, *arguments):
        return self.documents("tokenize", "--vocab", self.vocabulary, "--json", *arguments, stdin=stdin)

    def test_ids_types_mask_and_byte_offsets(self):
        self.assertEqual(self.tokenize("Fit  thimbles!\n"), [{
            "input_ids": self.ids("[CLS]", "fit", "thimble", "##s", "!", "[SEP]"),
            "token_type_ids": [0] * 6, "attention_mask": [1] * 6,
            "offsets": [[0, 0], [0, 3], [5, 12], [12, 13], [13, 14], [0, 0]]}])

    def test_one_line_each_in_order(self):
        ids = [d["input_ids"] for d in self.tokenize("a\n\nb\r\nc")]
        self.assertEqual(ids, [self.ids("[CLS]", *words, "[SEP]")
                               for words in (["a"], [], ["b"], ["c"])])
        self.assertEqual(self.tokenize(""), [])

    def test_file_and_standard_input_are_one(self):
        path = self.folder / "lines.txt"
        path.write_text("a thimble\n")
        arguments = ("tokenize", "--vocab", self.vocabulary, "--json")
        self.assertEqual(self.succeed(*arguments, path), self.succeed(*arguments, "-", stdin="a thimble\n"))

    def test_three_ways_to_the_same_tokenizer(self):
        model = self.folder / "m.thimble"
        self.succeed("import", self.checkpoint, "-o", model)
        expected = self.tokenize("Transformers, small!\n")
        for source in (self.checkpoint, model):
            self.assertEqual(expected, self.documents("tokenize", "--tokenizer", source, "--json",
                                                      stdin="Transformers, small!\n"))

    def test_pieces_for_people(self):
        text = self.succeed("tokenize", "--vocab", self.vocabulary, stdin="Thimbles xyz\n")
        self.assertEqual(text, "[CLS] thimble ##s [UNK] [SEP]\n")

    def test_cased(self):
        line = self.succeed("tokenize", "--vocab", self.vocabulary, "--cased", stdin="Fit fit\n")
        self.assertEqual(line, "[CLS] [UNK] fit [SEP]\n")

    def test_pairs(self):
        expected = {"input_ids": self.ids("[CLS]", "a", "[SEP]", "b", "c", "[SEP]"),
                    "token_type_ids": [0, 0, 0, 1, 1, 1]}
        inputs = [("a\tb c\n", ["--pair-separator", "TAB"]), ("a\tb c\n", ["--pair-separator", "\t"]),
                  ("a ||| b c\n", ["--pair-separator", "|||"]),
                  ('{"text": "a", "text_pair": "b c"}\n', ["--jsonl"]),
                  ('{"question": "a", "context": "b c", "id": 1}\n', ["--jsonl"])]
        for stdin, arguments in inputs:
            with self.subTest(arguments):
                document, = self.tokenize(stdin, *arguments)
                self.assertEqual({key: document[key] for key in expected}, expected)

    def test_max_length_cuts_and_says_so(self):
        result = support.run("tokenize", "--vocab", self.vocabulary, "--max-length", "4", "--json",
                             stdin="a b c\na\n")
        self.assertEqual(result.returncode, 0)
        first, second = (json.loads(line)["input_ids"] for line in result.stdout.splitlines())
        self.assertEqual(first, self.ids("[CLS]", "a", "b", "[SEP]"))
        self.assertEqual(second, self.ids("[CLS]", "a", "[SEP]"))
        self.assertRegex(result.stderr.decode(), r"\Athimble: 1 of 2 texts [^\n]*cut off\n\Z")

    def test_bytes_that_are_not_text(self):
        result = support.run("tokenize", "--vocab", self.vocabulary, "--json", stdin=b"a \xff b\n")
        self.assertEqual(result.returncode, 0)
        self.assertEqual(json.loads(result.stdout)["offsets"][-2], [4, 5])
        self.assertIn("not valid UTF-8", result.stderr.decode())

    def test_bad_objects_name_their_line(self):
        for line in ("", "[]", "{", '{"text": 1}', '{"txt": "a"}', '{"question": "a"}'):
            with self.subTest(line):
                result = support.run("tokenize", "--vocab", self.vocabulary, "--jsonl", "--json",
                                     stdin='{"text": "a"}\n' + line + "\n")
                self.assertEqual(result.returncode, 1)
                self.assertRegex(result.stderr.decode(), r"\Athimble: tokenize: line 2: [^\n]+\n\Z")

    def test_wrong_calls(self):
        self.fail_with(2, "tokenize", stdin="a\n")
        self.fail_with(2, "tokenize", "--vocab", self.vocabulary, "--tokenizer", self.checkpoint)
        self.fail_with(2, "tokenize", "--vocab", self.vocabulary, "--max-length", "0")

    def test_bad_vocabularies(self):
        self.assertIn("nowhere.txt", self.fail_with(1, "tokenize", "--vocab", self.folder / "nowhere.txt"))
        empty = self.folder / "empty.txt"
        empty.write_text("")
        self.assertIn("empty.txt", self.fail_with(1, "tokenize", "--vocab", empty))
        bare = self.folder / "bare"
        bare.mkdir()
        self.assertIn("vocab.txt", self.fail_with(1, "tokenize", "--tokenizer", bare))

    def test_missing_input(self):
        self.assertIn("nowhere", self.fail_with(1, "tokenize", "--vocab", self.vocabulary, "nowhere"))


class Processes(support.TestCase):
    def start(self):
        vocabulary = support.write_checkpoint(self.folder / "hf") / "vocab.txt"
        return subprocess.Popen([support.THIMBLE, "tokenize", "--vocab", str(vocabulary)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_interrupt_ends_a_wait_for_lines(self):
        process = self.start()
        # Enough lines that the first results come back: from then on it waits for more.
        process.stdin.write(b"a b c\n" * 10000)
        process.stdin.flush()
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=support.TIMEOUT_SECONDS)
        self.assertEqual((process.returncode, error.decode()), (130, "thimble: tokenize: interrupted\n"))

    def test_a_reader_that_leaves_is_no_error(self):
        process = self.start()
        process.stdout.close()
        try:
            process.stdin.write(b"a b c\n" * 100000)
            process.stdin.close()
        except BrokenPipeError:
            pass
        self.assertEqual(process.wait(timeout=support.TIMEOUT_SECONDS), -signal.SIGPIPE)
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()


class Goldens(support.TestCase):
    """Hugging Face's own ids, where the optional goldens are."""

    def test_ids_of_texts_and_pairs(self):
        folder = support.shared("goldens/hf/tokenizer")
        if folder is None:
            self.skipTest("the goldens are not here: set THIMBLE_SHARED or put `shared` beside the checkout")
        lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
        arguments = {"uncased": ("--vocab", folder / "vocab_uncased.txt"),
                     "cased": ("--vocab", folder / "vocab_cased_synthetic.txt", "--cased")}
        for name, source in arguments.items():
            # A pair's slow ids are given; Rust's only where the texts themselves agree.
            for keys in (("text",), ("text", "pair")):
                stdin, expected = [], []
                for line in lines:
                    differs = line.get("rust_differs", {}).get(name, {})
                    texts = dict(zip(("text", "text_pair"), (line[key] for key in keys)))
                    stdin.append(json.dumps(texts) + "\n")
                    ids = line["configs"][name]["ids" if len(keys) == 1 else "pair"]
                    expected.append(differs.get("ids", ids) if len(keys) == 1 else ids)
                got = self.documents("tokenize", *source, "--jsonl", "--json", stdin="".join(stdin))
                self.assertEqual(len(got), len(lines))
                by_text = {line["text"] for line in lines if "ids" in line.get("rust_differs", {}).get(name, {})}
                for line, document, want in zip(lines, got, expected):
                    if len(keys) == 2 and by_text & {line["text"], line["pair"]}:
                        continue
                    with self.subTest(config=name, id=line["id"], keys=keys):
                        self.assertEqual(document["input_ids"], want)


if __name__ == "__main__":
    support.main()
