// The library in JavaScript: what a model tells, results, tokens, memory, and what is refused.
//
//   THIMBLE_MODULE=<folder of thimble.mjs> THIMBLE_MODELS=<folder of the models> node --test wasm_test.mjs
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

const folder = resolve(process.env.THIMBLE_MODULE);
const { loadThimble } = await import(pathToFileURL(join(folder, 'thimble.mjs')).href);
const thimble = await loadThimble();
const bytes = readFileSync(join(process.env.THIMBLE_MODELS, 'float32.thimble'));

test('runs with SIMD', () => {
  assert.equal(thimble.instructionSet, 'wasm');
  assert.match(thimble.version, /^\d+\.\d+\.\d+$/);
});

test('takes the bytes of its module from the caller', async () => {
  const other = await loadThimble(readFileSync(join(folder, 'thimble_module.wasm')));
  assert.equal(other.version, thimble.version);
});

test('tells what a model is', () => {
  const model = thimble.load(bytes);
  assert.equal(model.task, 'single_label');
  assert.equal(model.architecture, 'mobilebert');
  assert.deepEqual(model.labels, ['bad', 'fine', 'neither']);
  assert.ok(model.outputNames.includes('logits'));
  assert.ok(model.readsText && model.maxTokens > 0);
  model.free();
});

test('a batch gives what each text gives alone', () => {
  const model = thimble.load(bytes, { outputs: ['logits'] });
  const texts = ['a fine film', 'bad', '', { text: 'where is it?', pair: 'it is in Paris.' }];
  const batch = model.predict(texts);
  assert.equal(batch.length, texts.length);
  texts.forEach((text, i) => assert.deepEqual(batch[i], model.predict(text)));
  const [result] = batch;
  assert.equal(result.labels.length, 1);
  assert.equal(result.labels[0].name, model.labels[result.labels[0].label]);
  assert.equal(result.labels[0].score, Math.max(...result.scores));
  assert.ok(Math.abs(result.scores.reduce((a, b) => a + b) - 1) < 1e-5);
  assert.deepEqual([result.outputs.logits.rows, result.outputs.logits.width], [1, 3]);
  model.free();
});

test('ids give what their text gives', () => {
  const model = thimble.load(bytes);
  const { ids, types, begins, ends } = model.tokenize('a fine film');
  assert.ok(ids.length >= 5 && types.length === ids.length);
  assert.deepEqual([begins[1], ends[1]], [0, 1]);
  assert.deepEqual(model.predict({ ids, types }), model.predict('a fine film'));
  assert.deepEqual(model.predict({ ids, mask: ids.map(() => 1) }), model.predict('a fine film'));
  model.free();
});

test('memory of models and results is used again', () => {
  const many = Array.from({ length: 40 }, () => 'a fine film '.repeat(30));
  let grown = 0;
  for (let i = 0; i < 60; ++i) {
    const model = thimble.load(bytes, { outputs: ['logits'] });
    model.predict(many);
    model.free();
    const size = process.memoryUsage().arrayBuffers + process.memoryUsage().external;
    if (i === 10) grown = size;
    if (i > 10) assert.ok(size < grown + 64e6, `${size} bytes after ${i} models, ${grown} after 10`);
  }
});

test('long texts are cut and say so', () => {
  const model = thimble.load(bytes, { maxTokens: 8 });
  const result = model.predict('a fine film '.repeat(10));
  assert.equal(result.tokens, 8);
  assert.ok(result.truncatedTokens > 0);
  model.free();
});

test('refuses with one line', () => {
  const damaged = Uint8Array.from(bytes);
  damaged[100] ^= 1;
  assert.throws(() => thimble.load(damaged), /^Error: thimble: .*damaged/);
  assert.throws(() => thimble.load(bytes.subarray(0, 50)), /^Error: thimble: /);
  assert.throws(() => thimble.load(new Uint8Array()), /^Error: thimble: .*not a .thimble file/);
  assert.throws(() => thimble.load(bytes, { outputs: ['nonsense'] }), /nonsense/);
  const model = thimble.load(bytes);
  assert.throws(() => model.predict({ ids: [1, 1000000] }), /1000000/);
  assert.throws(() => model.predict({ ids: [1, 2], types: [0] }), /differ in length/);
  assert.throws(() => model.predict(7), TypeError);
  model.free();
  model.free();
  assert.throws(() => model.predict('a'), /freed/);
});
