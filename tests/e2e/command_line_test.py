"""The frame around all verbs: help, typos, exit codes."""

import os
import re
import subprocess

import support


def verbs(test):
    """The verbs that the help lists."""
    text = test.succeed("--help")
    return re.findall(r"^  ([a-z]+)  +\S", text, re.MULTILINE)


class Help(support.TestCase):
    def test_alone_it_shows_the_verbs(self):
        self.assertEqual(self.succeed(), self.succeed("--help"))
        self.assertIn("inspect", verbs(self))

    def test_every_verb_has_an_example(self):
        trains = os.path.exists(os.path.join(os.path.dirname(support.THIMBLE), "thimble-train"))
        for verb in verbs(self):
            with self.subTest(verb):
                if verb in ("train", "distill") and not trains:
                    self.assertIn("./run build train", self.fail_with(1, verb, "--help"))
                    continue
                text = self.succeed(verb, "--help")
                self.assertIn("Example:\n  ", text)
                self.assertRegex(text.split("Example:")[1], rf"thimble {verb} ")
                self.assertIn("--json", text)

    def test_version(self):
        self.assertRegex(self.succeed("--version"), r"\Athimble \d+\.\d+\.\d+\n\Z")


class WrongCalls(support.TestCase):
    def test_unknown_verb(self):
        self.assertIn("did you mean 'inspect'?", self.fail_with(2, "inspct"))
        self.assertNotIn("did you mean", self.fail_with(2, "frobnicate"))
        self.fail_with(2, "")
        self.fail_with(2, "--frobnicate")

    def test_unknown_option(self):
        self.assertIn("did you mean '--json'?", self.fail_with(2, "inspect", "m.thimble", "--jsno"))
        self.fail_with(2, "inspect", "m.thimble", "-q")

    def test_bad_values(self):
        for value in ("abc", "-1", "0", "1e3", "99999999999999999999"):
            with self.subTest(value):
                self.assertIn("--seq", self.fail_with(2, "inspect", "m.thimble", "--seq", value))

    def test_missing_and_surplus_arguments(self):
        self.assertIn("MODEL", self.fail_with(2, "inspect"))
        self.fail_with(2, "inspect", "a.thimble", "b.thimble")
        self.fail_with(2, "inspect", "a.thimble", "--seq")

    def test_messages_stay_one_line(self):
        self.fail_with(1, "inspect", "no\nsuch\x1b[31mfile")


class FullDisk(support.TestCase):
    def test_output_that_cannot_be_written_is_an_error(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full")
        with open("/dev/full", "wb") as full:
            result = subprocess.run([support.THIMBLE, "--help"], stdout=full, stderr=subprocess.PIPE,
                                    timeout=support.TIMEOUT_SECONDS)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr.decode(), r"\Athimble: standard output: [^\n]+\n\Z")


if __name__ == "__main__":
    support.main()
