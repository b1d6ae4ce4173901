#!/usr/bin/env node
// Compares our tokenizer with Hugging Face's Rust library (npm `tokenizers`): ids and byte offsets, equal or
// not, and the speed of both side by side.
//
//   node tools/compare_tokenizers.mjs --ours build/debug/bin/tokenize_requests --uncased vocab.txt
//        [--cased vocab.txt] [--npm build/npm] [--fuzz 40000] [--seed 1] [--code-points] [--speed] [FILE|FOLDER…]
//
// Files: every column of .tsv and .csv lines, every string of .jsonl, every line of .txt, also gzipped.
// --fuzz N compares N random texts per configuration, --code-points every code point that there is.
// --speed times the first 20,000 texts instead of comparing them.
// Exit 4 where anything differs; the first differences are printed.
import {spawn} from 'node:child_process';
import {mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {gunzipSync} from 'node:zlib';

const {values: options, positionals: inputs} = parseArgs({
  allowPositionals: true,
  options: {
    ours: {type: 'string'},
    uncased: {type: 'string'},
    cased: {type: 'string'},
    npm: {type: 'string', default: fileURLToPath(new URL('../build/npm', import.meta.url))},
    fuzz: {type: 'string', default: '0'},
    seed: {type: 'string', default: '1'},
    'code-points': {type: 'boolean', default: false},
    speed: {type: 'boolean', default: false},
  },
});
if (options.ours === undefined || options.uncased === undefined) {
  console.error('error: --ours PROGRAM and --uncased vocab.txt are needed');
  process.exit(2);
}
// One thread on both sides: the library reads this when it starts.
if (options.speed) process.env.RAYON_NUM_THREADS = '1';
const library = createRequire(path.resolve(options.npm, 'index.js'))('tokenizers');
const scratch = mkdtempSync(path.join(tmpdir(), 'compare-tokenizers-'));

// ---- Both sides ----

// Our program: one request a line, answers in order.
class Ours {
  constructor(program) {
    this.child = spawn(program, [], {stdio: ['pipe', 'pipe', 'inherit']});
    this.waiting = [];
    createInterface({input: this.child.stdout})
        .on('line', (line) => this.waiting.shift().resolve(JSON.parse(line)));
    this.child.on('exit', (code, signal) => {
      for (const {reject} of this.waiting) reject(new Error(`our program ended: ${code ?? signal}`));
    });
  }
  ask(request) {
    return new Promise((resolve, reject) => {
      this.waiting.push({resolve, reject});
      this.child.stdin.write(JSON.stringify(request) + '\n');
    });
  }
  end() { this.child.stdin.end(); }
}

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const DEFAULTS = {
  basic_tokenize: true, clean_text: true, lower_case: true, chinese_chars: true, added_tokens: [],
};

function readVocabulary(file) {
  return readFileSync(file, 'utf8').replace(/\n$/, '').split('\n');
}

// The added tokens of a configuration: BERT's own, and those that it asks for.
function addedTokens(config, ids) {
  const all = SPECIAL.map((content) => ({content, special: true}));
  return [...all, ...config.added_tokens].map((token) => ({
    single_word: false, lstrip: false, rstrip: false, normalized: false, special: false, ...token,
    id: ids.get(token.content),
  }));
}

function makeLibrary(config, pieces, tokens, ids) {
  const special = (name) => ({id: name, ids: [ids.get(name)], tokens: [name]});
  const item = (name, type_id) => ({SpecialToken: {id: name, type_id}});
  const first = [item('[CLS]', 0), {Sequence: {id: 'A', type_id: 0}}, item('[SEP]', 0)];
  return library.Tokenizer.fromString(JSON.stringify({
    version: '1.0', truncation: null, padding: null, added_tokens: [...tokens].sort((a, b) => a.id - b.id),
    normalizer: !config.basic_tokenize ? null : {
      type: 'BertNormalizer', clean_text: config.clean_text, handle_chinese_chars: config.chinese_chars,
      strip_accents: config.strip_accents ?? null, lowercase: config.lower_case,
    },
    // Without the basic tokenizer (which the library always has) words are split as Python does it.
    pre_tokenizer: config.basic_tokenize ? {type: 'BertPreTokenizer'} :
        {type: 'Split', pattern: {Regex: '[\\s\\x1c-\\x1f]+'}, behavior: 'Removed', invert: false},
    post_processor: {
      type: 'TemplateProcessing', single: first,
      pair: [...first, {Sequence: {id: 'B', type_id: 1}}, item('[SEP]', 1)],
      special_tokens: {'[CLS]': special('[CLS]'), '[SEP]': special('[SEP]')},
    },
    decoder: {type: 'WordPiece', prefix: '##', cleanup: true},
    model: {
      type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##',
      max_input_chars_per_word: config.max_word_chars ?? 100,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
    },
  }));
}

// Sets both sides up; returns the library's tokenizer.
async function configure(ours, config) {
  const full = {...DEFAULTS, ...config};
  const pieces = config.pieces ?? readVocabulary(config.vocab);
  for (const token of full.added_tokens) if (!pieces.includes(token.content)) pieces.push(token.content);
  const ids = new Map(pieces.map((piece, id) => [piece, id]));
  const tokens = addedTokens(full, ids);
  const vocab = path.join(scratch, 'vocab.txt');
  writeFileSync(vocab, pieces.join('\n') + '\n');
  const {pieces: _, name: __, ...request} = {...full, vocab, added_tokens: tokens};
  const answer = await ours.ask({configure: request});
  if (answer.error) throw new Error(`our program: ${answer.error}`);
  return {theirs: makeLibrary(full, pieces, tokens, ids), createMs: answer.create_ms};
}

// ---- Comparing ----

// Byte of every character boundary; the library counts characters.
function byteOfCharacter(text) {
  const bytes = [0];
  for (const c of text) {
    const code = c.codePointAt(0);
    bytes.push(bytes.at(-1) + (code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4));
  }
  return bytes;
}

const isAscii = (text) => /^[\x00-\x7f]*$/.test(text);

function librarysAnswer(encoding, text, pair) {
  const bytes = [text, pair ?? ''].map((t) => isAscii(t) ? null : byteOfCharacter(t));
  const sequences = bytes[0] || bytes[1] ? encoding.getSequenceIds() : [];
  const offsets = [];
  encoding.getOffsets().forEach(([begin, end], i) => {
    const map = bytes[sequences[i] ?? 0];
    offsets.push(sequences[i] == null || !map ? begin : map[begin], sequences[i] == null || !map ? end : map[end]);
  });
  return {ids: encoding.getIds(), type_ids: encoding.getTypeIds(), mask: encoding.getAttentionMask(), offsets};
}

function difference(got, want) {
  if (got.error) return got.error;
  return ['ids', 'offsets', 'type_ids', 'mask'].find(
      (key) => got[key].length !== want[key].length || got[key].some((x, i) => x !== want[key][i]));
}

let differences = 0, compared = 0;
function report(name, text, where, got, want) {
  if (++differences > 20) return;
  const escaped = [...text].map((c) => /[ -~]/.test(c) ? c : `\\u{${c.codePointAt(0).toString(16)}}`).join('');
  console.log(`DIFFERS ${name}: ${where} of "${escaped.slice(0, 400)}"`);
  for (const key of ['ids', 'offsets']) {
    console.log(`  ours    ${key} ${JSON.stringify(got[key])?.slice(0, 400)}\n  library ${key} ${
        JSON.stringify(want[key]).slice(0, 400)}`);
  }
}

// texts: strings, or [text, pair].
async function compareTexts(ours, config, texts) {
  const {theirs} = await configure(ours, config);
  const started = Date.now();
  for (let begin = 0; begin < texts.length;) {
    const batch = [];
    for (let size = 0; begin < texts.length && batch.length < 512 && size < 1e6; ++begin) {
      batch.push(texts[begin]);
      size += texts[begin].length;
    }
    const answers = batch.map((t) => ours.ask(Array.isArray(t) ? {text: t[0], pair: t[1]} : {text: t}));
    const want = await Promise.all(batch.map(
        (t) => Array.isArray(t) ? theirs.encode(t[0], t[1]) : theirs.encode(t)));
    const got = await Promise.all(answers);
    batch.forEach((t, i) => {
      const [text, pair] = Array.isArray(t) ? t : [t];
      const expected = librarysAnswer(want[i], text, pair);
      const where = difference(got[i], expected);
      if (where) report(config.name, Array.isArray(t) ? t.join(' || ') : t, where, got[i], expected);
    });
    compared += batch.length;
  }
  console.log(`${config.name}: ${texts.length} texts compared, ${differences} differences so far, ${
      ((Date.now() - started) / 1e3).toFixed(1)} s`);
}

// ---- Texts ----

function* filesUnder(place) {
  if (!statSync(place).isDirectory()) return yield place;
  for (const name of readdirSync(place).sort()) yield* filesUnder(path.join(place, name));
}

function stringsIn(value) {
  if (typeof value === 'string') return [value];
  return value !== null && typeof value === 'object' ? Object.values(value).flatMap(stringsIn) : [];
}

function textsOf(file) {
  const plain = file.replace(/\.gz$/, '');
  const read = () => {
    const bytes = readFileSync(file);
    return (plain === file ? bytes : gunzipSync(bytes)).toString('utf8').split('\n');
  };
  if (/\.(tsv|csv)$/.test(plain)) return read().flatMap((line) => line.split('\t'));
  if (/\.jsonl$/.test(plain)) return read().filter(Boolean).flatMap((line) => stringsIn(JSON.parse(line)));
  return /\.txt$/.test(plain) ? read() : [];
}

// A generator of random numbers with a seed, so that a difference can be found again.
function makeRandom(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x9e3779b9) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 0) % below;
  };
}

// Where the rules change: whole planes seldom, marks, controls, expanding letters and special tokens often.
const RANGES = [
  [0x20, 0x7e], [0x20, 0x7e], [0x61, 0x7a], [0x00, 0x24f], [0x300, 0x36f], [0x370, 0x5ff], [0x600, 0x9ff],
  [0xe00, 0xfff], [0x1100, 0x11ff], [0x1800, 0x1dff], [0x1ab0, 0x1aff], [0x1dc0, 0x1fff], [0x2000, 0x20ff],
  [0x2e80, 0x33ff], [0x4dff, 0x4e20], [0xa640, 0xabff], [0xac00, 0xd7ff], [0xf900, 0xffff], [0x10000, 0x11fff],
  [0x16000, 0x16fff], [0x1d000, 0x1d2ff], [0x1e000, 0x1e95f], [0x1f300, 0x1faff], [0x2a6d0, 0x2ceb0],
  [0x0, 0x10ffff], [0xe000, 0x10ffff],
];
const MORSELS = [
  ' ', ' ', '  ', '\t', '\n', '\r\n', '\u00a0', '\u3000', '\u200b', '\u200d', '\ufeff', '\ufffd', '\0', '.', '[MASK]',
  '[SEP]', '[CLS]', '[UNK]', '[PAD]', '[mask]', '\u0130', '\u00df', '\u03a3', '\u0344', '\u0f73', '\u0f81', '\u0958',
  '\u302e', '\u302f', '\u{1d165}', '\u{1d15e}', '\u{16ff0}', '\u0345', '\u1d42', '\u{1e2ec}', '\u09fe', '\u0eba',
  '\u1dfa', '\u1ea5', '\uac01', '##', "'", 'the', 'ing', 'un', 'x'.repeat(101),
];

function* randomTexts(count, seed, extra = []) {
  const random = makeRandom(seed);
  const morsels = [...MORSELS, ...extra, ...extra, ...extra];
  for (let i = 0; i < count; ++i) {
    let text = '';
    for (let pieces = random(24); pieces >= 0; --pieces) {
      if (random(4) === 0) {
        text += morsels[random(morsels.length)];
        continue;
      }
      const [low, high] = RANGES[random(RANGES.length)];
      for (let length = random(5); length >= 0; --length) {
        const code = low + random(high - low + 1);
        if (code < 0xd800 || code > 0xdfff) text += String.fromCodePoint(code);
      }
    }
    yield text;
  }
}

// A vocabulary in which every character counts: what a code point of this plane becomes (which, or the parts
// of which, may lie in the first plane) shows in the ids.
function vocabularyOfPlane(plane) {
  const pieces = [...SPECIAL];
  for (const p of new Set([0, plane])) {
    for (let code = Math.max(p << 16, 1); code < (p + 1) << 16; ++code) {
      if (code === 10 || (code >= 0xd800 && code < 0xe000)) continue;
      pieces.push(String.fromCodePoint(code), '##' + String.fromCodePoint(code));
    }
  }
  return pieces;
}

function textsOfPlane(plane) {
  const texts = [];
  for (let begin = plane << 16; begin < (plane + 1) << 16; begin += 64) {
    if (begin >= 0xd800 && begin < 0xe000) continue;
    const codes = Array.from({length: 64}, (_, i) => String.fromCodePoint(begin + i));
    texts.push(codes.map((c) => `a${c}b`).join(' '));
    // Among marks of several classes that stay, the place of a mark shows.
    texts.push(codes.map((c) => `a\u302e${c}\u{1d165}b\u1dfa${c}`).join(' '));
    if (begin % 1024 === 0) texts.push(codes.join(''));
  }
  return texts;
}

// ---- Speed ----

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

// Seconds of processor time, so that a busy machine does not matter much; both sides in turn.
async function cpuSeconds(work) {
  const before = process.cpuUsage();
  await work();
  const {user, system} = process.cpuUsage(before);
  return (user + system) / 1e6;
}

async function compareSpeed(ours, config, texts) {
  const {theirs, createMs} = await configure(ours, config);
  const file = path.join(scratch, 'texts.json');
  writeFileSync(file, JSON.stringify(texts));
  await ours.ask({texts: file});
  const [mine, batch] = [[], []];
  let tokens = 0;
  for (let round = 0; round < 5; ++round) {
    const answer = await ours.ask({time: true});
    mine.push(answer.seconds);
    tokens = answer.tokens;
    batch.push(await cpuSeconds(() => theirs.encodeBatch(texts)));
  }
  const single = await cpuSeconds(async () => {
    for (const text of texts) await theirs.encode(text);
  });
  const line = (who, s) => console.log(`  ${who.padEnd(22)} ${(tokens / s / 1e6).toFixed(2).padStart(7)} M tokens/s ${
      (texts.length / s / 1e3).toFixed(1).padStart(8)} k texts/s`);
  console.log(`speed ${config.name}: ${texts.length} texts, ${tokens} tokens, one thread; created in ${createMs.toFixed(2)} ms`);
  line('ours', median(mine));
  line('library, encodeBatch', median(batch));
  line('library, encode', single);
  console.log(`  ratio ${(Math.min(median(batch), single) / median(mine)).toFixed(1)}`);
}

// ---- What to run ----

const ADDED = [
  {content: '<e1>', special: true}, {content: '</e1>', special: true},
  {content: ' <l>', lstrip: true}, {content: '<r>', rstrip: true, special: true},
  {content: '<lr>', lstrip: true, rstrip: true}, {content: 'word', single_word: true},
  {content: '\u00c9t\u00e9', normalized: true}, {content: 'New York', normalized: true, single_word: true},
  {content: '<e', normalized: true}, {content: '<e1', special: true, rstrip: true, single_word: true},
];

function configurations() {
  const uncased = {name: 'uncased', vocab: options.uncased};
  const cased = {name: 'cased', vocab: options.cased ?? options.uncased, lower_case: false};
  const more = [
    {...cased, name: 'cased, accents stripped', strip_accents: true},
    {...uncased, name: 'uncased, accents kept', strip_accents: false},
    {...cased, name: 'cased, CJK together', chinese_chars: false},
    {...uncased, name: 'uncased, not cleaned', clean_text: false},
    {...uncased, name: 'no basic tokenizer', basic_tokenize: false},
    {...uncased, name: 'uncased, added tokens', added_tokens: ADDED},
    {...cased, name: 'cased, accents stripped, added tokens', strip_accents: true, added_tokens: ADDED},
  ];
  return {plain: [uncased, cased], more};
}

async function main(ours) {
  const {plain, more} = configurations();
  let texts = [...new Set(inputs.flatMap((i) => [...filesUnder(i)]).flatMap(textsOf))];
  if (texts.length > 0 && !options.speed) {
    for (const config of plain) await compareTexts(ours, config, texts);
  }
  if (options.speed) texts = texts.slice(0, 20000);
  const fuzz = Number(options.fuzz);
  for (const [i, config] of [...plain, ...more].entries()) {
    if (fuzz === 0) break;
    const extra = (config.added_tokens ?? []).map((token) => token.content);
    const random = [...randomTexts(fuzz, Number(options.seed) + 1000 * i, extra)];
    const pairs = random.slice(0, fuzz >> 3).map((text, k) => [text, random.at(-1 - k)]);
    await compareTexts(ours, config, [...random, ...pairs]);
  }
  for (let plane = 0; options['code-points'] && plane < 17; ++plane) {
    const [pieces, planeTexts] = [vocabularyOfPlane(plane), textsOfPlane(plane)];
    for (const config of [...plain, ...more.slice(0, 4)]) {
      await compareTexts(ours, {...config, pieces, name: `plane ${plane}, ${config.name}`}, planeTexts);
    }
  }
  if (options.speed) for (const config of plain) await compareSpeed(ours, config, texts);
  if (!options.speed) console.log(`${compared} texts compared, ${differences} differences`);
  if (differences > 0) process.exitCode = 4;
}

const ours = new Ours(options.ours);
try {
  await main(ours);
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
} finally {
  ours.end();
  rmSync(scratch, {recursive: true, force: true});
}
