// ONNX Runtime as one side of a comparison. One line of JSON in, one out:
//   {"model", "ids": [[...]], "threads"}  opens the model (padding the sequences), runs once:
//                                         {"load_ms", "first_ms", "peak_rss_bytes"}
//   {"seconds"}                           runs for that long: {"p50_ms", "min_ms", "runs"}
import {createInterface} from 'node:readline';
import {createRequire} from 'node:module';

const require = createRequire(process.argv[2] + '/');  // the folder that holds node_modules
const ort = require('onnxruntime-node');

const now = () => Number(process.hrtime.bigint()) / 1e6;
let session, feeds;

async function open({model, ids, threads}) {
  const start = now();
  session = await ort.InferenceSession.create(
      model, {intraOpNumThreads: threads, interOpNumThreads: 1, graphOptimizationLevel: 'all'});
  const loaded = now();
  const longest = Math.max(...ids.map((sequence) => sequence.length));
  const column = (at) => new ort.Tensor(
      'int64',
      BigInt64Array.from(ids.flatMap((s) => Array.from({length: longest}, (_, i) => BigInt(at(s, i))))),
      [ids.length, longest]);
  const all = {
    input_ids: column((s, i) => s[i] ?? 0),
    attention_mask: column((s, i) => (i < s.length ? 1 : 0)),
    token_type_ids: column(() => 0),
  };
  feeds = Object.fromEntries(session.inputNames.map((name) => [name, all[name]]));
  const first = now();
  await session.run(feeds, ['logits']);
  return {
    load_ms: loaded - start,
    first_ms: now() - first,
    peak_rss_bytes: process.resourceUsage().maxRSS * 1024,
    version: require('onnxruntime-node/package.json').version,
  };
}

async function measure({seconds}) {
  const times = [];
  const end = now() + 1000 * seconds;
  await session.run(feeds, ['logits']);
  do {
    const start = now();
    await session.run(feeds, ['logits']);
    times.push(now() - start);
  } while (now() < end || times.length < 3);
  times.sort((a, b) => a - b);
  return {p50_ms: times[Math.ceil(times.length / 2) - 1], min_ms: times[0], runs: times.length,
          peak_rss_bytes: process.resourceUsage().maxRSS * 1024};
}

for await (const line of createInterface({input: process.stdin})) {
  const request = JSON.parse(line);
  console.log(JSON.stringify(request.model ? await open(request) : await measure(request)));
}
