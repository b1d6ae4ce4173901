#!/usr/bin/env node
// How often int8 and float32 predict the same: the sentence encoder of the demo with a nearest-centroid
// classifier on top (centroids from the float32 embeddings of the training texts).
//
//   node tools/int8_agreement.mjs TRAIN.tsv TEST.tsv [--thimble PATH] [--models build/demo] [--skip LABEL]
//
// The files have a header with the columns text and label. Prints accuracies and the agreement.
import {execFileSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import path from 'node:path';
import {parseArgs} from 'node:util';
import {gunzipSync} from 'node:zlib';

const {values: options, positionals: [trainFile, testFile]} = parseArgs({
  allowPositionals: true,
  options: {
    thimble: {type: 'string', default: 'build/release/bin/thimble'},
    models: {type: 'string', default: 'build/demo'},
    skip: {type: 'string', default: ''},
  },
});

function readTsv(file) {
  const bytes = readFileSync(file);
  const lines = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8').trimEnd().split('\n');
  const header = lines.shift().split('\t');
  const [text, label] = [header.indexOf('text'), header.indexOf('label')];
  return lines.map((line) => line.split('\t')).map((row) => ({text: row[text], label: row[label]}))
      .filter((row) => row.label !== options.skip);
}

function embed(weights, rows) {
  const model = path.join(options.models, `${weights}.thimble`);
  const input = rows.map((row) => row.text + '\n').join('');
  const output = execFileSync(options.thimble, ['predict', model, '-', '--json'],
                              {input, maxBuffer: 2 ** 30, encoding: 'utf8'});
  return output.trimEnd().split('\n').map((line) => JSON.parse(line).embedding);
}

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

function centroids(rows, embeddings) {
  const sums = new Map();
  rows.forEach(({label}, i) => {
    const sum = sums.get(label) ?? new Array(embeddings[i].length).fill(0);
    embeddings[i].forEach((x, c) => (sum[c] += x));
    sums.set(label, sum);
  });
  return [...sums].map(([label, sum]) => {
    const norm = Math.sqrt(dot(sum, sum));
    return {label, centre: sum.map((x) => x / norm)};
  });
}

const train = readTsv(trainFile), test = readTsv(testFile);
const classes = centroids(train, embed('f32', train));
const predict = (embedding) => classes.reduce(
    (best, {label, centre}) => {
      const score = dot(embedding, centre);
      return score > best.score ? {label, score} : best;
    }, {score: -Infinity}).label;
const predicted = Object.fromEntries(['f32', 'int8'].map((w) => [w, embed(w, test).map(predict)]));
const share = (same) => (100 * test.filter((_, i) => same(i)).length / test.length).toFixed(2);
for (const w of ['f32', 'int8']) {
  console.log(`${w.padEnd(5)} accuracy   ${share((i) => predicted[w][i] === test[i].label)} %`);
}
console.log(`agreement        ${share((i) => predicted.f32[i] === predicted.int8[i])} % of ${test.length} texts`);
