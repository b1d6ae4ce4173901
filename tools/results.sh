#!/bin/sh
# results.sh [pruning | pipeline | halved | formats | flatbuffer] [options] [NAME...]: trains the recipes on real data, writes docs/results-training.md
# (tools/results.py says what it needs); with `pruning`, models pruned to speedups, docs/results-pruning.md
# (tools/results_pruning.py); with `pipeline`, recipes of compression, docs/results-pipeline.md (tools/results_pipeline.py);
# with `halved`, models of half the width, docs/results-halved.md (tools/results_halved.py);
# with `formats`, every golden in every format and its runtime, the matrix of docs/formats.md (tools/results_formats.py);
# with `flatbuffer`, a .tflite for a device beside BERT-large, docs/results-flatbuffer.md (tools/results_flatbuffer.py).
set -eu
sh tools/deps.sh train
case ${1:-} in formats | flatbuffer) sh tools/judges.sh ;; esac
sh tools/build.sh train >/dev/null
case ${1:-} in
  pruning | pipeline | halved | formats | flatbuffer)
    part=$1
    shift
    [ "$part" != flatbuffer ] || cmake --build --preset release --target make_bench_models -- --quiet
    exec python3 "tools/results_$part.py" "$@"
    ;;
esac
exec python3 tools/results.py "$@"
