// Recorded inputs and outputs of models, as tests and goldens have them: safetensors files with tensors
// run<k>.input.<name> and run<k>.output.<name>.
import {readFileSync} from 'node:fs';

// name -> {dims, data}
export function readSafetensors(file) {
  const bytes = readFileSync(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes));
  const arrays = {F32: Float32Array, I64: BigInt64Array};
  const tensors = new Map();
  delete header.__metadata__;
  for (const [name, {dtype, shape, data_offsets: [begin, end]}] of Object.entries(header)) {
    const data = bytes.subarray(8 + headerBytes + begin, 8 + headerBytes + end);
    tensors.set(name, {dims: shape, data: new arrays[dtype](new Uint8Array(data).buffer)});
  }
  return tensors;
}

// An input of the run; one that is absent as Hugging Face fills it: a mask of ones, types of zeros.
export function inputOf(tensors, run, name) {
  const ids = tensors.get(`${run}.input.input_ids`).data;
  return tensors.get(`${run}.input.${name}`)?.data ??
      new BigInt64Array(ids.length).fill(name === 'attention_mask' ? 1n : 0n);
}

// Outputs under the names that the recording has: logits of answers apart, those of pretraining with a longer name.
export function named(tensors, run, {logits, ...others}) {
  if (logits === undefined) return others;
  const has = (name) => tensors.has(`${run}.output.${name}`);
  if (has('logits')) return {logits, ...others};
  if (has('prediction_logits')) return {prediction_logits: logits, ...others};
  return {start_logits: logits.filter((_, i) => i % 2 === 0), end_logits: logits.filter((_, i) => i % 2 === 1), ...others};
}

export function runsOf(tensors) {
  return new Set([...tensors.keys()].map((key) => key.split('.')[0]));
}

function scaleOf(values) {
  return values.reduce((max, x) => Math.max(max, Math.abs(x)), 1);
}

// The largest difference, relative to the largest value where that is more than 1.
export function worstError(got, want) {
  if (got.length !== want.length) return Infinity;
  const scale = scaleOf(want);
  return got.reduce((max, x, i) => {
    const error = Math.abs(x - want[i]) / scale;
    return Number.isNaN(error) ? Infinity : Math.max(max, error);
  }, 0);
}

// Rows of `width`: how many there are, in how many the largest element is where it should be, and both again of rows
// that are decided, where it leads by more than 1 % of the largest value.
export function countTops(got, want, width) {
  const count = {rows: 0, same: 0, decided: 0, kept: 0};
  const lead = 0.01 * scaleOf(want);
  for (let begin = 0; begin < want.length; begin += width) {
    const [ours, theirs] = [got, want].map((data) => Array.from(data.slice(begin, begin + width)));
    const [second, first] = [...theirs].sort((a, b) => a - b).slice(-2);
    const same = ours.indexOf(Math.max(...ours)) === theirs.indexOf(first) ? 1 : 0;
    const decided = first - second > lead ? 1 : 0;
    count.rows += 1;
    count.same += same;
    count.decided += decided;
    count.kept += same * decided;
  }
  return count;
}
