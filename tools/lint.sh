#!/bin/sh
# lint.sh [--all]: scripts parse, sources are formatted, no include runs up the table of
# docs/architecture.md, and clang-tidy finds nothing in the sources changed since main (--all: in any).
set -eu
sh tools/deps.sh lint

for script in run tools/*.sh; do sh -n "$script"; done
bash -n .ci/run
sh tools/format.sh --check
python3 -m unittest discover -q -s tools -p '*_test.py'
python3 tools/check_deps.py
if command -v node >/dev/null 2>&1; then node --test bench/peers/report_test.mjs >/dev/null; fi

base=$(git merge-base HEAD main 2>/dev/null || true)
if [ "${1:-}" = --all ] || [ -z "$base" ]; then
  sources=$(git ls-files 'src/*.cc')
else
  sources=$({ git diff --name-only --diff-filter=d "$base" -- 'src/*.cc'
              git ls-files --others --exclude-standard -- 'src/*.cc'; } | sort -u)
fi
[ -n "$sources" ] || { echo 'run: lint: clean (no source changed)'; exit 0; }

# clang-tidy wants to see generated headers, so those are built first.
cmake --preset debug -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
cmake --build --preset debug --target thimble_text thimble_file tflite_generated -- --quiet
echo "$sources" | xargs -P "$(nproc)" -n 4 clang-tidy-14 -p build/debug --quiet --warnings-as-errors='*' \
  2>/dev/null
echo 'run: lint: clean'
