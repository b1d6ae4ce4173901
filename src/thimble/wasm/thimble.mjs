// Thimble in JavaScript: models run from plain text in browsers and Node.js, by WebAssembly with SIMD on one thread.
//
//   import { loadThimble } from './thimble.mjs';
//   const thimble = await loadThimble();
//   const model = thimble.load(bytes);                       // of a .thimble file
//   const { labels } = model.predict('a thimble of joy');    // [{ label: 1, name: 'good', score: 0.98 }]
//   model.free();
//
// Memory of WebAssembly is not collected: a model is in it until free(). Results are ordinary objects. What
// include/thimble.h says of models, options, inputs and results holds here; failures throw an Error with its one line.
// Places in text are byte offsets in UTF-8, as there; `text` beside them is the piece itself.
import createModule from './thimble_module.mjs';

const TASKS = ['features', 'single_label', 'multi_label', 'regression', 'token_labels', 'answers', 'masked_lm', 'pretraining'];
const IN_PLACE = 1, ALIGNMENT = 64;
// sizeof on wasm32; layout.c checks these and the offsets below.
const SIZE = { options: 28, input: 36, reading: 16, label: 16, token: 36, answer: 16, candidate: 20, matrix: 16 };

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

async function readModule() {
  const url = new URL('./thimble_module.wasm', import.meta.url);
  if (url.protocol === 'file:') return (await import('node:fs/promises')).readFile(url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`thimble: ${url}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** The library. `wasm`: the bytes of thimble_module.wasm; left out, they are read from beside this file. */
export async function loadThimble(wasm) {
  return new Thimble(await createModule({ wasmBinary: wasm ?? (await readModule()) }));
}

class Thimble {
  #memory;

  constructor(module) {
    this.#memory = new Memory(module);
  }

  get version() {
    return this.#memory.text(this.#memory.c._thimble_version_text());
  }

  /** "wasm" with SIMD. */
  get instructionSet() {
    return this.#memory.text(this.#memory.c._thimble_instruction_set());
  }

  /**
   * A model from the bytes of a .thimble file, which are copied.
   * Options: maxTokens, answers, noAnswer, and outputs, names of outputs to hand out as they are.
   */
  load(bytes, options = {}) {
    return new Model(this.#memory, bytes, options);
  }
}

// The C side: its memory, which moves when it grows, and what is allocated there.
class Memory {
  constructor(module) {
    this.c = module;
  }

  get view() {
    return new DataView(this.c.HEAPU8.buffer);
  }
  u32(address) {
    return this.view.getUint32(address, true);
  }
  i32(address) {
    return this.view.getInt32(address, true);
  }
  f32(address) {
    return this.view.getFloat32(address, true);
  }
  text(address) {
    const bytes = this.c.HEAPU8;
    return fromUtf8.decode(bytes.subarray(address, bytes.indexOf(0, address)));
  }
  floats(address, count) {
    return new Float32Array(this.c.HEAPU8.buffer.slice(address, address + 4 * count));
  }
  ints(address, count) {
    return new Int32Array(this.c.HEAPU8.buffer.slice(address, address + 4 * count));
  }

  allocate(size) {
    const address = this.c._malloc(Math.max(size, 1));
    if (address === 0) throw new Error('thimble: there is not enough memory');
    return address;
  }

  // Runs body(scope) and frees what it took by scope.
  with(body) {
    const scope = new Scope(this);
    try {
      return body(scope);
    } finally {
      scope.free();
    }
  }

  check(status) {
    if (status !== 0) throw new Error(`thimble: ${this.text(this.c._thimble_error())}`);
  }
}

class Scope {
  #memory;
  #addresses = [];

  constructor(memory) {
    this.#memory = memory;
  }
  zeros(size) {
    const address = this.#memory.allocate(size);
    this.#addresses.push(address);
    this.#memory.c.HEAPU8.fill(0, address, address + size);
    return address;
  }
  // A structure that begins with its size.
  struct(size) {
    const address = this.zeros(size);
    this.#memory.view.setUint32(address, size, true);
    return address;
  }
  bytes(bytes) {
    const address = this.zeros(bytes.length);
    this.#memory.c.HEAPU8.set(bytes, address);
    return address;
  }
  text(text) {
    return this.bytes(utf8.encode(`${text}\0`));
  }
  free() {
    for (const address of this.#addresses) this.#memory.c._free(address);
  }
}

class Model {
  #memory;
  #bytes = 0;
  #model = 0;
  #predictor = 0;
  #outputs;

  constructor(memory, bytes, options) {
    this.#memory = memory;
    this.#outputs = options.outputs ?? [];
    try {
      this.#load(bytes);
      this.#createPredictor(options);
    } catch (error) {
      this.free();
      throw error;
    }
    const c = memory.c;
    this.task = TASKS[c._thimble_model_task(this.#model)];
    this.architecture = memory.text(c._thimble_model_architecture(this.#model));
    this.labels = this.#names(c._thimble_model_label_count, c._thimble_model_label);
    this.outputNames = this.#names(c._thimble_model_output_count, c._thimble_model_output_name);
    this.maxTokens = c._thimble_model_max_tokens(this.#model);
    this.readsText = c._thimble_model_reads_text(this.#model) === 1;
  }

  #load(bytes) {
    const data = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
    this.#bytes = this.#memory.allocate(data.length + ALIGNMENT);
    const aligned = Math.ceil(this.#bytes / ALIGNMENT) * ALIGNMENT;
    this.#memory.c.HEAPU8.set(data, aligned);
    this.#memory.with((scope) => {
      const out = scope.zeros(4);
      this.#memory.check(this.#memory.c._thimble_model_load_bytes(aligned, data.length, IN_PLACE, out));
      this.#model = this.#memory.u32(out);
    });
  }

  #createPredictor({ maxTokens = 0, answers = 0, noAnswer = false }) {
    this.#memory.with((scope) => {
      const names = this.#outputs.map((name) => scope.text(name));
      const list = scope.bytes(new Uint8Array(Uint32Array.from(names).buffer));
      const options = scope.struct(SIZE.options), out = scope.zeros(4), view = this.#memory.view;
      view.setInt32(options + 8, noAnswer ? 1 : 0, true);
      view.setUint32(options + 12, maxTokens, true);
      view.setUint32(options + 16, answers, true);
      view.setUint32(options + 20, list, true);
      view.setUint32(options + 24, names.length, true);
      this.#memory.check(this.#memory.c._thimble_predictor_create(this.#model, options, out));
      this.#predictor = this.#memory.u32(out);
    });
  }

  #names(count, name) {
    return Array.from({ length: count(this.#model) }, (_, i) => this.#memory.text(name(this.#model, i)));
  }

  /**
   * A result for a text, or for { text, pair } or { ids, types, mask }; an array of results for an array of these, which
   * run as one batch. A result has tokens, truncatedTokens, invalidBytes, and what the task gives: labels, scores,
   * tokenLabels, answers, masked, embedding. outputs: by name { rows, width, values }.
   */
  predict(input) {
    const inputs = (Array.isArray(input) ? input : [input]).map(asInput);
    const memory = this.#alive();
    const results = memory.with((scope) => {
      const array = scope.zeros(SIZE.input * inputs.length);
      inputs.forEach((one, i) => writeInput(memory, scope, array + i * SIZE.input, one));
      const out = scope.zeros(4);
      memory.check(memory.c._thimble_predict(this.#predictor, array, inputs.length, out));
      const handle = memory.u32(out);
      try {
        return inputs.map((one, i) => readResult(memory, handle, i, one, this.task, this.#outputs));
      } finally {
        memory.c._thimble_results_free(handle);
      }
    });
    return Array.isArray(input) ? results : results[0];
  }

  /** The tokens of a text or of { text, pair }, special ones included: ids, types, and each one's bytes. */
  tokenize(input) {
    const memory = this.#alive();
    return memory.with((scope) => {
      const address = scope.zeros(SIZE.input), out = scope.zeros(4);
      writeInput(memory, scope, address, asInput(input));
      memory.check(memory.c._thimble_tokenize(this.#predictor, address, out));
      const tokens = memory.u32(out), c = memory.c;
      const count = c._thimble_tokens_count(tokens);
      const places = (place) => Int32Array.from({ length: count }, (_, i) => place(tokens, i));
      const result = {
        ids: memory.ints(c._thimble_tokens_ids(tokens), count),
        types: memory.ints(c._thimble_tokens_types(tokens), count),
        begins: places(c._thimble_tokens_begin),
        ends: places(c._thimble_tokens_end),
      };
      c._thimble_tokens_free(tokens);
      return result;
    });
  }

  /** Gives the model's memory back; it cannot be used any more. */
  free() {
    const c = this.#memory.c;
    c._thimble_predictor_free(this.#predictor);
    c._thimble_model_free(this.#model);
    c._free(this.#bytes);
    this.#predictor = this.#model = this.#bytes = 0;
  }

  #alive() {
    if (this.#predictor === 0) throw new Error('thimble: the model has been freed');
    return this.#memory;
  }
}

function asInput(input) {
  if (typeof input === 'string') return { text: input };
  if (typeof input?.text === 'string' || input?.ids !== undefined) return input;
  throw new TypeError('thimble: an input is a string, { text, pair } or { ids, types, mask }');
}

function writeInput(memory, scope, address, { text = '', pair, ids, types, mask }) {
  const set = (offset, value) => memory.view.setUint32(address + offset, value, true);
  const setText = (offset, value) => {
    const bytes = utf8.encode(value);
    set(offset, scope.bytes(bytes));
    set(offset + 4, bytes.length);
  };
  set(0, SIZE.input);
  setText(4, text);
  if (pair !== undefined && pair !== null) setText(12, pair);
  if (ids === undefined) return;
  const words = (values) => scope.bytes(new Uint8Array(Int32Array.from(values).buffer));
  for (const values of [types, mask]) {
    if (values && values.length !== ids.length) throw new TypeError('thimble: ids, types and mask differ in length');
  }
  set(20, words(ids));
  if (types) set(24, words(types));
  if (mask) set(28, scope.bytes(Uint8Array.from(mask)));
  set(32, ids.length);
}

// Reads `count` structures of one kind, each by its getter and then by read(address).
function readEach(memory, size, count, get, read) {
  return memory.with((scope) => {
    const address = scope.struct(size);
    return Array.from({ length: count }, (_, i) => {
      memory.check(get(i, address));
      return read(address);
    });
  });
}

// The bytes of a text as text.
const slicer = (text = '') => {
  const bytes = utf8.encode(text);
  return (begin, end) => fromUtf8.decode(bytes.subarray(begin, end));
};

function readResult(memory, results, i, input, task, outputs) {
  const c = memory.c, u32 = (a) => memory.u32(a), f32 = (a) => memory.f32(a), text = (a) => memory.text(a);
  const of = (size, count, getter, read) => readEach(memory, size, count, (k, at) => getter(results, i, k, at), read);
  const counted = (getter) => memory.with((scope) => {
    const count = scope.zeros(4);
    return memory.floats(getter(results, i, count), u32(count));
  });
  const [result] = readEach(memory, SIZE.reading, 1, (_, at) => c._thimble_results_reading(results, i, at), (at) => ({
    tokens: u32(at + 4), truncatedTokens: u32(at + 8), invalidBytes: u32(at + 12),
  }));
  if (task === 'single_label' || task === 'multi_label') {
    result.labels = of(SIZE.label, c._thimble_results_label_count(results, i), c._thimble_results_label,
      (at) => ({ label: u32(at + 4), name: text(u32(at + 8)), score: f32(at + 12) }));
  }
  if (['single_label', 'multi_label', 'regression'].includes(task)) result.scores = counted(c._thimble_results_scores);
  if (task === 'features') result.embedding = counted(c._thimble_results_embedding);
  if (task === 'token_labels') {
    const slices = [slicer(input.text), slicer(input.pair)];
    result.tokenLabels = of(SIZE.token, c._thimble_results_token_count(results, i), c._thimble_results_token, (at) => {
      const sequence = memory.i32(at + 12), begin = u32(at + 16), end = u32(at + 20);
      return { token: u32(at + 4), id: memory.i32(at + 8), sequence, begin, end, text: slices[sequence](begin, end),
        label: u32(at + 24), name: text(u32(at + 28)), score: f32(at + 32) };
    });
  }
  if (task === 'answers') {
    const slice = input.ids === undefined ? slicer(input.pair) : () => '';
    result.answers = of(SIZE.answer, c._thimble_results_answer_count(results, i), c._thimble_results_answer, (at) => {
      const begin = u32(at + 4), end = u32(at + 8);
      return { begin, end, text: slice(begin, end), score: f32(at + 12) };
    });
  }
  if (task === 'masked_lm' || task === 'pretraining') {
    result.masked = Array.from({ length: c._thimble_results_masked_count(results, i) }, (_, m) =>
      readEach(memory, SIZE.candidate, c._thimble_results_candidate_count(results, i, m),
        (k, at) => c._thimble_results_candidate(results, i, m, k, at),
        (at) => ({ token: u32(at + 4), id: memory.i32(at + 8), score: f32(at + 12), piece: text(u32(at + 16)) })));
  }
  const matrices = of(SIZE.matrix, outputs.length, c._thimble_results_output, (at) => {
    const rows = u32(at + 4), width = u32(at + 8);
    return { rows, width, values: memory.floats(u32(at + 12), rows * width) };
  });
  result.outputs = Object.fromEntries(outputs.map((name, k) => [name, matrices[k]]));
  return result;
}
