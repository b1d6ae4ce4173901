#!/bin/sh
# bench.sh [options]: this machine's own figures and other runtimes beside us; bench/peers/run.mjs says how.
set -eu
sh tools/deps.sh bench
sh tools/build.sh >/dev/null
exec node bench/peers/run.mjs --thimble build/release/bin/thimble "$@"
