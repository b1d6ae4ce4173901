#!/bin/sh
# bench.sh [training|scaling|wasm] [options]: this machine's own figures and other runtimes beside us (bench/peers/run.mjs
# says how); with `training`, training beside PyTorch (bench/training/compare.py); with `scaling`, training on several
# processes (bench/training/scaling.py); with `wasm`, WebAssembly beside LiteRT's (bench/peers/wasm.mjs).
set -eu
sh tools/deps.sh bench
if [ "${1:-}" = training ]; then
  shift
  sh tools/build.sh train >/dev/null
  exec /usr/bin/python3 bench/training/compare.py --thimble build/release/bin/thimble "$@"
fi
if [ "${1:-}" = scaling ]; then
  shift
  sh tools/build.sh train >/dev/null
  cmake --build --preset release --target sum_bench -- --quiet
  exec /usr/bin/python3 bench/training/scaling.py "$@"
fi
sh tools/judges.sh
sh tools/build.sh >/dev/null
cmake --build --preset release --target make_bench_models -- --quiet
if [ "${1:-}" = wasm ]; then
  shift
  sh tools/deps.sh emulate-wasm
  cmake --preset wasm >/dev/null
  cmake --build --preset wasm --target thimble_module -- --quiet
  exec node bench/peers/wasm.mjs --thimble build/release/bin/thimble "$@"
fi
exec node bench/peers/run.mjs --thimble build/release/bin/thimble "$@"
