"""thimble train and distill: what a person sees, exit codes, resuming, bad input."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import support
from word_tasks import TINY, WORDS, WordTask


class TrainingCase(WordTask):
    def setUp(self):
        super().setUp()
        self.train = self.rows("train.tsv", 240, fillers=slice(3, None))
        self.valid = self.rows("valid.tsv", 60, fillers=slice(3, None), seed=2)
        self.model = self.folder / "m.thimble"

    def call(self, *more, output=None, epochs=2):
        return ["train", *TINY, "--vocab", self.vocab, "--train", self.train, "-o", output or self.model,
                "--epochs", epochs, "--lr", "5e-3", "--dropout", "0", *more]

    def weights(self, model):
        return self.inspect(model)["weights_sha256"]

    def start(self, *arguments, **environment):
        """The program in the background, its standard error kept."""
        return subprocess.Popen([support.THIMBLE, *map(str, arguments)], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, env={**os.environ, **environment})

    def wait_until(self, condition):
        deadline = time.time() + support.TIMEOUT_SECONDS
        while not condition():
            self.assertLess(time.time(), deadline)
            time.sleep(0.01)

    def ended(self, process):
        """Exit code and standard error."""
        _, err = process.communicate(timeout=support.TIMEOUT_SECONDS)
        return process.returncode, err.decode()


class Train(TrainingCase):
    def test_learns_and_the_runtime_agrees(self):
        result = self.run_quietly(*self.call("--valid", self.valid, "--test", self.valid, "--json", epochs=20))
        summary = json.loads(result.stdout)
        self.assertGreater(summary["valid"]["accuracy"], 0.9)
        self.assertEqual(summary["valid"]["accuracy"], summary["test"]["accuracy"])
        self.assertRegex(result.stderr.decode(), r"epoch 1\.00: loss [0-9.]+, validation accuracy")
        answer = self.documents("predict", self.model, "--json", stdin="w5 w1 w7\n")[0]
        self.assertEqual(answer["label"], "maybe")
        inspected = self.inspect(self.model)
        self.assertEqual(inspected["labels"], ["maybe", "no", "yes"])
        self.assertIn("training", inspected["provenance"])
        account = json.loads(inspected["provenance"]["training_account"])
        self.assertEqual(account["device"], "cpu")
        self.assertGreater(account["cpu_s"], 0)
        self.assertGreater(account["energy_j"], 0)
        self.assertRegex(account["energy_source"], "measured|estimate")
        self.assertAlmostEqual(account["co2_g"], account["energy_j"] / 3.6e6 * account["grid_co2_g_per_kwh"])
        log = [json.loads(line) for line in open(str(self.model) + ".log.jsonl")]
        self.assertEqual([l["event"] for l in log].count("evaluation"), 20)
        self.assertFalse(os.path.exists(str(self.model) + ".checkpoint"))

    def test_multiplies_in_bfloat16_where_asked(self):
        exact, rounded = self.folder / "exact.thimble", self.folder / "rounded.thimble"
        self.run_quietly(*self.call(output=exact))
        summary = json.loads(self.run_quietly(*self.call("--precision", "bf16", "--valid", self.valid, "--json", output=rounded,
                                                         epochs=20)).stdout)
        self.assertGreater(summary["valid"]["accuracy"], 0.9)
        recipe = json.loads(self.inspect(rounded)["provenance"]["training"])
        self.assertEqual(recipe["precision"], "bf16")
        # Which is faster is the machine's affair; that it is said, and done, is not.
        result = self.run_quietly(*self.call("--precision", "auto"))
        chosen = re.search(r"ms in float32, .* ms in bfloat16; training in (b?float\d+)", result.stderr.decode())[1]
        recipe = json.loads(self.inspect(self.model)["provenance"]["training"])
        self.assertEqual(recipe["precision"], {"float32": "f32", "bfloat16": "bf16"}[chosen])
        self.assertEqual(self.weights(self.model) == self.weights(exact), chosen == "float32")

    def test_repeats_bit_for_bit(self):
        other = self.folder / "again.thimble"
        self.run_quietly(*self.call())
        self.run_quietly(*self.call(output=other))
        self.assertEqual(self.weights(self.model), self.weights(other))
        self.run_quietly(*self.call("--seed", "2", output=other))
        self.assertNotEqual(self.weights(self.model), self.weights(other))

    def test_a_killed_run_resumes_to_the_same_weights(self):
        self.run_quietly(*self.call(epochs=40))
        whole = self.weights(self.model)
        killed = self.folder / "killed.thimble"
        call = self.call("--checkpoint-every", "0", output=killed, epochs=40)
        self.kill_at_first_checkpoint(call, killed)
        result = self.run_quietly(*call, "--resume")
        self.assertIn("going on from step", result.stderr.decode())
        self.assertEqual(self.weights(killed), whole)
        log = [json.loads(line) for line in open(str(killed) + ".log.jsonl")]
        steps = [l["step"] for l in log if l["event"] == "step"]
        self.assertEqual(steps, list(range(1, len(steps) + 1)))

    def test_an_interrupted_run_keeps_a_checkpoint(self):
        call = self.call("--checkpoint-every", "1e9", epochs=4000)
        process = subprocess.Popen([support.THIMBLE, *map(str, call)], stderr=subprocess.PIPE)
        log = str(self.model) + ".log.jsonl"
        deadline = time.time() + support.TIMEOUT_SECONDS
        while (not os.path.exists(log) or os.path.getsize(log) == 0) and time.time() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=support.TIMEOUT_SECONDS)
        self.assertEqual(process.returncode, 130)
        self.assertIn(b"--resume", err)
        self.assertTrue(os.path.exists(str(self.model) + ".checkpoint"))
        self.assertFalse(self.model.exists())

    def test_distils_into_a_smaller_student(self):
        teacher = self.folder / "teacher.thimble"
        self.run_quietly(*self.call("--valid", self.valid, output=teacher, epochs=20))
        call = self.call("--valid", self.valid, "--teacher", teacher, "--set", "hidden_size=16", "--alpha-hidden",
                         "0.1", "--alpha-values", "0.1", "--json", epochs=20)
        first = self.run_quietly("distill", *call[1:])
        self.assertIn("are kept in", first.stderr.decode())
        self.assertGreater(json.loads(first.stdout)["valid"]["accuracy"], 0.5)
        self.assertIn("were read from", self.run_quietly("distill", *call[1:]).stderr.decode())
        names = [n["name"] for n in self.inspect(self.model)["nodes"]]
        self.assertFalse([n for n in names if n.startswith("distill")])

    def test_a_trained_model_gets_a_new_head(self):
        self.run_quietly(*self.call())
        other = self.write("other.tsv", "text\tlabel\n" + "w1 w2\tup\nw3 w4\tdown\n" * 8)
        second = self.folder / "second.thimble"
        self.run_quietly("train", "--model", self.model, "--train", other, "-o", second, "--epochs", "1")
        self.assertEqual(self.inspect(second)["labels"], ["down", "up"])

    def test_pretrains_on_plain_text(self):
        text = self.write("corpus.txt", "\n".join(" ".join(WORDS[i:i + 12]) for i in range(28)) + "\n")
        self.run_quietly("train", *TINY, "--vocab", self.vocab, "--train", text, "--task", "masked_lm",
                         "-o", self.model, "--epochs", "1")
        self.assertEqual(self.inspect(self.model)["task"], "masked_lm")

    def test_a_model_keeps_accents_where_asked(self):
        self.vocab.write_text(self.vocab.read_text() + "thé\n")
        for more, pieces in ((["--keep-accents"], "thé"), ([], "[UNK]")):
            self.run_quietly(*self.call("--max-steps", 1, *more))
            line = self.succeed("tokenize", "--tokenizer", self.model, stdin="THÉ\n")
            self.assertEqual(line.split(), ["[CLS]", pieces, "[SEP]"])

    def test_bad_rows_are_counted_or_stop_the_run(self):
        with self.train.open("a") as file:
            file.write("only one column\n")
        result = self.run_quietly(*self.call())
        self.assertIn("line 242", result.stderr.decode())
        self.assertIn("line 242", self.fail_with(1, *self.call("--strict")))

    def test_wrong_calls(self):
        self.assertIn("bert-tiny", self.fail_with(1, "train", "--model", "bert-tny", "--train", self.train,
                                                  "-o", self.model))
        self.assertIn("--vocab", self.fail_with(2, "train", "--model", "bert-tiny", "--train", self.train, "-o",
                                                self.model))
        self.assertIn("--epochs", self.fail_with(2, *self.call("--epoch", "3")))
        self.fail_with(2, *self.call("--schedule", "cubic"))
        self.fail_with(2, *self.call("--device", "quantum"))
        self.fail_with(1, *self.call(output=self.folder / "missing" / "m.thimble"))
        self.fail_with(2, *self.call("--set", "hidden_size"))

    def test_bad_files(self):
        self.assertIn("nowhere.tsv", self.fail_with(1, "train", *TINY, "--vocab", self.vocab, "--train",
                                                    self.folder / "nowhere.tsv", "-o", self.model))
        recipe = self.write("r.toml", "epochs = 1\nlearning_rate = 3\n")
        self.assertIn("learning_rate", self.fail_with(2, *self.call("--recipe", recipe)))
        self.run_quietly(*self.call())
        broken = self.write("broken.thimble", "")
        broken.write_bytes(self.model.read_bytes()[:900])
        self.assertIn("broken.thimble", self.fail_with(1, "distill", "--teacher", broken, *self.call()[1:]))

    def test_a_recipe_gives_options(self):
        recipe = self.write("r.toml", 'epochs = 3\nschedule = "cosine"\n')
        call = [a for a in map(str, self.call("--recipe", recipe, "--json")) if a]
        at = call.index("--epochs")
        summary = json.loads(self.run_quietly(*call[:at], *call[at + 2:]).stdout)
        self.assertEqual(summary["epochs"], 3)


def children_of(process):
    """Process ids in the order in which they were started: of rank 0, 1, ..."""
    return [int(c) for c in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Processes(TrainingCase):
    def weights_of_one_process(self, *more, **options):
        one = self.folder / "one.thimble"
        self.run_quietly(*self.call("--threads", "2", *more, output=one, **options))
        return self.weights(one)

    def starting(self, *more):
        """A long run of two processes, once it has written its first checkpoint: (process, call, checkpoint)."""
        call = self.call("--processes", "2", *more, epochs=40)
        process = self.start(*call)
        checkpoint = pathlib.Path(str(self.model) + ".checkpoint")
        self.wait_until(checkpoint.exists)
        return process, call, checkpoint

    def kill_with_children(self, process):
        """Kills what was started, and waits for its children to end with it; returns their ids."""
        children = children_of(process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.wait_until(lambda: not [c for c in children if is_running(c)])
        return children

    def test_give_what_one_gives(self):
        want = self.weights_of_one_process("--valid", self.valid)
        result = self.run_quietly(*self.call("--valid", self.valid, "--processes", "2", "--json"))
        self.assertEqual(json.loads(result.stdout)["processes"], 2)
        self.assertEqual(self.weights(self.model), want)
        lines = result.stderr.decode().splitlines()
        self.assertEqual(len([line for line in lines if "epoch 1.00" in line]), 1, lines)

    def test_a_killed_process_ends_all_and_resuming_gives_the_very_weights(self):
        want = self.weights_of_one_process(epochs=40)
        for rank, line in ((0, "thimble: train: rank 1 of 2: rank 0 of 2 is gone"),
                           (1, "thimble: train: rank 1 of 2 is gone")):
            process, call, checkpoint = self.starting("--checkpoint-every", "0")
            children = children_of(process)
            os.kill(children[rank], signal.SIGKILL)
            code, err = self.ended(process)
            self.assertEqual(code, 1)
            self.assertRegex(err, rf"\A{line}[^\n]*\n\Z")
            self.assertIn(f"the last checkpoint is kept: {checkpoint}", err)
            self.assertFalse([c for c in children if is_running(c)])
            self.assertFalse(self.model.exists())
            self.assertIn("going on from step", self.run_quietly(*call, "--resume").stderr.decode())
            self.assertEqual(self.weights(self.model), want)
            self.model.unlink()

    def test_one_process_resumes_what_two_began(self):
        want = self.weights_of_one_process(epochs=40)
        process, _, _ = self.starting("--checkpoint-every", "0")
        self.kill_with_children(process)
        self.run_quietly(*self.call("--threads", "2", "--resume", epochs=40))
        self.assertEqual(self.weights(self.model), want)

    def test_an_interrupt_stops_all(self):
        process = self.start(*self.call("--processes", "2", "--checkpoint-every", "1e9", epochs=4000))
        log = pathlib.Path(str(self.model) + ".log.jsonl")
        self.wait_until(lambda: log.exists() and log.stat().st_size > 0)
        children = children_of(process)
        process.send_signal(signal.SIGINT)
        code, err = self.ended(process)
        self.assertEqual(code, 130)
        self.assertRegex(err, r"\Athimble: train: interrupted[^\n]*--resume[^\n]*\n\Z")
        self.assertTrue(os.path.exists(str(self.model) + ".checkpoint"))
        self.assertFalse([c for c in children if is_running(c)])

    def test_no_process_is_left_behind(self):
        process, _, _ = self.starting("--checkpoint-every", "0")
        self.assertEqual(len(self.kill_with_children(process)), 2)

    def ranks(self, *calls):
        """Ends of processes that a launcher started with one call each: exit codes and all lines."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        started = [self.start(*call, RANK=str(rank), WORLD_SIZE=str(len(calls)), MASTER_ADDR="127.0.0.1",
                              MASTER_PORT=str(port)) for rank, call in enumerate(calls)]
        ends = [self.ended(process) for process in started]
        return [code for code, _ in ends], "".join(err for _, err in ends).splitlines()

    def test_a_launcher_may_start_them(self):
        want = self.weights_of_one_process()
        codes, _ = self.ranks(self.call(), self.call())
        self.assertEqual(codes, [0, 0])
        self.assertEqual(self.weights(self.model), want)

    def test_a_rank_with_another_call_is_named(self):
        codes, lines = self.ranks(self.call(), self.call("--weight-decay", "0.5"))
        self.assertEqual(codes, [1, 1])
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("rank 1 of 2 has other data, options", lines[0])

    def test_a_rank_with_other_data_is_named(self):
        train = self.train
        first = self.call()
        self.train = self.rows("other.tsv", 240, fillers=slice(3, None), seed=3)
        codes, lines = self.ranks(first, self.call())
        self.train = train
        self.assertEqual(codes, [1, 1])
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("rank 1 of 2 has other data", lines[0])

    def test_errors_are_told_once(self):
        self.fail_with(2, *self.call("--processes", "2", "--schedule", "cubic"))
        missing = ["train", *TINY, "--vocab", self.vocab, "--train", self.folder / "nowhere.tsv", "-o", self.model]
        self.assertIn("nowhere.tsv", self.fail_with(1, *missing, "--processes", "3"))
        self.fail_with(2, *self.call("--processes", "0"))
        codes, lines = self.ranks(*[self.call("--processes", "2")] * 2)
        self.assertEqual(codes, [2, 2])
        self.assertIn("mpirun", lines[0])

    def test_a_teacher_runs_once(self):
        teacher = self.folder / "teacher.thimble"
        self.run_quietly(*self.call(output=teacher))
        one = self.folder / "one.thimble"
        student = ["--teacher", teacher, "--set", "hidden_size=16", "--alpha-hidden", "0.1"]
        self.run_quietly("distill", *self.call(*student, "--threads", "2", output=one)[1:])
        err = self.run_quietly("distill", *self.call(*student, "--processes", "2")[1:]).stderr.decode()
        self.assertEqual(err.count("the teacher's outputs"), 1, err)
        self.assertEqual(self.weights(self.model), self.weights(one))
        self.assertEqual(len(os.listdir(str(self.model) + ".teacher")), 1)


if __name__ == "__main__":
    support.main()
