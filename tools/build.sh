#!/bin/sh
# build.sh [train]: builds the command line, optimized, into build/release/bin/thimble; with `train` also
# thimble-train beside it, which needs libtorch.
set -eu
case ${1:-} in
  '') what=build targets=thimble ;;
  train) what=train targets='thimble thimble_train_program' ;;
  *) echo "run build: there is no part '$1' (train, or nothing)" >&2; exit 2 ;;
esac
sh tools/deps.sh "$what"
if [ "$what" = train ]; then
  grep -q '^THIMBLE_TRAIN:BOOL=ON' build/release/CMakeCache.txt 2>/dev/null ||
    cmake --preset release -DTHIMBLE_TRAIN=ON >/dev/null
elif [ ! -f build/release/build.ninja ]; then
  cmake --preset release >/dev/null
fi
cmake --build --preset release --target $targets -- --quiet
echo build/release/bin/thimble
