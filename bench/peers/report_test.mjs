// node --test bench/peers/report_test.mjs
import assert from 'node:assert/strict';
import test from 'node:test';
import {readSections, updatePage} from './report.mjs';

// One run on a machine of this name, in which Thimble took `thimble_ms` and ONNX Runtime 20 ms.
function measured(name, thimble_ms) {
  const side = (p50_ms) => ({p50_ms, ratio: p50_ms / thimble_ms, load_ms: 1, first_ms: 2,
                             peak_rss_bytes: 3 * 2 ** 20, version: '1.2'});
  const row = {seq: 1, p50_ms: thimble_ms};
  return {
    results: [{model: 'mobilebert', weights: 'int8', threads: 1, name: '128 tokens', isa: 'avx2',
               sides: {thimble: side(thimble_ms), onnxruntime: side(20), unsigned: side(30)}}],
    sweeps: {f32: [row], int8: [row]}, rounds: 7, seconds: 0.4, cpus: [{model: ` ${name} `}],
    date: '2026-01-02',
  };
}

test('a run keeps the sections of other machines', () => {
  const first = updatePage('', measured('One', 10));
  const both = updatePage(first, measured('Two', 15));
  assert.deepEqual([...readSections(both).keys()], ['One, avx2', 'Two, avx2']);
  assert.equal(readSections(both).get('One, avx2'), readSections(first).get('One, avx2'));
  assert.match(both, /\| mobilebert, int8, 128 tokens \| 15.0 \| 20.0 \| \*\*1.33x\*\* \| 1.4x \(missed\) \|/);
  assert.match(both, /\| mobilebert, int8, 128 tokens \| 15.0 \| 30.0 \| \*\*2.00x\*\* \|/);
});

test('a run replaces the section of its own machine, but for the notes', () => {
  const page = updatePage('', measured('One', 10)) + '\n### Notes\n\nWritten by hand.\n';
  const again = updatePage(page, measured('One', 5));
  assert.match(again, /\| 5.00 \| 20.0 \| \*\*4.00x\*\* \|/);
  assert.doesNotMatch(again, /\*\*2.00x\*\*/);
  assert.match(again, /\n\n### Notes\n\nWritten by hand.\n$/);
  assert.equal(updatePage(again, measured('One', 5)), again);
});
