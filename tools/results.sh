#!/bin/sh
# results.sh [pruning] [options] [NAME...]: trains the recipes on real data, writes docs/results-training.md
# (tools/results.py says what it needs); with `pruning`, models pruned to speedups, docs/results-pruning.md
# (tools/results_pruning.py).
set -eu
sh tools/deps.sh train
sh tools/build.sh train >/dev/null
if [ "${1:-}" = pruning ]; then
  shift
  exec python3 tools/results_pruning.py "$@"
fi
exec python3 tools/results.py "$@"
