// LiteRT, the runtime that was TensorFlow Lite, in plain Node: the npm package @litertjs/core expects a
// browser, of which it uses a script element and fetch. Files stand in for both.
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';
import vm from 'node:vm';

const pathOf = (url) => url.startsWith('file:') ? fileURLToPath(url) : url;

function standInForBrowser(scripts) {
  globalThis.self = globalThis;
  globalThis.__dirname = scripts;  // the scripts notice Node, and then want what CommonJS has
  globalThis.require = createRequire(import.meta.url);
  globalThis.document = {
    createElement: () => ({addEventListener(event, listener) { this[event] = listener; }}),
    body: {
      appendChild(script) {
        vm.runInThisContext(readFileSync(pathOf(script.src), 'utf8'), {filename: script.src});
        script.load();
      },
    },
  };
  globalThis.fetch = async (url) =>
      new Response(readFileSync(pathOf(String(url))), {headers: {'Content-Type': 'application/wasm'}});
}

// A function from the bytes of a .tflite file to a model. `npm` is a folder with node_modules.
export async function loadLiteRt(npm) {
  const folder = path.resolve(npm, 'node_modules/@litertjs/core');
  const scripts = path.join(folder, 'wasm');
  standInForBrowser(scripts);
  const core = await import(pathToFileURL(path.join(folder, 'dist/index.js')));
  // Of a missing graphics processor, and of its own start, it tells at length.
  const said = [];
  for (const level of ['log', 'info', 'warn', 'error']) console[level] = (...words) => said.push(words.join(' '));
  await core.loadLiteRt(scripts + '/', {threads: false});
  return async (bytes) => {
    said.length = 0;
    try {
      return new Model(core, await core.loadAndCompile(bytes, {accelerator: 'wasm'}));
    } catch (error) {
      const reasons = said.filter((line) => line.includes('ERROR')).slice(-3);
      throw new Error([error.message, ...reasons].join(' | ').replaceAll('\n', ' '));
    }
  };
}

class Model {
  constructor(core, compiled) {
    this.core = core;
    this.compiled = compiled;
    this.inputs = compiled.getInputDetails();   // name, shape
    this.outputs = compiled.getOutputDetails();
  }

  // Int32Arrays by the names of inputs -> typed arrays by the names of outputs.
  async run(arrays) {
    const tensors = Object.fromEntries(this.inputs.map(
        ({name, shape}) => [name, new this.core.Tensor(arrays[name], [...shape])]));
    const results = await this.compiled.run(tensors);
    const values = {};
    for (const [name, tensor] of Object.entries(results)) {
      values[name] = (await tensor.data()).slice();
      tensor.delete();
    }
    for (const tensor of Object.values(tensors)) tensor.delete();
    return values;
  }

  delete() { this.compiled.delete(); }
}
