#!/usr/bin/env python3
"""The library after `cmake --install`: found by CMake and by pkg-config, linked both ways from C and C++.

BUILD, SOURCE: the folders of this build; NM: the compiler's nm; CLASSIFY_STATIC: the static example.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

BUILD, SOURCE = pathlib.Path(os.environ["BUILD"]), pathlib.Path(os.environ["SOURCE"])
MODEL = SOURCE / "tests/fixtures/library/float32.thimble"
SIZE_LIMIT_BYTES = 1_900_000  # of a build for speed; docs/library.md has that of one for size
# What may be needed at run time: libc, libstdc++, and what belongs to them.
SYSTEM = {"libc", "libm", "libstdc++", "libgcc_s", "ld-linux-x86-64", "ld-linux-aarch64"}


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class InstalledLibrary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="thimble-installed-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.prefix = cls.folder / "prefix"
        run("cmake", "--install", BUILD, "--prefix", cls.prefix, "--component", "library")
        cls.library = next(cls.prefix.rglob("libthimble.so")).parent

    def declared(self):
        header = (self.prefix / "include/thimble.h").read_text(encoding="utf-8")
        return set(re.findall(r"^THIMBLE_API [^;(]*?(thimble_\w+)\(", header, re.MULTILINE))

    def symbols(self, *arguments):
        lines = run(os.environ["NM"], "--defined-only", *arguments).splitlines()
        return {line.split()[-1].split("@")[0] for line in lines if len(line.split()) == 3}

    def test_shows_the_functions_of_the_header_and_nothing_else(self):
        declared = self.declared()
        self.assertGreater(len(declared), 40)
        self.assertEqual(self.symbols("-D", self.library / "libthimble.so"), declared)
        self.assertEqual(self.symbols("-g", self.library / "libthimble.a"), declared)

    def test_needs_nothing_but_the_system(self):
        dynamic = run("readelf", "-d", self.library / "libthimble.so")
        needed = {name.split(".so")[0] for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)}
        self.assertLessEqual(needed, SYSTEM)
        self.assertRegex(dynamic, r"\(SONAME\).*\[libthimble\.so\.\d+\.\d+\]")

    def check(self, program, library=None):
        environment = {**os.environ, "LD_LIBRARY_PATH": str(library or "")}
        out = run(program, MODEL, "a fine film", "bad", env=environment)
        self.assertRegex(out, r"\A *\d+\.\d %  \w+  a fine film\n *\d+\.\d %  \w+  bad\n\Z")

    def test_cmake_finds_it(self):
        build = self.folder / "examples"
        run("cmake", "-S", SOURCE / "examples", "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
            "-DCMAKE_BUILD_TYPE=Release")
        run("cmake", "--build", build)
        for language in ("c", "cc"):
            self.check(build / f"classify_{language}_shared")
            self.check(build / f"classify_{language}_static")

    def test_cmake_finds_it_from_c_alone(self):
        project = self.folder / "c_alone"
        project.mkdir()
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(c_alone C)\nfind_package(thimble 0.1 REQUIRED)\n"
            f"add_executable(classify {SOURCE}/examples/classify.c)\n"
            "target_link_libraries(classify PRIVATE thimble::static)\n", encoding="utf-8")
        run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", project / "build")
        self.check(project / "build/classify")

    def test_cmake_refuses_another_version(self):
        project = self.folder / "newer"
        project.mkdir()
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(newer C)\nfind_package(thimble 0.2 REQUIRED)\n",
            encoding="utf-8")
        with self.assertRaisesRegex(AssertionError, "0.2"):
            run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}")

    def test_pkg_config_finds_it(self):
        environment = {**os.environ, "PKG_CONFIG_PATH": str(self.library / "pkgconfig")}
        try:
            shared = run("pkg-config", "--cflags", "--libs", "thimble", env=environment).split()
        except FileNotFoundError:
            self.skipTest("there is no pkg-config")
        static = run("pkg-config", "--static", "--cflags", "--libs", "thimble", env=environment).split()
        for compiler, source in (("cc", "classify.c"), ("c++", "classify.cc")):
            program = self.folder / "by_pkg_config"
            run(compiler, SOURCE / "examples" / source, *shared, "-o", program)
            self.check(program, self.library)
            run(compiler, "-static", SOURCE / "examples" / source, *static, "-o", program)
            self.check(program)

    def test_a_static_program_is_small(self):
        program = os.environ["CLASSIFY_STATIC"]
        self.check(program)
        self.assertLess(os.path.getsize(program), SIZE_LIMIT_BYTES)


if __name__ == "__main__":
    unittest.main()
