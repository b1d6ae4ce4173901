#!/bin/sh
# emulate.sh: the kernels' tests on a processor that this machine is not: 64-bit Arm, cross-built, under QEMU.
set -eu
sh tools/deps.sh emulate
cmake --preset neon >/dev/null
cmake --build --preset neon -- --quiet
exec ctest --test-dir build/neon --output-on-failure --no-tests=error -L kernels
