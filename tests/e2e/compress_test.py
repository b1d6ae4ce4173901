"""The pipeline: from texts to a small model and its report, again from where it was, and what is refused."""

import html.parser
import json
import os
import random
import signal
import subprocess
import time

import support

WORDS = [f"w{i}" for i in range(40)]
RECIPE = """
[files]
train = "data.tsv"
valid = "data.tsv"

[measure]
seq = 16
seconds = 0.05

[limits]
max-loss = {loss}
min-smaller = 1.5

[[step]]
verb = "vocab"
inputs = "{{train}}"
output = "vocab.txt"
options = {{ size = 60 }}

[[step]]
name = "teacher"
verb = "train"
options = {{ model = "bert-tiny", vocab = "{{vocab}}", train = "{{train}}", valid = "{{valid}}", epochs = {epochs}, lr = 2e-3, threads = 1{more} }}

[[step]]
name = "int8"
verb = "quantize"
max-loss = 0.5
options = {{ scheme = "dynamic", valid = "{{valid}}", max-drop = 0.5 }}

[[step]]
verb = "export"
output = "model.onnx"
"""


class ScriptText(html.parser.HTMLParser):
    """What a browser finds in the script of that id; the addresses that it would load."""

    def __init__(self):
        super().__init__()
        self.text, self.inside, self.loads = "", False, []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.inside = tag == "script" and attributes.get("id") == "report"
        self.loads += [attributes[name] for name in ("src", "href") if name in attributes]

    def handle_data(self, data):
        self.text += data if self.inside else ""

    def handle_endtag(self, tag):
        self.inside = False


class Compress(support.TestCase):
    def setUp(self):
        super().setUp()
        rng = random.Random(1)
        lines = ["text\tlabel"]
        for _ in range(160):
            label = rng.randrange(2)
            words = [rng.choice(WORDS[10:]) for _ in range(rng.randrange(4, 9))] + [WORDS[label]]
            lines.append(" ".join(words) + "\t" + ["no", "<b>yes</b>"][label])
        (self.folder / "data.tsv").write_text("\n".join(lines) + "\n")
        self.out = self.folder / "out"

    def recipe(self, loss=1, epochs=4, more=""):
        path = self.folder / "r.toml"
        path.write_text(RECIPE.format(loss=loss, epochs=epochs, more=more))
        return path

    def compress(self, recipe, *arguments):
        return support.run("compress", recipe, "-o", self.out, *arguments)

    def test_a_recipe_from_texts_to_a_report(self):
        done = self.compress(self.recipe(), "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        report = json.loads(done.stdout)
        self.assertEqual(report, json.loads((self.out / "report.json").read_text()))
        steps = report["passes"][0]["steps"]
        self.assertEqual([s["decision"] for s in steps], ["done", "kept", "kept", "done"])
        result = report["passes"][0]["result"]
        self.assertGreater(result["smaller"], 1.5)
        # Figures are those of the verbs, and commands can be called as they stand.
        self.assertEqual((self.out / "model.thimble").stat().st_size, result["file_bytes"])
        metrics = json.loads(self.succeed("eval", self.out / "model.thimble", self.folder / "data.tsv", "--json"))["metrics"]
        self.assertEqual(metrics[report["metric"]], result["score"])
        self.assertTrue((self.out / "model.onnx").exists())
        self.assertEqual(support.run(*steps[3]["attempts"][0]["command"]).returncode, 0)
        # The page holds the report, and loads nothing.
        page = ScriptText()
        text = (self.out / "report.html").read_text()
        page.feed(text)
        self.assertEqual(json.loads(page.text), report)
        self.assertEqual(page.loads, [])
        self.assertNotIn("<b>yes", text)

        again = self.compress(self.recipe(), "--json")
        self.assertEqual(again.stderr, b"")  # no step is made
        self.assertEqual(json.loads(again.stdout)["passes"][0]["result"], result)
        changed = self.compress(self.recipe(more=", seed = 2"))
        made = [line.split(": ")[1] for line in changed.stderr.decode().splitlines()]
        self.assertEqual(made[0], "teacher")

    def test_a_missed_limit_is_exit_code_3(self):
        done = self.compress(self.tight())
        self.assertEqual(done.returncode, 3, done.stderr.decode())
        self.assertIn("times smaller, the limit is 50", done.stderr.decode().splitlines()[-1])
        self.assertTrue((self.out / "report.html").exists())
        self.assertFalse((self.out / "model.thimble").exists())
        self.assertEqual(self.compress(self.tight(), "--force").returncode, 3)
        self.assertTrue((self.out / "model.thimble").exists())

    def tight(self):
        path = self.recipe(epochs=1)
        path.write_text(path.read_text().replace("min-smaller = 1.5", "min-smaller = 50"))
        return path

    def test_an_interrupted_run_goes_on_to_the_same_model(self):
        recipe = self.recipe(epochs=60, more=", checkpoint-every = 0")
        process = subprocess.Popen([support.THIMBLE, "compress", recipe, "-o", self.out], stderr=subprocess.PIPE)
        deadline = time.time() + support.TIMEOUT_SECONDS
        while not list(self.out.glob("steps/train-*/model.thimble.checkpoint")) and time.time() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=support.TIMEOUT_SECONDS)[1].decode()
        self.assertEqual(process.returncode, 130, error)
        self.assertIn("step teacher; the same call with --resume", error)

        def weights(report):
            model = report["passes"][0]["result"]["path"]
            return self.succeed("predict", model, "--json", "--logits", stdin="w0 w12\nw1 w20 w30\n")

        resumed = self.compress(recipe, "--resume", "--json")
        self.assertEqual(resumed.returncode, 0, resumed.stderr.decode())
        whole = support.run("compress", recipe, "-o", self.folder / "whole", "--json")
        self.assertEqual(whole.returncode, 0, whole.stderr.decode())
        self.assertEqual(weights(json.loads(resumed.stdout)), weights(json.loads(whole.stdout)))

    def test_what_is_refused(self):
        recipe = self.recipe(more=", epoks = 2")
        self.assertIn("has no option 'epoks', did you mean 'epochs'?", self.fail_with(2, "compress", recipe, "-o", self.out))
        self.assertIn("--file train: it is name=PATH",
                      self.fail_with(2, "compress", recipe, "-o", self.out, "--file", "train"))
        self.assertIn("there is no", self.fail_with(1, "compress", self.recipe(), "-o", self.out, "--file", "train=gone.tsv"))
        self.assertIn("gone.toml", self.fail_with(1, "compress", "gone.toml", "-o", self.out))
        self.assertFalse(os.path.exists(self.out / "report.json"))


if __name__ == "__main__":
    support.main()
