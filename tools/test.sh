#!/bin/sh
# test.sh: all evidence that this machine can give. Ends with 'N passed, N failed, N skipped', summed over:
#   optimized    every test on the code that ships (assertions on)
#   asan-ubsan   every test but the slow ones again under AddressSanitizer and UndefinedBehaviorSanitizer, built by
#                clang, and every libFuzzer target for a few seconds, seeds included
#   tsan         the threaded tests under ThreadSanitizer
# `test.sh PRESET...` runs only those.
set -eu
sh tools/deps.sh test
sh tools/judges.sh

results=build/test-results
rm -rf "$results"
mkdir -p "$results"
failed=

# stage PRESET [ctest options]: a stage that does not build or fails does not keep the next from running.
stage() {
  preset=$1
  shift
  start=$(date +%s)
  echo "run: $preset: building"
  log=$results/$preset.log
  if ! { cmake --preset "$preset" && cmake --build --preset "$preset"; } >"$log" 2>&1; then
    grep -E 'error|Error|FAILED' "$log" | head -n 40 >&2 || tail -n 40 "$log" >&2
    echo "run: $preset: does not build; the whole log is $log" >&2
    failed="$failed $preset"
    return 0
  fi
  echo "run: $preset: testing, built in $(($(date +%s) - start)) s"
  mkdir -p "$results/$preset"
  # One file of results per gtest program; ctest's own has those that write none (crashes, fuzzers, scripts).
  GTEST_OUTPUT="xml:$root/$results/$preset/" GTEST_COLOR=no \
    ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$jobs" \
      --output-junit "$root/$results/$preset.xml" "$@" >>"$log" 2>&1 ||
    failed="$failed $preset"
  echo "run: $preset: $(($(date +%s) - start)) s"
}

root=$(pwd)
jobs=$(nproc 2>/dev/null || echo 2)

# A report of a sanitizer is a failure, wherever it happens.
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1

for preset in ${*:-optimized asan-ubsan tsan}; do
  case $preset in
    asan-ubsan) stage "$preset" -LE slow ;;
    tsan) stage "$preset" -L threads ;;
    *) stage "$preset" ;;
  esac
done

python3 tools/test_summary.py "$results" $failed
