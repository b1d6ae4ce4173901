#!/bin/sh
# build.sh: builds the command line, optimized, into build/release/bin/thimble.
set -eu
sh tools/deps.sh build
[ -f build/release/build.ninja ] || cmake --preset release >/dev/null
cmake --build --preset release --target thimble -- --quiet
echo build/release/bin/thimble
