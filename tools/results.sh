#!/bin/sh
# results.sh [pruning | pipeline] [options] [NAME...]: trains the recipes on real data, writes docs/results-training.md
# (tools/results.py says what it needs); with `pruning`, models pruned to speedups, docs/results-pruning.md
# (tools/results_pruning.py); with `pipeline`, recipes of compression, docs/results-pipeline.md (tools/results_pipeline.py).
set -eu
sh tools/deps.sh train
sh tools/build.sh train >/dev/null
case ${1:-} in
  pruning | pipeline)
    part=$1
    shift
    exec python3 "tools/results_$part.py" "$@"
    ;;
esac
exec python3 tools/results.py "$@"
