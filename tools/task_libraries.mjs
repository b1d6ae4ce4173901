#!/usr/bin/env node
// Gives texts to exported .tflite files through the task libraries that read their metadata, in headless
// Chromium: MediaPipe's TextClassifier (npm @mediapipe/tasks-text) and tfjs-tflite's BertNLClassifier and
// BertQuestionAnswerer (npm @tensorflow/tfjs-tflite).
//
//   node tools/task_libraries.mjs LIBRARY MODEL.tflite [--npm build/npm] [--chromium chromium] < REQUESTS
//
// LIBRARY is text_classifier, bert_nl_classifier or bert_question_answerer. One request a line: a text, or
// question TAB context. Prints one JSON line for each: [{"label","score"}...] or [{"answer","score"}...].
// Exit 1 if the library refuses the model.
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {createServer} from 'node:http';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

const {values: options, positionals: [library, model]} = parseArgs({
  allowPositionals: true,
  options: {
    npm: {type: 'string', default: fileURLToPath(new URL('../build/npm', import.meta.url))},
    chromium: {type: 'string', default: 'chromium'},
    seconds: {type: 'string', default: '120'},
  },
});

// Each runs in the browser: a model's bytes -> a function from a request to what it prints.
const MEDIAPIPE = '/npm/@mediapipe/tasks-text';
const TFJS = '/npm/@tensorflow/tfjs-tflite/wasm/';
const LIBRARIES = {
  text_classifier: `
    const {FilesetResolver, TextClassifier} = await import('${MEDIAPIPE}/text_bundle.mjs');
    const files = await FilesetResolver.forTextTasks('${MEDIAPIPE}/wasm');
    const classifier = await TextClassifier.createFromModelBuffer(files, model);
    return (text) => classifier.classify(text).classifications[0].categories
        .map(({categoryName, score}) => ({label: categoryName, score}));`,
  bert_nl_classifier: `
    await script('${TFJS}tflite_web_api_client.js');
    tfweb.tflite_web_api.setWasmPath('${TFJS}');
    const classifier =
        await tfweb.BertNLClassifier.create(model.buffer, new tfweb.BertNLClassifierOptions());
    return (text) => classifier.classify(text).map(({className, score}) => ({label: className, score}));`,
  bert_question_answerer: `
    await script('${TFJS}tflite_web_api_client.js');
    tfweb.tflite_web_api.setWasmPath('${TFJS}');
    const answerer = await tfweb.BertQuestionAnswerer.create(model.buffer);
    return (request) => {
      const [question, context] = request.split('\\t');
      return answerer.answer(context, question).map(({text, pos}) => ({answer: text, score: pos.logit}));
    };`,
};

const page = (requests) => `<!doctype html><script type="module">
  const script = (src) => new Promise((resolve, reject) => document.head.append(
      Object.assign(document.createElement('script'), {src, onload: resolve, onerror: reject})));
  async function load(model) { ${LIBRARIES[library]} }
  const said = [];
  for (const level of ['error', 'warn']) console[level] = (...words) => said.push(words.join(' '));
  try {
    const run = await load(new Uint8Array(await (await fetch('/model')).arrayBuffer()));
    const lines = ${JSON.stringify(requests)}.map((request) => JSON.stringify(run(request)));
    await fetch('/done', {method: 'POST', body: lines.map((line) => line + '\\n').join('')});
  } catch (error) {
    await fetch('/failed', {method: 'POST', body: [error?.message ?? error, ...said.slice(-4)].join(' | ')});
  }
</script>`;

const TYPES = {'.mjs': 'text/javascript', '.js': 'text/javascript', '.wasm': 'application/wasm'};

function answer(request, response, pageText, finish) {
  const url = request.url.split('?')[0];
  if (request.method === 'POST') {
    let body = '';
    request.on('data', (part) => (body += part)).on('end', () => {
      response.end();
      finish(url === '/done', body);
    });
  } else if (url === '/') {
    response.setHeader('Content-Type', 'text/html').end(pageText);
  } else if (url === '/model') {
    response.end(readFileSync(model));
  } else if (url.startsWith('/npm/') && !url.includes('..')) {
    const file = path.join(options.npm, 'node_modules', url.slice('/npm/'.length));
    try {
      response.setHeader('Content-Type', TYPES[path.extname(file)] ?? 'application/octet-stream').end(readFileSync(file));
    } catch {
      response.writeHead(404).end();
    }
  } else {
    response.writeHead(404).end();
  }
}

// Ends the browser with all its processes, the last of which may still write while its folder is removed.
async function close(browser, profile) {
  if (browser?.pid !== undefined && browser.exitCode === null) {
    const exit = once(browser, 'exit');
    process.kill(-browser.pid, 'SIGKILL');
    await exit;
  }
  for (let tries = 0; tries < 20; ++tries) {
    try {
      rmSync(profile, {recursive: true, force: true});
      return;
    } catch {
      await sleep(100);
    }
  }
}

function main() {
  if (!(library in LIBRARIES) || model === undefined) {
    throw new Error(`name one of ${Object.keys(LIBRARIES).join(', ')}, and a model`);
  }
  const requests = readFileSync(0, 'utf8').split('\n').filter((line) => line !== '');
  const profile = mkdtempSync(path.join(tmpdir(), 'thimble-chromium-'));
  let browser;
  const finish = async (worked, text) => {
    clearTimeout(timer);
    server.close();
    server.closeAllConnections();
    if (worked) process.stdout.write(text);
    else process.stderr.write(`task_libraries: ${library}: ${text}\n`);
    process.exitCode = worked ? 0 : 1;
    await close(browser, profile);
  };
  const timer = setTimeout(() => finish(false, `no answer in ${options.seconds} s`), 1000 * Number(options.seconds));
  const server = createServer((request, response) => answer(request, response, page(requests), finish));
  server.listen(0, '127.0.0.1', () => {
    browser = spawn(options.chromium, [
      '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
      `--user-data-dir=${profile}`, `http://127.0.0.1:${server.address().port}/`], {detached: true, stdio: 'ignore'});
    browser.on('error', (error) => finish(false, error.message));
  });
}

try {
  main();
} catch (error) {
  process.stderr.write(`task_libraries: ${error.message}\n`);
  process.exitCode = 1;
}
