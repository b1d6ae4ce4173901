#!/bin/sh
# deps.sh [demo|mails|build|train|test|judges|bench|lint|emulate|emulate-PROCESSOR|all]: makes sure that the packages a verb needs are there.
# On Debian 12, as root or with sudo, it installs what is missing; elsewhere it names it and exits 1.
set -eu

build='g++ cmake ninja-build libhwy-dev libflatbuffers-dev flatbuffers-compiler
  nlohmann-json3-dev libcli11-dev libtomlplusplus-dev libutf8proc-dev libicu-dev zlib1g-dev'
train="$build libtorch-dev libgloo-dev libopenblas0-pthread libmimalloc-dev"
test="$train libgtest-dev libgmock-dev libonnx-dev libprotobuf-dev clang-16 libclang-rt-16-dev python3"
lint="$train libgtest-dev libgmock-dev libonnx-dev libprotobuf-dev git clang-format-14 clang-tidy-14 python3"
# What runs the programs of others that tests compare with (judges.sh): tests skip where it is missing.
judges='node chromium python3-torch'
emulate="$build qemu-user googletest python3"
aarch64="$emulate g++-aarch64-linux-gnu"
armhf="$emulate g++-arm-linux-gnueabihf"
riscv64="$emulate g++-riscv64-linux-gnu"
wasm="$build googletest python3 emscripten node"

purpose=${1:-all}
case $purpose in
  build) packages=$build ;;
  train) packages=$train ;;
  demo) packages="$build node" ;;
  mails) packages="$train node" ;;
  test) packages=$test ;;
  judges) packages=$judges ;;
  bench) packages="$train node python3-torch" ;;
  lint) packages=$lint ;;
  emulate) packages="$aarch64 $armhf $riscv64 $wasm" ;;
  emulate-aarch64) packages=$aarch64 ;;
  emulate-armhf) packages=$armhf ;;
  emulate-riscv64) packages=$riscv64 ;;
  emulate-wasm) packages=$wasm ;;
  emulate-size) packages="$build libgtest-dev libgmock-dev python3" ;;
  all) packages="$test $judges $lint $aarch64 $armhf $riscv64 $wasm" ;;
  *)
    echo "run deps: there is no set '$purpose' (demo, mails, build, train, test, judges, bench, lint, emulate, all)" >&2
    exit 2
    ;;
esac

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
need() { case " $missing " in *" $1 "*) ;; *) missing="${missing:+$missing }$1" ;; esac; }

if command -v dpkg-query >/dev/null 2>&1; then
  for package in $packages; do
    case $package in
      # Any Node.js of its own serves; Debian's is taken where there is none.
      node)
        command -v node >/dev/null 2>&1 || need nodejs
        command -v npm >/dev/null 2>&1 || need npm
        ;;
      *) installed "$package" || need "$package" ;;
    esac
  done
else
  # No package database to ask: look for the programs, and let the build name missing headers.
  for tool in g++ cmake ninja flatc python3; do
    command -v "$tool" >/dev/null 2>&1 || need "$tool"
  done
fi
[ -n "$missing" ] || exit 0

debian=$(. /etc/os-release 2>/dev/null && [ "${ID:-}" = debian ] && echo "${VERSION_ID:-}") || true
as_root=
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root=sudo
  elif command -v sudo >/dev/null 2>&1 && [ -t 0 ]; then as_root=sudo
  else debian=; fi
fi
if [ "$debian" != 12 ]; then
  echo "run: please install what is missing (names of Debian 12's packages): $missing" >&2
  exit 1
fi

echo "run: installing $missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $as_root apt-get update && \
       $as_root apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
  tail -n 20 "$log" >&2
  echo "run: apt-get could not install: $missing" >&2
  exit 1
fi
