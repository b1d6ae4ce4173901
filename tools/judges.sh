#!/bin/sh
# judges.sh: what others made and tests compare with: the npm packages of tests/judges/package.json into build/npm, and on
# Debian 12 what runs them. Never an error: what cannot be had is named in one line, and the tests that need it skip.
# THIMBLE_NPM names a folder of your own instead, into which nothing is put.
set -eu
list=tests/judges/package.json
folder=build/npm
have=$folder/judges.json # the list that is installed
mkdir -p "$folder"

fetch() {
  cp "$list" "$folder/package.json"
  rm -f "$have"
  # Scripts of packages would fetch what is for graphics processors. Two of them ask for versions of others that they
  # do not need here.
  timeout 180 npm install --prefix "$folder" --ignore-scripts --legacy-peer-deps --no-package-lock --no-audit --no-fund \
    --prefer-offline --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=1000 --fetch-timeout=20000 \
    --loglevel=error >"$folder/npm.log" 2>&1 </dev/null &&
    cp "$list" "$have"
}

lacking=
sh tools/deps.sh judges 2>"$folder/deps.log" || lacking=$(sed -n 's/^run: //;$p' "$folder/deps.log")
if [ -z "${THIMBLE_NPM:-}" ] && ! cmp -s "$list" "$have"; then
  if ! command -v npm >/dev/null 2>&1; then
    lacking=${lacking:-npm is not here}
  else
    echo "run: fetching what tests compare with (160 MB through npm)"
    fetch || lacking="${lacking:+$lacking; }npm could not fetch $list ($folder/npm.log)"
  fi
fi
[ -z "$lacking" ] || echo "run: $lacking: tests that need it are skipped" >&2
