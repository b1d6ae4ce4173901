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

// What Hugging Face calls an output of ours; question answering has its two logits apart.
export function expectedOutput(tensors, run, name) {
  const at = (key) => tensors.get(`${run}.output.${key}`);
  if (name !== 'logits') return at(name)?.data;
  if (at('start_logits') === undefined) return (at('logits') ?? at('prediction_logits'))?.data;
  const [start, end] = [at('start_logits').data, at('end_logits').data];
  return Float32Array.from({length: 2 * start.length},
                           (_, i) => (i % 2 === 0 ? start : end)[Math.floor(i / 2)]);
}

export function runsOf(tensors) {
  return new Set([...tensors.keys()].map((key) => key.split('.')[0]));
}

// The largest difference, relative to the largest value where that is more than 1.
export function worstError(got, want) {
  if (got.length !== want.length) return Infinity;
  const scale = want.reduce((max, x) => Math.max(max, Math.abs(x)), 1);
  return got.reduce((max, x, i) => {
    const error = Math.abs(x - want[i]) / scale;
    return Number.isNaN(error) ? Infinity : Math.max(max, error);
  }, 0);
}
