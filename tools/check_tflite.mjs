#!/usr/bin/env node
// Runs exported .tflite files in LiteRT and compares their outputs with recorded ones.
//
//   node tools/check_tflite.mjs (MODEL.tflite EXPECTED.safetensors)... [--tolerance 1e-4]
//                               [--agreement 0.99] [--npm build/npm]
//
// EXPECTED holds run<k>.input.<name> and run<k>.output.<name>; runs of another sequence length than the
// model's are left out, since LiteRT cannot resize here. Outputs compare as
// |got - want| <= tolerance * max(1, max|want|). One line per model says how far off the worst was, and of
// how many rows the largest element is the same; with --agreement that share, over all models, is judged too.
// Exit 4 if something is too far, 1 if something cannot be read or run.
import {readFileSync} from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {loadLiteRt} from './litert.mjs';
import {expectedOutput, readSafetensors, runsOf, worstError} from './recordings.mjs';

const print = console.log;  // LiteRT's loader silences the console
const {values: options, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    tolerance: {type: 'string', default: '1e-4'},
    agreement: {type: 'string', default: '0'},
    npm: {type: 'string', default: fileURLToPath(new URL('../build/npm', import.meta.url))},
  },
});

// Names of ours and of Hugging Face, and what absent inputs are filled with.
const INPUTS = {ids: ['input_ids', 0], mask: ['attention_mask', 1], segment_ids: ['token_type_ids', 0]};

function inputsOf(tensors, run, count) {
  return Object.entries(INPUTS).map(([name, [recorded, fill]]) => {
    const data = tensors.get(`${run}.input.${recorded}`)?.data;
    return [name, data === undefined ? new Int32Array(count).fill(fill) : Int32Array.from(data, Number)];
  });
}

// All sequences of a run, as many at a time as the model takes; outputs laid end to end.
async function runAll(model, inputs, sequences, length) {
  const batch = model.inputs[0].shape[0];
  if (sequences % batch !== 0) throw new Error(`${sequences} sequences, in batches of ${batch}`);
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

// In how many rows the largest element is where it should be.
function sameTops(got, want, width) {
  let same = 0;
  for (let begin = 0; begin < want.length; begin += width) {
    const rows = [got, want].map((data) => Array.from(data.slice(begin, begin + width)));
    const [a, b] = rows.map((row) => row.indexOf(Math.max(...row)));
    same += a === b ? 1 : 0;
  }
  return same;
}

async function check(load, file, expected, total) {
  const tensors = readSafetensors(expected);
  const model = await load(readFileSync(file));
  const length = model.inputs[0].shape[1];
  let [compared, worst, runs] = [0, 0, 0];
  const tops = {same: 0, rows: 0};
  for (const run of runsOf(tensors)) {
    const {dims, data} = tensors.get(`${run}.input.input_ids`);
    if (dims[1] !== length) continue;
    runs += 1;
    const outputs = await runAll(model, inputsOf(tensors, run, data.length), dims[0], length);
    for (const {name, shape} of model.outputs) {
      const want = expectedOutput(tensors, run, name);
      if (want === undefined) continue;
      compared += 1;
      worst = Math.max(worst, worstError(outputs[name], want));
      if (!name.includes('logits') || shape.at(-1) < 2) continue;
      tops.same += sameTops(outputs[name], want, shape.at(-1));
      tops.rows += want.length / shape.at(-1);
    }
  }
  model.delete();
  print(`${path.basename(file)}: ${compared} outputs of ${runs} runs, largest error ${worst.toExponential(1)}` +
        (tops.rows > 0 ? `, ${tops.same} of ${tops.rows} rows have the same top` : ''));
  if (compared === 0) throw new Error(`${expected} has no output that ${file} has`);
  total.same += tops.same;
  total.rows += tops.rows;
  return worst <= Number(options.tolerance);
}

async function main() {
  if (positionals.length === 0 || positionals.length % 2 !== 0) {
    throw new Error('name pairs of a model and its recorded outputs');
  }
  const load = await loadLiteRt(options.npm);
  const total = {same: 0, rows: 0};
  for (let i = 0; i < positionals.length; i += 2) {
    if (!await check(load, positionals[i], positionals[i + 1], total)) process.exitCode = 4;
  }
  if (total.rows > 0) print(`the same top: ${total.same} of ${total.rows} rows`);
  if (total.same < Number(options.agreement) * total.rows) process.exitCode = 4;
}

main().catch((error) => {
  process.stderr.write(`check_tflite: ${error.message}\n`);
  process.exitCode = 1;
}).finally(() => process.exit());
