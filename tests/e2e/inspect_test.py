"""thimble inspect: what a model consists of; files that are not what they claim to be."""

import json

import support


class Inspect(support.TestCase):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "m.thimble"
        self.succeed("import", support.write_checkpoint(self.folder / "hf"), "-o", self.model)

    def document(self, *arguments):
        return json.loads(self.succeed("inspect", self.model, "--json", *arguments))

    def test_json_has_what_was_promised(self):
        document = self.document()
        self.assertLessEqual({"architecture", "parameters", "macs", "weight_bytes", "file_bytes",
                              "labels", "task", "nodes", "provenance"}, set(document))
        self.assertEqual(document["architecture"], "bert")
        self.assertEqual(document["task"], "single_label")
        self.assertEqual(document["labels"], ["no", "maybe", "yes"])
        self.assertEqual(document["file_bytes"], self.model.stat().st_size)
        self.assertEqual(document["provenance"]["source"], "hf")
        for node in document["nodes"]:
            self.assertEqual(set(node), {"name", "op", "shape", "params", "macs"})
        self.assertEqual(len({node["name"] for node in document["nodes"]}), len(document["nodes"]))

    def test_counts_every_parameter_of_the_checkpoint(self):
        checkpoint = json.loads((self.folder / "hf" / "config.json").read_text())
        total = 0
        for _, shape in support.bert_tensors(checkpoint):
            product = 1
            for dimension in shape:
                product *= dimension
            total += product
        document = self.document()
        self.assertEqual(document["parameters"], total)
        self.assertEqual(document["parameters"], sum(n["params"] for n in document["nodes"]))
        # float32, stored in panels of 16 outputs: a matrix with fewer takes more than 4 bytes each.
        self.assertGreaterEqual(document["weight_bytes"], 4 * total)

    def test_macs_follow_the_length(self):
        def macs(length):
            document = self.document("--seq", length)
            self.assertEqual(document["sequence_length"], length)
            self.assertEqual(document["macs"], sum(n["macs"] for n in document["nodes"]))
            return document["macs"]

        # Per layer and token: four projections 8 x 8, two products 8 x 16, and 2 * 8 per pair of
        # tokens in attention. Once: the pooler 8 x 8 and the classifier 3 x 8.
        for length in (1, 16):
            self.assertEqual(macs(length),
                             2 * length * (4 * 64 + 2 * 128 + 2 * 8 * length) + 64 + 24)

    def test_refuses_lengths_beyond_the_model(self):
        self.assertIn("at most 32 tokens", self.fail_with(2, "inspect", self.model, "--seq", "33"))

    def test_table_for_people(self):
        text = self.succeed("inspect", self.model)
        for word in ("attention", "[32, 8]", "single_label", "no, maybe, yes", "parameters"):
            self.assertIn(word, text)

    def test_truncated_and_damaged_files(self):
        content = self.model.read_bytes()
        damaged = self.folder / "damaged.thimble"
        for end in [*range(0, 200, 13), *range(200, len(content), len(content) // 20)]:
            with self.subTest(end=end):
                damaged.write_bytes(content[:end])
                self.assertIn("damaged.thimble", self.fail_with(1, "inspect", damaged))
        for place in range(0, 400, 37):
            with self.subTest(flipped=place):
                flipped = bytearray(content)
                flipped[place] ^= 0x10
                damaged.write_bytes(flipped)
                self.fail_with(1, "inspect", damaged)


class NotAModel(support.TestCase):
    def test_missing(self):
        self.assertIn("missing.thimble", self.fail_with(1, "inspect", self.folder / "missing.thimble"))

    def test_other_files(self):
        for name, content in (("empty", b""), ("text", b"hello, world\n" * 100), ("zeros", bytes(4096))):
            with self.subTest(name):
                path = self.folder / name
                path.write_bytes(content)
                self.assertIn(name, self.fail_with(1, "inspect", path))

    def test_directory(self):
        self.fail_with(1, "inspect", self.folder)


if __name__ == "__main__":
    support.main()
