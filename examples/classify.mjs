// Classifies texts in JavaScript.
//
//   node classify.mjs MODEL TEXT...
//   node classify.mjs --logits MODEL TEXT...    the model's raw numbers instead of labels
//
// thimble.mjs is beside this file or in the folder that THIMBLE_MODULE names (docs/library.md).
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const folder = process.env.THIMBLE_MODULE ?? import.meta.dirname ?? '.';
const { loadThimble } = await import(pathToFileURL(resolve(folder, 'thimble.mjs')).href);

const raw = process.argv[2] === '--logits';
const [path, ...texts] = process.argv.slice(raw ? 3 : 2);
if (path === undefined || texts.length === 0) {
  console.error('usage: classify.mjs [--logits] MODEL TEXT...');
  process.exit(2);
}

try {
  const thimble = await loadThimble();
  const model = thimble.load(await readFile(path), { outputs: raw ? ['logits'] : [] });
  for (const text of texts) {
    const result = model.predict(text);
    if (raw) {
      console.log(Array.from(result.outputs.logits.values, (value) => value.toPrecision(9)).join(' '));
    } else {
      for (const { name, score } of result.labels) console.log(`${(100 * score).toFixed(1).padStart(5)} %  ${name}  ${text}`);
    }
  }
  model.free();
} catch (error) {
  console.error(`classify: ${error.message}`);
  process.exitCode = 1;
}
