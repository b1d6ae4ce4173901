#!/bin/sh
# emulate.sh [PROCESSOR...]: the tests of kernels and of the library on processors that this machine is not,
# cross-built: aarch64, armhf and riscv64 under QEMU, wasm in Node.js; and size: this machine's own library, built for
# size, beside its limit. Without arguments all of them.
set -eu

processors='aarch64 armhf riscv64 wasm size'
for processor in "$@"; do
  case " $processors " in
    *" $processor "*) ;;
    *)
      echo "run emulate: there is no processor '$processor' (there are: $processors)" >&2
      exit 2
      ;;
  esac
done
[ $# -gt 0 ] || set -- $processors

for processor in "$@"; do
  sh tools/deps.sh "emulate-$processor"
  echo "run: tests on $processor"
  cmake --preset "$processor" >/dev/null
  cmake --build --preset "$processor" -- --quiet
  case $processor in
    size) set -- -V -R '^library_(logits|size)' ;;
    wasm) set -- -L emulated -R '^(library_|runtime_kernels_)' ;;
    *) set -- -L emulated ;;
  esac
  ctest --test-dir "build/$processor" --output-on-failure --no-tests=error "$@"
done
