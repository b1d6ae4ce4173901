"""thimble inspect: files that are not what they claim to be."""

import support


class BadFiles(support.TestCase):
    def test_missing(self):
        self.assertIn("missing.thimble", self.fail_with(1, "inspect", self.folder / "missing.thimble"))

    def test_not_a_model(self):
        for name, content in (("empty", b""), ("text", b"hello, world\n" * 100), ("zeros", bytes(4096))):
            with self.subTest(name):
                path = self.folder / name
                path.write_bytes(content)
                self.assertIn(name, self.fail_with(1, "inspect", path))

    def test_directory(self):
        self.fail_with(1, "inspect", self.folder)


if __name__ == "__main__":
    support.main()
