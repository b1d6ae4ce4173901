#!/usr/bin/env node
// Runs exported files in the runtimes of others and compares their outputs with recorded ones.
//
//   node tools/check_export.mjs (FILE EXPECTED.safetensors)... [--tolerance 1e-4] [--agreement 0.99] [--json]
//                               [--npm build/npm]
//
// FILE is x.tflite, run in LiteRT, x.onnx, run in ONNX Runtime, or x.json, outputs that something else computed:
// {"run0": {"logits": [...]}}. EXPECTED holds run<k>.input.<name> and run<k>.output.<name>; of a .tflite with a length of
// its own, runs of other lengths are left out, since LiteRT cannot resize here. Outputs compare as
// |got - want| <= tolerance * max(1, max|want|), and of logits it is counted in how many rows the largest is the same.
// One line per file says how far off the worst was (--json: a JSON document); with --agreement the share of such rows,
// of those that are decided (recordings.mjs), over all files, is judged too. Exit 4 if something is too far, 1 if
// something cannot be read or run.
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {loadLiteRt} from './litert.mjs';
import {countTops, inputOf, named, readSafetensors, runsOf, worstError} from './recordings.mjs';

const print = console.log;  // LiteRT's loader silences the console
const {values: options, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    tolerance: {type: 'string', default: '1e-4'},
    agreement: {type: 'string', default: '0'},
    json: {type: 'boolean', default: false},
    npm: {type: 'string', default: fileURLToPath(new URL('../build/npm', import.meta.url))},
  },
});

// All sequences of a run, as many at a time as the model takes; outputs laid end to end.
async function runLiteRt(model, tensors, run) {
  const [batch, length] = model.inputs[0].shape;
  const [sequences, tokens] = tensors.get(`${run}.input.input_ids`).dims;
  if (tokens !== length) return undefined;
  if (sequences % batch !== 0) throw new Error(`${sequences} sequences, in batches of ${batch}`);
  const names = {ids: 'input_ids', mask: 'attention_mask', segment_ids: 'token_type_ids'};
  const inputs = model.inputs.map(({name}) => [name, Int32Array.from(inputOf(tensors, run, names[name]), Number)]);
  const parts = {};
  for (let first = 0; first < sequences; first += batch) {
    const arrays = Object.fromEntries(inputs.map(
        ([name, data]) => [name, data.slice(first * length, (first + batch) * length)]));
    for (const [name, data] of Object.entries(await model.run(arrays))) {
      (parts[name] ??= []).push(...data);
    }
  }
  return parts;
}

async function runOnnx(ort, session, tensors, run) {
  const {dims} = tensors.get(`${run}.input.input_ids`);
  const feeds = Object.fromEntries(session.inputNames.map(
      (name) => [name, new ort.Tensor('int64', inputOf(tensors, run, name), dims)]));
  const outputs = await session.run(feeds);
  return Object.fromEntries(Object.entries(outputs).map(([name, {data}]) => [name, data]));
}

// By the ending of a file, what opens it: {run, close}, where run(tensors, run) gives outputs by name, or nothing where
// the file is not for that run.
let liteRt, ort;
const RUNTIMES = {
  '.tflite': async (file) => {
    liteRt ??= await loadLiteRt(options.npm);
    const model = await liteRt(readFileSync(file));
    return {run: (tensors, run) => runLiteRt(model, tensors, run), close: () => model.delete()};
  },
  '.onnx': async (file) => {
    ort ??= createRequire(path.resolve(options.npm, 'node_modules', '_'))('onnxruntime-node');
    const session = await ort.InferenceSession.create(file, {logSeverityLevel: 3, intraOpNumThreads: 1});
    return {run: (tensors, run) => runOnnx(ort, session, tensors, run), close: () => session.release()};
  },
  '.json': async (file) => {
    const outputs = JSON.parse(readFileSync(file, 'utf8'));
    return {run: (tensors, run) => outputs[run], close: () => {}};
  },
};

async function check(file, expected) {
  const tensors = readSafetensors(expected);
  const open = RUNTIMES[path.extname(file)];
  if (open === undefined) throw new Error(`${file} is none of ${Object.keys(RUNTIMES).join(', ')}`);
  const {run: compute, close} = await open(file);
  const result = {file: path.basename(file), outputs: 0, runs: 0, worst: 0, rows: 0, same: 0, decided: 0, kept: 0};
  for (const run of runsOf(tensors)) {
    const outputs = await compute(tensors, run);
    if (outputs === undefined) continue;
    result.runs += 1;
    for (const [name, got] of Object.entries(named(tensors, run, outputs))) {
      const want = tensors.get(`${run}.output.${name}`);
      if (want === undefined) continue;
      result.outputs += 1;
      result.worst = Math.max(result.worst, worstError(got, want.data));
      const width = want.dims.at(-1);
      if (!name.includes('logits') || width < 2) continue;
      for (const [key, count] of Object.entries(countTops(got, want.data, width))) result[key] += count;
    }
  }
  await close();
  if (result.outputs === 0) throw new Error(`${expected} has no output that ${file} has`);
  return result;
}

function sentence({file, outputs, runs, worst, same, rows}) {
  return `${file}: ${outputs} outputs of ${runs} runs, largest error ${worst.toExponential(1)}` +
      (rows > 0 ? `, ${same} of ${rows} rows have the same top` : '');
}

async function main() {
  if (positionals.length === 0 || positionals.length % 2 !== 0) {
    throw new Error('name pairs of a model and its recorded outputs');
  }
  let [kept, decided] = [0, 0];
  for (let i = 0; i < positionals.length; i += 2) {
    const result = await check(positionals[i], positionals[i + 1]);
    print(options.json ? JSON.stringify({...result, worst: String(result.worst)}) : sentence(result));
    if (!(result.worst <= Number(options.tolerance))) process.exitCode = 4;
    kept += result.kept;
    decided += result.decided;
  }
  if (kept < Number(options.agreement) * decided) process.exitCode = 4;
}

main().catch((error) => {
  process.stderr.write(`check_export: ${error.message}\n`);
  process.exitCode = 1;
}).finally(() => process.exit());
