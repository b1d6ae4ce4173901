"""thimble export: the task libraries of others, which read a .tflite file's metadata, take it from text to labels and
answers as we do. Needs Chromium, Node and two npm packages; skipped without them."""

import json
import subprocess

import support

TEXTS = ["a thimble fits", "b transformers in tiny , small .", "a"]


class TaskLibraries(support.TestCase):
    def library(self, name, package, model, requests):
        """What the library says of each request."""
        support.need(package, programs=("node", "chromium"))
        result = subprocess.run(["node", support.ROOT / "tools/task_libraries.mjs", name, model, "--npm", support.NPM],
                                input="".join(request + "\n" for request in requests),
                                capture_output=True, text=True, timeout=150)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def check_labels(self, name, package, *options):
        model, tflite = self.folder / "m.thimble", self.folder / "m.tflite"
        self.succeed("import", support.write_checkpoint(self.folder / "hf"), "-o", model)
        self.succeed("export", model, "-o", tflite, "--scores", *options)
        ours = self.documents("predict", model, "-", "--json", "--all", stdin="\n".join(TEXTS) + "\n")
        for got, want in zip(self.library(name, package, tflite, TEXTS), ours, strict=True):
            best = max(got, key=lambda category: category["score"])
            self.assertEqual(best["label"], want["label"])
            self.assertAlmostEqual(best["score"], want["score"], places=4)

    def test_text_classifier(self):
        self.check_labels("text_classifier", "@mediapipe/tasks-text")

    def test_text_classifier_that_resizes(self):
        self.check_labels("text_classifier", "@mediapipe/tasks-text", "--resizable")

    def test_bert_nl_classifier(self):
        self.check_labels("bert_nl_classifier", "@tensorflow/tfjs-tflite")

    def test_bert_question_answerer(self):
        checkpoint = support.write_question_answerer(self.folder / "qa")
        model, tflite = self.folder / "qa.thimble", self.folder / "qa.tflite"
        self.succeed("import", checkpoint, "-o", model)
        self.succeed("export", model, "-o", tflite)
        context = "a thimble fits in tiny small transformers ."
        answers = self.library("bert_question_answerer", "@tensorflow/tfjs-tflite", tflite, ["a fits ?\t" + context])[0]
        self.assertTrue(answers)
        request = json.dumps({"question": "a fits ?", "context": context}) + "\n"
        ours = self.documents("predict", model, "-", "--json", "--jsonl", stdin=request)[0]
        self.assertEqual(max(answers, key=lambda answer: answer["score"])["answer"], ours["answer"])


if __name__ == "__main__":
    support.main()
