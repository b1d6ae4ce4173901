#!/bin/sh
# results.sh [pruning | pipeline | formats] [options] [NAME...]: trains the recipes on real data, writes docs/results-training.md
# (tools/results.py says what it needs); with `pruning`, models pruned to speedups, docs/results-pruning.md
# (tools/results_pruning.py); with `pipeline`, recipes of compression, docs/results-pipeline.md (tools/results_pipeline.py);
# with `formats`, every golden in every format and its runtime, the matrix of docs/formats.md (tools/results_formats.py).
set -eu
sh tools/deps.sh train
[ "${1:-}" != formats ] || sh tools/judges.sh
sh tools/build.sh train >/dev/null
case ${1:-} in
  pruning | pipeline | formats)
    part=$1
    shift
    exec python3 "tools/results_$part.py" "$@"
    ;;
esac
exec python3 tools/results.py "$@"
