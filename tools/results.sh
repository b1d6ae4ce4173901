#!/bin/sh
# results.sh [options] [NAME...]: trains the recipes on real data, writes docs/results-training.md (tools/results.py
# says what it needs).
set -eu
sh tools/deps.sh train
sh tools/build.sh train >/dev/null
exec python3 tools/results.py "$@"
