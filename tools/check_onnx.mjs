#!/usr/bin/env node
// Runs exported ONNX files in ONNX Runtime and compares their outputs with recorded ones.
//
//   node tools/check_onnx.mjs (MODEL.onnx EXPECTED.safetensors)... [--tolerance 1e-4] [--npm build/npm]
//
// EXPECTED holds run<k>.input.<name> and run<k>.output.<name>. Outputs compare as
// |got - want| <= tolerance * max(1, max|want|). One line per model says how far off the worst was; exit 4
// if one is too far, 1 if something cannot be read or run.
import {createRequire} from 'node:module';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {expectedOutput, readSafetensors, runsOf, worstError} from './recordings.mjs';

const {values: options, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    tolerance: {type: 'string', default: '1e-4'},
    npm: {type: 'string', default: fileURLToPath(new URL('../build/npm', import.meta.url))},
  },
});

// int64 inputs of the run; absent ones as Hugging Face fills them: mask of ones, types of zeros.
function feeds(ort, session, tensors, run) {
  const ids = tensors.get(`${run}.input.input_ids`);
  return Object.fromEntries(session.inputNames.map((name) => {
    const fill = name === 'attention_mask' ? 1n : 0n;
    const data = tensors.get(`${run}.input.${name}`)?.data ??
        new BigInt64Array(ids.data.length).fill(fill);
    return [name, new ort.Tensor('int64', data, ids.dims)];
  }));
}

async function check(ort, model, expected) {
  const tensors = readSafetensors(expected);
  const runs = runsOf(tensors);
  const session = await ort.InferenceSession.create(model, {logSeverityLevel: 3});
  let compared = 0;
  let worst = 0;
  for (const run of runs) {
    const outputs = await session.run(feeds(ort, session, tensors, run));
    for (const [name, got] of Object.entries(outputs)) {
      const want = expectedOutput(tensors, run, name);
      if (want === undefined) continue;
      compared += 1;
      worst = Math.max(worst, worstError(got.data, want));
    }
  }
  console.log(`${path.basename(model)}: ${compared} outputs of ${runs.size} runs, ` +
              `largest error ${worst.toExponential(1)}`);
  if (compared === 0) throw new Error(`${expected} has no output that ${model} has`);
  return worst <= Number(options.tolerance);
}

async function main() {
  const ort = createRequire(path.resolve(options.npm, 'node_modules', '_'))('onnxruntime-node');
  if (positionals.length === 0 || positionals.length % 2 !== 0) {
    throw new Error('name pairs of a model and its recorded outputs');
  }
  for (let i = 0; i < positionals.length; i += 2) {
    if (!await check(ort, positionals[i], positionals[i + 1])) process.exitCode = 4;
  }
}

main().catch((error) => {
  console.error(`check_onnx: ${error.message}`);
  process.exitCode = 1;
});
