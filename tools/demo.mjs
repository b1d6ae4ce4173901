// The demo after its files are there: import, embed, show the nearest pairs, size and speed.
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { dot, embed, fail, largestDifference, loadPublisher, modelFolder, options, thimble } from './sentence_encoder.mjs';

const kOwnSentences = [
  'How do I reset my password?',
  'I cannot get into my account any more.',
  'The parcel never arrived.',
  'My order got lost in the post.',
  'Please send the money back.',
  'I would like a refund.',
  'It is pouring with rain today.',
  'Take an umbrella, the weather is awful.',
  'The soup was cold and the waiter rude.',
  'We will not eat at that restaurant again.',
  'She plays the violin in an orchestra.',
  'He practises the piano every evening.',
  'The train leaves at a quarter past nine.',
  'When does the next bus depart?',
  'Our team won the match in the last minute.',
  'A late goal decided the game.',
  'The cat is asleep on the sofa.',
  'A kitten naps on a cushion.',
  'Shares fell sharply after the report.',
  'The stock market had a bad day.',
  'Add two eggs and stir until smooth.',
  'Mix the flour with butter and sugar.',
  'Water was found on a distant planet.',
  'The telescope sees galaxies far away.',
];
const kMostSentences = 2000;
const kPairsShown = 10;
const kTimedSentences = 120;
const kTimedBatch = 24;  // texts in one call of the publisher's embed()
const kTimedRounds = 3;

// --- Sentences

// Lines that were piped in. A pipe that stays open and silent must not hold the demo up, so the first
// byte gets a second to come.
async function pipedSentences() {
  if (process.stdin.isTTY) return [];
  const chunks = [];
  await new Promise((done) => {
    const patience = setTimeout(done, 1000);
    process.stdin.on('data', (chunk) => {
      clearTimeout(patience);
      chunks.push(chunk);
    });
    process.stdin.on('end', done);
    process.stdin.on('error', done);
  });
  process.stdin.destroy();
  return Buffer.concat(chunks)
    .toString('utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

// The sentences to show: what was piped in; a single one is shown among the demo's own.
function choose(piped) {
  const unique = [...new Set(piped)];
  if (unique.length > kMostSentences) {
    console.log(`${unique.length} sentences came in; these are the first ${kMostSentences}`);
  }
  if (unique.length === 0) return { sentences: kOwnSentences, query: false };
  if (unique.length === 1) return { sentences: [...unique, ...kOwnSentences], query: true };
  return { sentences: unique.slice(0, kMostSentences), query: false };
}

// --- What is shown

// `text` in exactly `width` columns.
function fit(text, width) {
  const characters = [...text];
  const shown = characters.length > width ? [...characters.slice(0, width - 1), '…'] : characters;
  return shown.join('') + ' '.repeat(width - shown.length);
}

function nearestPairs(embeddings, onlyFirst) {
  const pairs = [];
  for (let i = 0; i < (onlyFirst ? 1 : embeddings.length); ++i) {
    for (let j = i + 1; j < embeddings.length; ++j) {
      pairs.push({ i, j, similarity: dot(embeddings[i], embeddings[j]) });
      // Keep the list short on the way: all pairs of 2000 sentences are two million.
      if (pairs.length > 10000) keepBest(pairs);
    }
  }
  keepBest(pairs);
  return pairs;
}

function keepBest(pairs) {
  pairs.sort((a, b) => b.similarity - a.similarity);
  pairs.length = Math.min(pairs.length, kPairsShown);
}

function showPairs(sentences, pairs) {
  const width = Math.max(60, Math.min(process.stdout.columns ?? 100, 160));
  const column = Math.floor((width - 14) / 2);
  const line = '─'.repeat(column);
  console.log(`  similarity  ${fit('sentence', column - 1)} its neighbour`);
  console.log(`  ──────────  ${line.slice(1)} ${line.slice(1)}`);
  for (const { i, j, similarity } of pairs) {
    const first = fit(sentences[i], column - 1);
    console.log(`  ${similarity.toFixed(2).padStart(10)}  ${first} ${fit(sentences[j], column - 1).trimEnd()}`);
  }
}

const mib = (path) => `${(statSync(path).size / 2 ** 20).toFixed(1)} MiB`;

// --- Speed

const seconds = async (work) => {
  const start = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - start) / 1e9;
};

// The best of several rounds for each candidate, taken in turns so that a busy moment hits all alike.
async function race(candidates) {
  const best = candidates.map(() => Infinity);
  for (let round = 0; round < kTimedRounds; ++round) {
    for (let c = 0; c < candidates.length; ++c) best[c] = Math.min(best[c], await seconds(candidates[c].run));
  }
  return candidates.map(({ name }, c) => ({ name, rate: kTimedSentences / best[c] }));
}

function showSpeed(results, peer) {
  const width = Math.max(...results.map((r) => r.name.length));
  for (const { name, rate } of results) {
    const times = rate / peer.rate;
    console.log(`  ${name.padEnd(width)}  ${rate.toFixed(0).padStart(6)} sentences/s  ${times.toFixed(1).padStart(5)} x`);
  }
}

// --- The demo

const given = options('demo', ['--thimble', '--packages', '--models']);
const path = given['--thimble'];
const { sentences, query } = choose(await pipedSentences());

mkdirSync(given['--models'], { recursive: true });
const model = (weights) => join(given['--models'], `${weights}.thimble`);
for (const weights of ['f32', 'int8']) {
  thimble('demo', path, ['import', modelFolder(given['--packages']), '-o', model(weights), '--weights', weights]);
}
const ours = embed('demo', path, model('f32'), sentences);
if (ours.length !== sentences.length) fail('demo', `${sentences.length} sentences gave ${ours.length} embeddings`);

console.log(query ? '\nNearest to your sentence' : `\nNearest pairs among ${sentences.length} sentences`);
showPairs(sentences, nearestPairs(ours, query));

const timed = Array.from({ length: kTimedSentences }, (_, i) => sentences[i % sentences.length]);
const publisher = await loadPublisher(given['--packages']);
const compared = sentences.slice(0, kTimedBatch);
const theirs = await publisher.embed(compared);
const small = embed('demo', path, model('int8'), compared);
const agreement = Math.min(...small.map((e, i) => dot(e, ours[i])));

console.log('\nThe model, Universal Sentence Encoder Lite');
console.log(`  float32  ${mib(model('f32'))}, within ${largestDifference(theirs, ours).toExponential(0)} of what its publisher's JavaScript computes`);
console.log(`  int8     ${mib(model('int8'))}, cosine to float32 at least ${agreement.toFixed(4)}`);

const results = await race([
  { name: 'Thimble, float32', run: () => embed('demo', path, model('f32'), timed) },
  { name: 'Thimble, int8', run: () => embed('demo', path, model('int8'), timed) },
  {
    name: "publisher's JavaScript",
    run: async () => {
      for (let i = 0; i < timed.length; i += kTimedBatch) {
        await publisher.embed(timed.slice(i, i + kTimedBatch));
      }
    },
  },
]);
console.log('\nSpeed, one thread (ours: the whole program, start to last line; theirs: loaded and warm)');
showSpeed(results, results.at(-1));
