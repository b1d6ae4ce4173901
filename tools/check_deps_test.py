"""Tests of check_deps.py; ./run lint runs them."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check_deps  # noqa: E402

PAGE = """
| folder | holds | may include | libraries |
|---|---|---|---|
| `base` | b | | |
| `graph` | g | base | |
| `formats/model.h` | m | base, graph | |
| `formats/thimble` | f | base, graph, formats/model.h | flatbuffers |
| `formats` | o | base, graph | nlohmann |
| `runtime/kernels` | k | base, graph/ops.h | hwy |
| `runtime` | r | base, graph, formats/model.h | |

Words between the tables.

| tests in | may include besides | libraries |
|---|---|---|
| `graph` | formats/model.h | unicode |

| other | table |
|---|---|
| `graph` | runtime |
"""


class Complaint(unittest.TestCase):
    def setUp(self):
        self.rows, self.tests = check_deps.read_tables(PAGE)

    def allowed(self, path, include):
        return check_deps.complaint(self.rows, self.tests, path, include) is None

    def test_reads_only_its_tables(self):
        self.assertEqual(list(self.rows), ["base", "graph", "formats/model.h", "formats/thimble",
                                           "formats", "runtime/kernels", "runtime"])
        self.assertEqual(self.tests, {"graph": check_deps.Row("graph", ["formats/model.h"], {"unicode"})})

    def test_arrows_point_down(self):
        self.assertTrue(self.allowed("graph/graph.cc", "thimble/base/result.h"))
        self.assertFalse(self.allowed("base/file.cc", "thimble/graph/graph.h"))
        self.assertFalse(self.allowed("graph/graph.cc", "thimble/runtime/plan.h"))
        self.assertTrue(self.allowed("graph/ops/add.cc", "thimble/graph/graph.h"))

    def test_kernels_see_single_headers_only(self):
        self.assertTrue(self.allowed("runtime/kernels/avx2.cc", "thimble/graph/ops.h"))
        self.assertFalse(self.allowed("runtime/kernels/avx2.cc", "thimble/graph/graph.h"))
        self.assertFalse(self.allowed("runtime/kernels/avx2.cc", "thimble/runtime/plan.h"))
        self.assertTrue(self.allowed("runtime/plan.cc", "thimble/graph/graph.h"))

    def test_longest_folder_counts(self):
        self.assertTrue(self.allowed("formats/onnx/writer.cc", "nlohmann/json.hpp"))
        self.assertFalse(self.allowed("formats/thimble/reader.cc", "nlohmann/json.hpp"))
        self.assertFalse(self.allowed("formats/thimble/reader.cc", "thimble/formats/onnx/writer.h"))
        self.assertTrue(self.allowed("formats/thimble/reader.cc", "thimble/formats/model.h"))
        self.assertFalse(self.allowed("formats/model.cc", "thimble/formats/onnx/writer.h"))

    def test_libraries(self):
        self.assertTrue(self.allowed("runtime/kernels/avx2.cc", "hwy/highway.h"))
        self.assertFalse(self.allowed("runtime/plan.cc", "hwy/highway.h"))
        self.assertFalse(self.allowed("base/file.cc", "neverheardof/it.h"))
        for header in ("vector", "sys/mman.h", "unistd.h", "immintrin.h"):
            self.assertTrue(self.allowed("base/file.cc", header), header)

    def test_tests_may_include_more(self):
        self.assertTrue(self.allowed("graph/graph_test.cc", "gtest/gtest.h"))
        self.assertTrue(self.allowed("graph/test_support.h", "gtest/gtest.h"))
        self.assertTrue(self.allowed("graph/generate_tables.cc", "unicode/uchar.h"))
        self.assertFalse(self.allowed("graph/graph.cc", "unicode/uchar.h"))
        self.assertFalse(self.allowed("base/file_test.cc", "unicode/uchar.h"))
        self.assertFalse(self.allowed("graph/graph.cc", "gtest/gtest.h"))
        self.assertTrue(self.allowed("graph/graph_test.cc", "thimble/formats/model.h"))
        self.assertFalse(self.allowed("graph/graph_test.cc", "thimble/runtime/plan.h"))
        self.assertFalse(self.allowed("graph/graph.cc", "thimble/formats/model.h"))

    def test_generated_headers_belong_to_their_folder(self):
        self.assertTrue(
            self.allowed("formats/thimble/reader.cc", "thimble/formats/thimble/x_generated.h"))
        self.assertFalse(self.allowed("runtime/plan.cc", "thimble/formats/thimble/x_generated.h"))

    def test_folders_need_a_row(self):
        self.assertFalse(self.allowed("attic/old.cc", "vector"))


class Tree(unittest.TestCase):
    def test_names_file_line_and_reason(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "docs").mkdir()
            (root / "docs" / "architecture.md").write_text(PAGE)
            (root / "src/thimble/base").mkdir(parents=True)
            (root / "src/thimble/base/x.cc").write_text('#include <vector>\n#include "thimble/graph/graph.h"\n')
            self.assertEqual(
                list(check_deps.check(root)),
                ["src/thimble/base/x.cc:2: thimble/graph/graph.h: base may include nothing of ours"])

    def test_a_page_without_its_table_is_a_finding(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "docs").mkdir()
            (root / "docs" / "architecture.md").write_text("nothing")
            self.assertEqual(len(list(check_deps.check(root))), 1)


if __name__ == "__main__":
    unittest.main()
