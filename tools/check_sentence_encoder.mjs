// check_sentence_encoder.mjs --thimble PATH --packages FOLDER --model m.thimble --texts FILE --limit 1e-5
//
// Embeds every line of a file with thimble and with the publisher's own JavaScript and compares: token
// ids are equal where embeddings are. Exits 4 where one differs by more than the limit.
import { readFileSync } from 'node:fs';
import { embed, largestDifference, loadPublisher, options } from './sentence_encoder.mjs';

const kBatch = 32;
const given = options('check_sentence_encoder', ['--thimble', '--packages', '--model', '--texts', '--limit']);
const limit = Number(given['--limit']);
// The publisher's code cannot embed an empty text.
const texts = readFileSync(given['--texts'], 'utf8').split('\n').filter((line) => line !== '');
const publisher = await loadPublisher(given['--packages']);

const ours = embed('check_sentence_encoder', given['--thimble'], given['--model'], texts);
let largest = 0;
let over = 0;
for (let start = 0; start < texts.length; start += kBatch) {
  const batch = texts.slice(start, start + kBatch);
  const theirs = await publisher.embed(batch);
  for (let i = 0; i < batch.length; ++i) {
    const difference = largestDifference([theirs[i]], [ours[start + i]]);
    largest = Math.max(largest, difference);
    if (!(difference <= limit) && ++over <= 5) console.log(`differs by ${difference}: ${batch[i]}`);
  }
}
console.log(`${texts.length} texts, largest difference ${largest.toExponential(2)}, ${over} above ${limit}`);
process.exit(over === 0 ? 0 : 4);
