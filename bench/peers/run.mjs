#!/usr/bin/env node
// Other runtimes beside us: the same weights, the same token ids, the same number of threads, in one run,
// taking turns, so that what the machine does meanwhile meets all of them alike. Writes docs/benchmarks.md.
//
//   node bench/peers/run.mjs --thimble build/release/bin/thimble [--quick] [--only PATTERN] [--out FILE]
import {execFileSync} from 'node:child_process';
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {makeIds, makeModels, median, Peer} from './peer.mjs';
import {writeReport} from './report.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const {values: options} = parseArgs({
  options: {
    thimble: {type: 'string', default: path.join(root, 'build/release/bin/thimble')},
    npm: {type: 'string', default: path.join(root, 'build/npm')},
    models: {type: 'string', default: path.join(root, 'build/bench-models')},
    out: {type: 'string', default: path.join(root, 'docs/benchmarks.md')},
    only: {type: 'string', default: ''},
    isa: {type: 'string', default: ''},
    quick: {type: 'boolean', default: false},
  },
});
const rounds = options.quick ? 3 : 7;
const seconds = options.quick ? 0.3 : 0.4;

async function openThimble({model, weights, idsFile, threads}) {
  const file = path.join(options.models, `${model}-${weights}.thimble`);
  const isa = options.isa ? ['--isa', options.isa] : [];
  const peer = new Peer(options.thimble, ['bench', file, '--ids', idsFile, '--threads', String(threads),
                                          '--seconds', String(seconds), '--rounds', ...isa]);
  return {peer, opened: await peer.read()};
}

async function openOnnxRuntime({model, weights, ids, threads}, form = '') {
  const peer = new Peer(process.execPath, [path.join(root, 'bench/peers/onnxruntime_worker.mjs'),
                                           path.resolve(options.npm)]);
  const file = path.join(options.models, `${model}-${weights}${form}.onnx`);
  return {peer, opened: await peer.ask({model: file, ids, threads})};
}

async function openTorch({model, ids, threads}) {
  const peer = new Peer('/usr/bin/python3', [path.join(root, 'bench/peers/torch_worker.py')]);
  return {peer, opened: await peer.ask({model, ids, threads})};
}

function hasTorch() {
  try {
    execFileSync('/usr/bin/python3', ['-c', 'import torch'], {stdio: 'ignore'});
    return true;
  } catch {
    return false;
  }
}

// Lengths in tokens of 64 texts, in the order in which they stand in the file they were taken from.
const textLengths = JSON.parse(readFileSync(new URL('./text_lengths.json', import.meta.url), 'utf8'));

const cases = [];
for (const weights of ['f32', 'int8']) {
  for (const model of ['mobilebert', 'tinybert-4', 'minilm-6', 'distilbert']) {
    cases.push({model, weights, threads: 1, name: '128 tokens', lengths: [128]});
    cases.push({model, weights, threads: 1, name: '16 tokens', lengths: [16]});
  }
  cases.push({model: 'mobilebert', weights, threads: 2, name: '128 tokens', lengths: [128]});
  cases.push({model: 'mobilebert', weights, threads: 1, name: '64 texts', lengths: textLengths});
  cases.push({model: 'minilm-6', weights, threads: 1, name: '64 texts', lengths: textLengths});
}

async function runCase(c, torch) {
  const ids = makeIds(c.lengths);
  const idsFile = path.join(options.models, 'ids.jsonl');
  writeFileSync(idsFile, ids.map((input_ids) => JSON.stringify({input_ids}) + '\n').join(''));
  const call = {...c, ids, idsFile};
  const sides = {thimble: await openThimble(call), onnxruntime: await openOnnxRuntime(call)};
  if (c.weights === 'int8') sides.unsigned = await openOnnxRuntime(call, '-unsigned');
  if (torch && c.weights === 'f32') sides.torch = await openTorch(call);
  const times = Object.fromEntries(Object.keys(sides).map((side) => [side, []]));
  const memory = {};
  for (let round = 0; round < rounds; ++round) {
    for (const side of Object.keys(sides)) {
      const answer = await sides[side].peer.ask({seconds});
      times[side].push(answer.p50_ms);
      memory[side] = answer.peak_rss_bytes;
    }
  }
  const result = {model: c.model, weights: c.weights, threads: c.threads, name: c.name, sides: {}};
  for (const [side, {peer, opened}] of Object.entries(sides)) {
    result.sides[side] = {
      p50_ms: median(times[side]), rounds_ms: times[side], load_ms: opened.load_ms,
      first_ms: opened.first_ms, peak_rss_bytes: memory[side], version: opened.version,
      // Round by round: what the machine did to one side it did to the other.
      ratio: side === 'thimble' ? 1 : median(times[side].map((t, i) => t / times.thimble[i])),
    };
    if (opened.isa) result.isa = opened.isa;
    peer.close();
  }
  return result;
}

function sweep(weights) {
  const file = path.join(options.models, `mobilebert-${weights}.thimble`);
  const isa = options.isa ? ['--isa', options.isa] : [];
  const out = execFileSync(options.thimble, ['bench', file, '--sweep', '--seconds', '0.15', '--json', ...isa]);
  return JSON.parse(out).sweep;
}

makeModels(options.models, options.thimble);
if (!existsSync(path.join(options.npm, 'node_modules/onnxruntime-node'))) {
  console.error(`no onnxruntime-node in ${options.npm}: sh tools/judges.sh fetches it into build/npm`);
  process.exit(1);
}
const torch = hasTorch();
const results = [];
for (const c of cases) {
  const label = `${c.model} ${c.weights} ${c.name}, ${c.threads} thread${c.threads > 1 ? 's' : ''}`;
  if (!label.includes(options.only)) continue;
  const result = await runCase(c, torch);
  results.push(result);
  console.log(label.padEnd(42) + Object.entries(result.sides).map(
      ([side, s]) => `${side} ${s.p50_ms.toFixed(2)} ms` +
                     (side === 'thimble' ? '' : ` (${s.ratio.toFixed(2)}x)`)).join('   '));
}
if (options.only === '') {
  const sweeps = {f32: sweep('f32'), int8: sweep('int8')};
  writeReport(options.out, {results, sweeps, rounds, seconds, torch, cpus: os.cpus()});
  console.log(`wrote ${path.relative(process.cwd(), options.out)}`);
}
