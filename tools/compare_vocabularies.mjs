// Trains a WordPiece vocabulary of the same text with `thimble vocab` and with Hugging Face's own library, and
// compares the two: pieces in common, and tokens per word on held-out text, read by one tokenizer.
//
//   sh tools/judges.sh
//   node tools/compare_vocabularies.mjs --thimble build/release/bin/thimble --held-out val.txt.gz TRAIN.txt.gz...
//
// The library's binding trains with its defaults only: 30,000 pieces, none of them special, every pair and character.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { thimble: { type: 'string' }, 'held-out': { type: 'string' } },
});
if (!values.thimble || !values['held-out'] || positionals.length === 0) {
  console.error('usage: compare_vocabularies.mjs --thimble PROGRAM --held-out TEXT TRAIN...');
  process.exit(2);
}
const require = createRequire(join(process.cwd(), 'build/npm/node_modules/'));
const library = require('tokenizers');

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const LIBRARY_PIECES = 30000;
const folder = mkdtempSync(join(tmpdir(), 'thimble-vocabularies-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

function text(path) {
  const bytes = readFileSync(path);
  return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
}

function thimble(...args) {
  return execFileSync(values.thimble, args, { maxBuffer: 1 << 30, stdio: ['ignore', 'pipe', 'inherit'] }).toString();
}

function timed(work) {
  const start = process.hrtime.bigint();
  const result = work();
  return [result, Number(process.hrtime.bigint() - start) / 1e9];
}

const plain = positionals.map((path, i) => {
  const file = join(folder, `train${i}.txt`);
  writeFileSync(file, text(path));
  return file;
});
const held = join(folder, 'held.txt');
writeFileSync(held, text(values['held-out']));

function ours() {
  const file = join(folder, 'ours.txt');
  thimble('vocab', ...plain, '-o', file, '--size', String(LIBRARY_PIECES + SPECIAL.length),
    '--min-frequency', '1', '--alphabet', '1000000', '--json');
  return file;
}

function theirs() {
  const tokenizer = new library.Tokenizer(library.WordPiece.init({ '[UNK]': 0 }));
  tokenizer.setNormalizer(library.bertNormalizer({ stripAccents: true }));
  tokenizer.setPreTokenizer(library.bertPreTokenizer());
  tokenizer.train(plain);
  const pieces = Object.entries(tokenizer.getVocab(false)).sort((a, b) => a[1] - b[1]).map(([piece]) => piece);
  const file = join(folder, 'theirs.txt');
  writeFileSync(file, [...SPECIAL, ...pieces].map((piece) => `${piece}\n`).join(''));
  return file;
}

// Words are what [UNK] or a piece without ## begins.
function heldOut(vocabulary) {
  const pieces = readFileSync(vocabulary, 'utf8').split('\n');
  let tokens = 0, words = 0, unknown = 0;
  for (const line of thimble('tokenize', '--vocab', vocabulary, held, '--json').trimEnd().split('\n')) {
    for (const id of JSON.parse(line).input_ids.slice(1, -1)) {
      tokens += 1;
      words += !pieces[id].startsWith('##');
      unknown += id === 1;
    }
  }
  return { pieces: pieces.length - 1, tokens, words, unknown, tokensPerWord: tokens / words };
}

const [oursFile, oursSeconds] = timed(ours);
const [theirsFile, theirsSeconds] = timed(theirs);
const a = new Set(readFileSync(oursFile, 'utf8').trimEnd().split('\n'));
const b = new Set(readFileSync(theirsFile, 'utf8').trimEnd().split('\n'));
const common = [...a].filter((piece) => b.has(piece)).length;
console.log(JSON.stringify({
  common, only_ours: a.size - common, only_library: b.size - common,
  ours: { ...heldOut(oursFile), seconds: oursSeconds },
  library: { ...heldOut(theirsFile), seconds: theirsSeconds },
}, null, 2));
