#!/usr/bin/env node
// In one Node.js process, by turns: Thimble's module of WebAssembly and LiteRT's, which was TensorFlow Lite with XNNPACK;
// and Thimble's own program beside them. The same weights, the same token ids, one thread. Writes docs/wasm-speed.md.
//
//   node bench/peers/wasm.mjs --thimble build/release/bin/thimble [--quick] [--only PATTERN] [--out FILE]
import {execFileSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';
import {parseArgs} from 'node:util';
import {loadLiteRt} from '../../tools/litert.mjs';
import {makeIds, makeModels, median, Peer} from './peer.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const {values: options} = parseArgs({
  options: {
    thimble: {type: 'string', default: path.join(root, 'build/release/bin/thimble')},
    module: {type: 'string', default: path.join(root, 'build/wasm/lib')},
    npm: {type: 'string', default: path.join(root, 'build/npm')},
    models: {type: 'string', default: path.join(root, 'build/bench-models')},
    out: {type: 'string', default: path.join(root, 'docs/wasm-speed.md')},
    only: {type: 'string', default: ''},
    quick: {type: 'boolean', default: false},
  },
});
const rounds = options.quick ? 3 : 17;
const seconds = options.quick ? 0.3 : 0.4;
const AIM = 1.5;  // LiteRT's time over ours, MobileBERT at 128 tokens

const cases = [];
for (const weights of ['f32', 'int8']) {
  for (const model of ['mobilebert', 'minilm-6']) {
    for (const tokens of [128, 16]) cases.push({model, weights, tokens});
  }
}

async function timesOf(run) {
  const times = [];
  const end = performance.now() + 1000 * seconds;
  do {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  } while (performance.now() < end || times.length < 3);
  return median(times);
}

const print = console.log.bind(console);  // LiteRT's shim takes console for itself
const {loadThimble} = await import(pathToFileURL(path.join(path.resolve(options.module), 'thimble.mjs')));
const thimble = await loadThimble();
const openLiteRt = await loadLiteRt(options.npm);

// Largest difference of both sides' logits over the largest logit.
function difference(ours, theirs) {
  const largest = Math.max(...theirs.map(Math.abs));
  return Math.max(...ours.map((x, i) => Math.abs(x - theirs[i]))) / largest;
}

async function runCase({model, weights, tokens}) {
  const file = path.join(options.models, `${model}-${weights}.thimble`);
  const [ids] = makeIds([tokens]);
  const tflite = path.join(options.models, `${model}-${weights}-${tokens}.tflite`);
  execFileSync(options.thimble, ['export', file, '-o', tflite, '--seq', String(tokens)]);
  const idsFile = path.join(options.models, 'ids.jsonl');
  writeFileSync(idsFile, JSON.stringify({input_ids: ids}) + '\n');

  const module = thimble.load(readFileSync(file), {outputs: ['logits']});
  const litert = await openLiteRt(readFileSync(tflite));
  const inputs = {ids: Int32Array.from(ids), mask: new Int32Array(tokens).fill(1), segment_ids: new Int32Array(tokens)};
  const byName = Object.fromEntries(litert.inputs.map(({name}) => [name, inputs[name]]));
  const native = new Peer(options.thimble, ['bench', file, '--ids', idsFile, '--threads', '1', '--seconds',
                                            String(seconds), '--rounds']);
  const {isa} = await native.read();

  const apart = difference([...module.predict({ids}).outputs.logits.values], [...(await litert.run(byName)).logits]);
  // Of int8, whose rounding is each runtime's own, the tests of formats are the judge.
  if (weights === 'f32' && !(apart <= 1e-4)) throw new Error(`${model} ${weights}: logits differ by ${apart} of the largest`);

  const sides = {
    native: async () => (await native.ask({seconds})).p50_ms,
    module: () => timesOf(() => module.predict({ids})),
    litert: () => timesOf(() => litert.run(byName)),
  };
  const times = Object.fromEntries(Object.keys(sides).map((side) => [side, []]));
  // The engine compiles again what it finds hot.
  for (let i = 0; i < 3; ++i) await sides.module(), await sides.litert();
  for (let round = 0; round < rounds; ++round) {
    for (const [side, measure] of Object.entries(sides)) times[side].push(await measure());
  }
  native.close();
  module.free();
  litert.delete();
  const ratio = (a, b) => median(times[a].map((t, i) => t / times[b][i]));
  return {
    model, weights, tokens, isa, apart,
    native: median(times.native), module: median(times.module), litert: median(times.litert),
    toNative: ratio('litert', 'native'), toModule: ratio('litert', 'module'), moduleToNative: ratio('module', 'native'),
  };
}

const ms = (x) => (x < 10 ? x.toFixed(2) : x.toFixed(1));
const factor = (x) => `${x.toFixed(2)}x`;

function page(results) {
  const version = JSON.parse(readFileSync(path.join(options.npm, 'node_modules/@litertjs/core/package.json'))).version;
  const rows = results.map((r) => {
    const aimed = r.model === 'mobilebert' && r.tokens === 128;
    const missed = (x) => (aimed && x < AIM ? ' (missed)' : '');
    return `| ${r.model}, ${r.weights}, ${r.tokens} tokens | ${ms(r.native)} | ${ms(r.module)} | ${ms(r.litert)} | ` +
        `**${factor(r.toNative)}**${missed(r.toNative)} | **${factor(r.toModule)}**${missed(r.toModule)} | ` +
        `${aimed ? factor(AIM) : ''} | ${factor(r.moduleToNative)} |`;
  });
  return `# Speed in WebAssembly

Written by \`./run bench wasm\`.

Method: models of published size with random weights, batch 1, the same token ids, one thread. The module of WebAssembly
(\`build/wasm/lib\`) and LiteRT (npm @litertjs/core, XNNPACK) run in one Node.js process by turns, Thimble's own program between them in
another; LiteRT's files are made by \`thimble export\` for exactly these lengths, so that it pads nothing. Before they are timed,
logits of float32 are compared: within 1e-4 of the largest. A time is the median of ${rounds} rounds of ${seconds} s, a ratio the
median of the ratios round by round. More than 1x: Thimble is faster.

${os.cpus()[0].model.trim()}, ${os.cpus().length} logical cores, ${new Date().toISOString().slice(0, 10)}, Node.js ${process.versions.node}, LiteRT ${version},
instruction set of Thimble's own program: ${results[0].isa}.

| case | Thimble ms | Thimble in WebAssembly ms | LiteRT in WebAssembly ms | LiteRT to Thimble | LiteRT to Thimble in WebAssembly | aim | WebAssembly to own program |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
${rows.join('\n')}
`;
}

makeModels(options.models, options.thimble);
const results = [];
for (const c of cases) {
  const name = `${c.model} ${c.weights} ${c.tokens} tokens`;
  if (!name.includes(options.only)) continue;
  const result = await runCase(c);
  results.push(result);
  print(`${name.padEnd(28)} own program ${ms(result.native)} ms   module ${ms(result.module)} ms   LiteRT ${ms(result.litert)} ms (` +
        `${factor(result.toNative)}, ${factor(result.toModule)})   logits apart ${result.apart.toExponential(1)}`);
}
if (options.only === '') {
  writeFileSync(options.out, page(results));
  print(`wrote ${path.relative(process.cwd(), options.out)}`);
}
process.exit(0);  // LiteRT keeps the process alive
