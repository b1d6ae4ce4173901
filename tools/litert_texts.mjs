#!/usr/bin/env node
// Runs a classifier of exported form over texts in LiteRT (WebAssembly, one thread), one at a time:
//
//   node tools/litert_texts.mjs m.tflite IDS.jsonl [--npm build/npm]
//
// IDS.jsonl has {"input_ids"} lines, as `thimble tokenize --json` writes them; shorter ones are padded, longer ones cut. Gives one
// JSON object: "logits" of each, "texts_per_second", and "peak_rss_bytes" of the process.
import {readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {loadLiteRt} from './litert.mjs';

const {values: options, positionals: [file, idsFile]} = parseArgs({
  allowPositionals: true,
  options: {npm: {type: 'string', default: fileURLToPath(new URL('../build/npm', import.meta.url))}},
});
const texts = readFileSync(idsFile, 'utf8').trim().split('\n').map((line) => JSON.parse(line).input_ids);

async function main() {
  const model = await (await loadLiteRt(options.npm))(readFileSync(file));
  const length = model.inputs[0].shape[1];
  const padded = (values) => {
    const array = new Int32Array(length);
    array.set(values.slice(0, length));
    return array;
  };
  const classify = async (ids) => {
    const inputs = {ids: padded(ids), mask: padded(ids.map(() => 1)), segment_ids: padded([])};
    const [logits] = Object.values(await model.run(Object.fromEntries(model.inputs.map(({name}) => [name, inputs[name]]))));
    return [...logits];
  };
  for (let i = 0; i < 3; ++i) await classify(texts[0]);  // the engine compiles again what it finds hot
  const start = performance.now();
  const logits = [];
  for (const ids of texts) logits.push(await classify(ids));
  const seconds = (performance.now() - start) / 1000;
  return {logits, texts_per_second: texts.length / seconds, peak_rss_bytes: process.resourceUsage().maxRSS * 1024};
}

// LiteRT keeps the process alive, and exit() would cut off what is still being written.
main().then((result) => process.stdout.write(JSON.stringify(result) + '\n', () => process.exit(0)), (error) => {
  process.stderr.write(`litert_texts: ${file}: ${error.message}\n`);
  process.exit(1);
});
