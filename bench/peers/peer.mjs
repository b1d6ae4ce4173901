// What the comparisons with other runtimes share.
import {execFileSync, spawn} from 'node:child_process';
import {existsSync, mkdirSync} from 'node:fs';
import path from 'node:path';
import {createInterface} from 'node:readline';

// A program that answers every line with one line.
export class Peer {
  constructor(command, args) {
    this.process = spawn(command, args, {stdio: ['pipe', 'pipe', 'inherit']});
    this.lines = createInterface({input: this.process.stdout})[Symbol.asyncIterator]();
  }
  async read() {
    const {value, done} = await this.lines.next();
    if (done) throw new Error(`${this.process.spawnfile} ended before it answered`);
    return JSON.parse(value);
  }
  async ask(request) {
    this.process.stdin.write(JSON.stringify(request) + '\n');
    return this.read();
  }
  close() {
    this.process.stdin.end();
    this.process.kill();
  }
}

// The models of published sizes, made once.
export function makeModels(folder, thimble) {
  mkdirSync(folder, {recursive: true});
  if (existsSync(path.join(folder, 'distilbert-int8-unsigned.onnx'))) return;
  console.error(`making the models (1 GB in ${folder})`);
  execFileSync(path.join(path.dirname(thimble), 'make_bench_models'), [folder], {stdio: ['ignore', 'inherit', 'inherit']});
}

// Token ids from a small generator, so that every run on every machine has the same.
export function makeIds(lengths) {
  let state = 12345;
  const next = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 8;
  return lengths.map((length) => Array.from({length}, () => 1000 + next() % 29000));
}

export const median = (values) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
