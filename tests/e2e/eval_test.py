"""thimble eval: metrics that agree with what predict says; data that does not fit the model."""

import json

import support

TEXTS = ["a thimble", "fit transformers", "in tiny , small !", "b c", "thimbles fit ?", "a b c",
         "transformer", "tiny thimble", "small !", "c"]


def table(rows, header=("text", "label")):
    return "".join("\t".join(row) + "\n" for row in [header, *rows])


class Eval(support.TestCase):
    def setUp(self):
        super().setUp()
        self.model = self.make("m")
        self.data = self.folder / "data.tsv"

    def make(self, name, **changes):
        model = self.folder / f"{name}.thimble"
        self.succeed("import", support.write_checkpoint(self.folder / name, **changes), "-o", model)
        return model

    def predicted(self):
        lines = self.succeed("predict", self.model, "-", "--json", stdin="\n".join(TEXTS) + "\n")
        return [json.loads(line)["label"] for line in lines.splitlines()]

    def run_eval(self, *arguments):
        """Exit 0; the document and what stands on standard error."""
        result = support.run("eval", self.model, self.data, "--json", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout), result.stderr.decode()

    def test_agrees_with_predict(self):
        labels = self.predicted()
        gold = [label if i % 5 else "maybe" for i, label in enumerate(labels)]
        right = sum(a == b for a, b in zip(gold, labels))
        self.data.write_text(table(zip(TEXTS, gold)))
        document, _ = self.run_eval("--per-label", "--confusion", "--threads", "2", "--batch", "3")
        self.assertEqual(document["examples"], len(TEXTS))
        self.assertAlmostEqual(document["metrics"]["accuracy"], right / len(TEXTS))
        self.assertEqual(document["main"], "accuracy")
        self.assertGreater(document["seconds"], 0)
        low, high = document["intervals"]["accuracy"]
        self.assertLessEqual(low, right / len(TEXTS))
        self.assertGreaterEqual(high, right / len(TEXTS))
        matrix = document["confusion"]["gold_by_predicted"]
        self.assertEqual(sum(matrix[i][i] for i in range(3)), right)
        self.assertEqual([label["label"] for label in document["per_label"]], ["no", "maybe", "yes"])
        self.assertEqual(sum(label["support"] for label in document["per_label"]), len(TEXTS))
        again, _ = self.run_eval("--per-label", "--confusion")
        for key in ("metrics", "intervals", "per_label", "confusion"):
            self.assertEqual(again[key], document[key])

    def test_table_for_people(self):
        self.data.write_text(table((text, "no") for text in TEXTS))
        result = support.run("eval", self.model, self.data, "--per-label", "--confusion")
        self.assertEqual(result.returncode, 0)
        for word in ("accuracy", "95 % interval", "precision", "gold (rows)", "single_label, 10 examples"):
            self.assertIn(word, result.stdout.decode())
        self.assertIn("2 of 3 labels of the model are not in the data", result.stderr.decode())

    def test_labels_by_index_and_case(self):
        labels = self.predicted()
        names = ["no", "maybe", "yes"]
        (self.folder / "labels.txt").write_text("0\tno\n1\tmaybe\n2\tyes\n")
        self.data.write_text(table((text, str(names.index(label))) for text, label in zip(TEXTS, labels)))
        document, _ = self.run_eval()
        self.assertEqual(document["metrics"]["accuracy"], 1)
        self.data.write_text(table((text, label.upper()) for text, label in zip(TEXTS, labels)))
        document, notes = self.run_eval()
        self.assertEqual(document["metrics"]["accuracy"], 1)
        self.assertIn("differ in case", notes)

    def test_labels_that_the_model_lacks(self):
        labels = self.predicted()
        labels[0] = "perhaps"
        self.data.write_text(table(zip(TEXTS, labels)))
        document, notes = self.run_eval()
        self.assertAlmostEqual(document["metrics"]["accuracy"], 0.9)
        self.assertIn('line 2: the label "perhaps" is not in the label set', notes)
        self.assertIn('1 labels of the data are not known to the model', notes)
        self.data.write_text(table((text, "x") for text in TEXTS))
        line = self.fail_with_notes(1)
        self.assertIn('the model knows none of its labels: the data has "x"; the model "no"', line)

    def fail_with_notes(self, code, *arguments):
        """The exit code and everything on standard error."""
        result = support.run("eval", self.model, self.data, *arguments)
        self.assertEqual((result.returncode, result.stdout), (code, b""))
        return result.stderr.decode()

    def test_bad_rows(self):
        self.data.write_text(table([("a", "no"), ("b",), ("", "no"), ("c", "yes"), ("c", "maybe")]))
        document, notes = self.run_eval()
        self.assertEqual((document["examples"], document["skipped_rows"]), (3, 2))
        self.assertIn("data.tsv: line 3: 1 column, the header has 2; skipped", notes)
        self.assertIn("data.tsv: line 4: empty text; skipped", notes)
        self.assertIn("line 3: 1 column", self.fail_with(1, "eval", self.model, self.data, "--strict"))

    def test_files_that_are_no_data(self):
        for name, content, word in (("a.tsv", "", "empty"), ("b.tsv", "x\ty\n1\t2\n", "no column is called text"),
                                    ("c.xyz", "text", "tells no format"), ("d.json", "{", "not valid JSON"),
                                    ("e.csv", 'text,label\n"a,no\n', "not closed")):
            with self.subTest(name):
                path = self.folder / name
                path.write_text(content)
                line = self.fail_with(1, "eval", self.model, path)
                self.assertIn(word, line)
                self.assertIn(name, line)
        self.assertIn("none.tsv", self.fail_with(1, "eval", self.model, self.folder / "none.tsv"))

    def test_wrong_calls(self):
        self.data.write_text(table([("a", "no"), ("b", "yes"), ("c", "maybe")]))
        self.fail_with(2, "eval", self.model)
        self.fail_with(2, "eval", self.model, self.data, "--thresholds", "0.5")
        self.fail_with(2, "eval", self.model, self.data, "--format", "xml")
        self.assertIn("there are: accuracy",
                      self.fail_with(2, "eval", self.model, self.data, "--metric", "bleu"))

    def test_several_labels(self):
        self.model = self.make("several", problem_type="multi_label_classification")
        self.data.write_text(table([(t, "no|yes" if i % 2 else "maybe") for i, t in enumerate(TEXTS)],
                                   ("text", "labels")))
        document, _ = self.run_eval("--tune-thresholds")
        self.assertEqual(document["main"], "macro_f1")
        tuned = document["tuned"]
        self.assertEqual(len(tuned["thresholds"]), 3)
        self.assertGreaterEqual(tuned["macro_f1_global"], tuned["macro_f1_at_half"])
        document, _ = self.run_eval("--thresholds", str(tuned["global_threshold"]))
        self.assertAlmostEqual(document["metrics"]["macro_f1"], tuned["macro_f1_global"], places=6)
        document, _ = self.run_eval("--thresholds", "0,0,0")
        self.assertEqual(document["metrics"]["macro_recall"], 1)
        self.fail_with(2, "eval", self.model, self.data, "--thresholds", "0.5,0.5")

    def test_numbers(self):
        self.model = self.make("number", problem_type="regression")
        self.data.write_text(table([(t, str(i / 2)) for i, t in enumerate(TEXTS)], ("text", "score")))
        document, _ = self.run_eval()
        self.assertEqual(list(document["metrics"]), ["pearson", "spearman", "mse"])
        self.assertLessEqual(abs(document["metrics"]["pearson"]), 1)


class OtherHeads(support.TestCase):
    def make(self, architecture, tensors):
        """A tiny BERT with another head; `tensors` are what the head adds."""
        folder = support.write_checkpoint(self.folder / "hf", architectures=[architecture])
        config = json.loads((folder / "config.json").read_text())
        rest = [t for t in support.bert_tensors(config) if not t[0].startswith(("classifier", "bert.pooler"))]
        support.write_safetensors(folder / "model.safetensors", rest + tensors)
        self.succeed("import", folder, "-o", self.folder / "m.thimble")
        return self.folder / "m.thimble"

    def test_answers(self):
        model = self.make("BertForQuestionAnswering", [("qa_outputs.weight", (2, 8)), ("qa_outputs.bias", (2,))])
        context = "a thimble fits in a tiny transformer . " * 8  # more than the 32 tokens of one window
        lines = self.succeed("predict", model, "-", "--json", "--jsonl",
                             stdin=json.dumps({"question": "what fits ?", "context": context}))
        predicted = json.loads(lines)
        question = json.dumps({"question": "what fits ?", "context": context})
        more = json.loads(self.succeed("predict", model, "-", "--json", "--jsonl", "--n-best", "3", stdin=question))
        spans = [(a["start"], a["end"]) for a in more["answers"]]
        self.assertEqual(len(set(spans)), 3)
        self.assertEqual(spans[0], (predicted["start"], predicted["end"]))
        for text in ("thimble", "a thimble fits", "fits", "tiny transformer fits a thimble ."):
            line = json.dumps({"question": "a thimble", "context": text})
            silent, plain = (json.loads(self.succeed("predict", model, "-", "--json", "--jsonl", "--logits", *more,
                                                     stdin=line)) for more in (["--no-answer"], []))
            start, end = plain["logits"]["start"], plain["logits"]["end"]
            context_tokens = range(4, len(start) - 1)  # behind [CLS] a thimble [SEP]
            best = max(start[s] + end[e] for s in context_tokens for e in context_tokens if e >= s)
            nothing = start[0] + end[0] > best
            self.assertEqual(silent["answer"], "" if nothing else plain["answer"])
            self.assertNotEqual(plain["answer"], "")
        found = len(context.encode()[:predicted["start"]].decode())
        rows = [{"id": "1", "question": "what fits ?", "context": context,
                 "answers": [{"text": predicted["answer"], "answer_start": found}]},
                {"id": "2", "question": "what fits ?", "context": context,
                 "answers": {"text": ["tiny transformer"], "answer_start": [20]}}]
        data = self.folder / "qa.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        document = json.loads(self.succeed("eval", model, data, "--json"))
        self.assertEqual((document["main"], document["examples"]), ("f1", 2))
        self.assertEqual(document["metrics"]["exact_match"], 0.5)
        paragraphs = [{"context": context, "qas": [
            rows[0] | {"is_impossible": False},
            {"id": "3", "question": "who ?", "answers": [], "is_impossible": True}]}]
        data = self.folder / "dev.json"
        data.write_text(json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}))
        document = json.loads(self.succeed("eval", model, data, "--json"))
        self.assertIn("no_answer_accuracy", document["metrics"])
        self.assertGreaterEqual(document["metrics"]["best_f1"], document["metrics"]["f1"])

    def test_token_labels(self):
        model = self.make("BertForTokenClassification", [("classifier.weight", (3, 8)), ("classifier.bias", (3,))])
        words = ["Thimbles", "fit", "transformers", "."]
        predicted = json.loads(self.succeed("predict", model, "-", "--json", stdin=" ".join(words)))
        # "thimble ##s", "fit", "transform ##ers", ".": a word has the label of its first token.
        first = [t["label"] for t in predicted["tokens"] if t["start"] in (0, 9, 13, 26)]
        self.assertEqual(len(first), 4)
        tags = first[:3] + ["yes" if first[3] != "yes" else "no"]
        data = self.folder / "data.conll"
        data.write_text("".join(f"{word} {tag}\n" for word, tag in zip(words, tags)))
        result = support.run("eval", model, data, "--json")
        self.assertEqual(json.loads(result.stdout)["metrics"]["accuracy"], 0.75)
        self.assertIn("have no words and tags", self.fail_with(1, "eval", model, self.plain()))

    def plain(self):
        path = self.folder / "plain.tsv"
        path.write_text("text\tlabel\na\tno\n")
        return path

    def test_a_model_without_labels(self):
        folder = support.write_checkpoint(self.folder / "hf")
        self.succeed("import", folder, "-o", self.folder / "f.thimble", "--task", "features")
        self.assertIn("features", self.fail_with(1, "eval", self.folder / "f.thimble", self.plain()))


if __name__ == "__main__":
    support.main()
