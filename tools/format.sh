#!/bin/sh
# format.sh [--check]: formats the sources with the clang-format whose output is the rule.
set -eu
sh tools/deps.sh lint
mode=-i
[ "${1:-}" != --check ] || mode='--dry-run -Werror'
git ls-files -z '*.h' '*.cc' | xargs -0 clang-format-14 $mode --style=file
