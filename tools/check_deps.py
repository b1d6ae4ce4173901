#!/usr/bin/env python3
"""Fails on every #include under src/thimble that docs/architecture.md does not allow.

    check_deps.py [ROOT]

The tables of that page are the rule: 'folder | holds | may include | libraries' for every source, and
'tests in | may include besides | libraries' for what only tests and builds. Prints 'file:line: include: why' and exits 1 on a finding.
"""

import pathlib
import re
import sys
from typing import NamedTuple

INCLUDE = re.compile(r'\s*#\s*include\s+["<]([^">]+)[">]')
TEST_LIBRARIES = {"gtest", "gmock"}
SYSTEM_FOLDERS = {"sys", "linux", "arpa", "netinet"}  # <sys/mman.h> is the system's, <hwy/...> is not


class Row(NamedTuple):
    folder: str
    may_include: list
    libraries: set


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def words(cell):
    return [word.strip("` ") for word in cell.split(",") if word.strip("` ")]


def read_tables(page):
    """Returns (rows of sources, rows of what tests may have besides), each by folder."""
    rows, tests, table = {}, {}, None
    for line in page.splitlines():
        if not line.startswith("|"):
            table = None
            continue
        row = cells(line)
        if row[:3] == ["folder", "holds", "may include"]:
            table = "folders"
        elif row[0] == "tests in":
            table = "tests"
        elif set(row[0]) <= set("-: "):
            continue
        elif table == "folders":
            folder = row[0].strip("`")
            rows[folder] = Row(folder, words(row[2]), set(words(row[3])))
        elif table == "tests":
            folder = row[0].strip("`")
            tests[folder] = Row(folder, words(row[1]), set(words(row[2])))
    return rows, tests


def covers(place, path):
    """Whether a row's place, a folder or one header, holds the path. model.h covers model.cc too."""
    if place.endswith(".h"):
        return path.rsplit(".", 1)[0] == place[:-2]
    return path == place or path.startswith(place + "/")


def row_of(rows, path):
    return max((r for r in rows.values() if covers(r.folder, path)),
               key=lambda r: len(r.folder), default=None)


def is_test(path):
    """Tests, what they share, and programs that only the build or a comparison runs."""
    return re.search(r"(_test|_fuzz|_requests)\.cc$|/(test_|generate_)\w+\.(cc|h)$", path)


def complaint(rows, tests, path, include):
    """Why `path` may not include `include` (both as written in the sources), or None."""
    row = row_of(rows, path)
    if row is None:
        return "the file's folder has no row in docs/architecture.md"
    may_include, libraries = list(row.may_include), set(row.libraries)
    if is_test(path):
        libraries |= TEST_LIBRARIES
        for extra in tests.values():
            if covers(extra.folder, path):
                may_include += extra.may_include
                libraries |= extra.libraries
    if include.startswith("thimble/"):
        target = include.removeprefix("thimble/")
        if target.endswith("_generated.h"):
            target = target.rsplit("/", 1)[0] + "/generated.h"  # belongs to the folder of its schema
        own = row_of(rows, target)
        if own is not None and own.folder == row.folder:
            return None
        if any(covers(place, target) for place in may_include):
            return None
        return f"{row.folder} may include {', '.join(may_include) or 'nothing of ours'}"
    library = include.split("/")[0].removesuffix(".h")
    known = set().union(*(r.libraries for r in rows.values()))
    if "/" in include and library not in SYSTEM_FOLDERS or library in known:
        if library not in libraries:
            return f"{row.folder} may use {', '.join(sorted(libraries)) or 'no library'}"
    return None


def check(root):
    """Yields one line per include that is not allowed."""
    source = root / "src" / "thimble"
    rows, tests = read_tables((root / "docs" / "architecture.md").read_text(encoding="utf-8"))
    if not rows:
        yield "docs/architecture.md: there is no table 'folder | holds | may include'"
    for file in sorted(source.rglob("*")):
        if file.suffix not in (".h", ".cc", ".inc"):
            continue
        path = file.relative_to(source).as_posix()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            why = match and complaint(rows, tests, path, match[1])
            if why:
                yield f"{file.relative_to(root)}:{number}: {match[1]}: {why}"


def main(root):
    findings = list(check(pathlib.Path(root)))
    print("\n".join(findings), end="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent))
