// node tokenize.mjs NPM_FOLDER TOKENIZER_JSON < texts.json: the ids that Hugging Face's library gives each text, as JSON.
import {createRequire} from 'node:module';
import path from 'node:path';
import {readFileSync} from 'node:fs';

const [packages, file] = process.argv.slice(2);
const {Tokenizer} = createRequire(path.resolve(packages, 'index.js'))('tokenizers');
const tokenizer = Tokenizer.fromFile(file);
const ids = [];
for (const text of JSON.parse(readFileSync(0, 'utf8'))) ids.push((await tokenizer.encode(text)).getIds());
console.log(JSON.stringify(ids));
