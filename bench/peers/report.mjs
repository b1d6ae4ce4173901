// docs/benchmarks.md: what holds for every machine, then one section per machine. A run writes the section
// of its own machine and keeps the others as they are, and of its own the notes that somebody wrote there.
import {existsSync, readFileSync, writeFileSync} from 'node:fs';

const ms = (x) => (x < 10 ? x.toFixed(2) : x.toFixed(1));
const mib = (bytes) => (bytes / 2 ** 20).toFixed(0);

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

// Ratios that the project set out for, by case; see the text below the table.
function aim({model, weights, threads, name}) {
  const int8 = weights === 'int8';
  if (name === '64 texts') return 2.5;
  if (model === 'mobilebert') return name === '16 tokens' ? 1.5 : int8 ? 1.4 : 1.15;
  return name === '128 tokens' ? (int8 ? 1.3 : 1.05) : null;
}

const caseName = ({model, weights, name, threads}) =>
    `${model}, ${weights}, ${name}${threads > 1 ? `, ${threads} threads` : ''}`;

// The page's sections by their headings, without what stands before the first.
export function readSections(page) {
  const sections = page.split(/^(?=## )/m).filter((part) => part.startsWith('## '));
  return new Map(sections.map((section) => [section.slice(3, section.indexOf('\n')), section.trim()]));
}

const notesOf = (section) => section?.match(/^### Notes$[^]*/m)?.[0].trim();

const introduction = `# Benchmarks

Written by \`./run bench\`, one section for each machine that it ran on.

Method: models of published size with the same random weights on every side (PyTorch: weights of the same
sizes), batch 1 unless said, the same token ids. All sides run in one go and take turns, some tenths of a second each;
a side's time is the median of its rounds' medians, a ratio the median of the ratios round by round. Machines are
shared: absolute times move from run to run, ratios much less. More than 1x: Thimble is
faster. The column "aim" is what the project set out to reach.

ONNX Runtime is npm's onnxruntime-node, CPU provider, all graph optimizations; PyTorch runs eagerly, in float32.
The int8 models of ONNX Runtime are its dynamic quantization (DynamicQuantizeLinear and MatMulInteger, one scale per
output channel) of the same weights, signed, as its own tools write them. Where a processor has no VNNI (the section says
which instruction set Thimble took), ONNX Runtime's product of those saturates at 16 bits and its results are wrong by what that
loses; the same weights as unsigned bytes make it multiply exactly, as Thimble always does, and have a table of their own
([int8](int8.md) says what was found). "64 texts" runs 64 sequences with the lengths of real texts (tweets, requests,
comments, reviews, meeting turns, news: 4 to 48 tokens) at once: packed in Thimble, padded to the longest elsewhere.

A part of the ratio is work that is left out rather than done faster: a classifier reads one token, so
Thimble runs what follows the last attention for that token alone, with the same result bit for bit. Counted in
multiply-adds at 128 tokens (\`bench\` against \`inspect\`), that leaves out 3.4 % for MobileBERT, 14 % for MiniLM-6 and
DistilBERT, 21 % for TinyBERT-4.

Where PyTorch's time at two threads is several times its time at one, we have not found out why.

Cold start is the time from opening the file to the first logits (128 tokens), memory the peak resident memory of the
process. ONNX Runtime's process includes Node's own memory and start of the session, not of Node.`;

// One machine's section, its heading included.
export function formatSection({results, sweeps, rounds, seconds, cpus, date, notes}) {
  const version = (side) => results.find((r) => r.sides[side])?.sides[side].version ?? 'not installed';
  const latency = results.map((r) => {
    const {thimble, onnxruntime, torch} = r.sides;
    const goal = aim(r);
    return [
      caseName(r),
      ms(thimble.p50_ms), ms(onnxruntime.p50_ms), `**${onnxruntime.ratio.toFixed(2)}x**`,
      goal === null ? '' : `${goal}x${onnxruntime.ratio < goal ? ' (missed)' : ''}`,
      torch ? ms(torch.p50_ms) : '', torch ? `${torch.ratio.toFixed(2)}x` : '',
    ];
  });
  const cold = results.filter((r) => r.name === '128 tokens' && r.threads === 1).map((r) => {
    const {thimble, onnxruntime} = r.sides;
    const ours = thimble.load_ms + thimble.first_ms, theirs = onnxruntime.load_ms + onnxruntime.first_ms;
    return [`${r.model}, ${r.weights}`, ms(ours), ms(theirs), `${(theirs / ours).toFixed(1)}x`,
            mib(thimble.peak_rss_bytes), mib(onnxruntime.peak_rss_bytes)];
  });
  const unsigned = results.filter((r) => r.sides.unsigned).map((r) => {
    const {thimble, unsigned} = r.sides;
    return [caseName(r), ms(thimble.p50_ms), ms(unsigned.p50_ms), `**${unsigned.ratio.toFixed(2)}x**`];
  });
  const lengths = sweeps.f32.map((row, i) => {
    const int8 = sweeps.int8[i];
    return [row.seq, ms(row.p50_ms), ms(int8.p50_ms), `${(row.p50_ms / int8.p50_ms).toFixed(2)}x`];
  });
  return `## ${cpus[0].model.trim()}, ${results[0].isa}

Measured on ${date}, ${cpus.length} logical cores; instruction set of Thimble: ${results[0].isa}. ONNX Runtime
${version('onnxruntime')}, PyTorch ${version('torch')}; ${rounds} rounds of ${seconds} s each.

### Latency

${table(['case', 'Thimble ms', 'ONNX Runtime ms', 'ratio', 'aim', 'PyTorch ms', 'ratio'], latency)}

### int8 weights as unsigned bytes

${table(['case', 'Thimble ms', 'ONNX Runtime ms', 'ratio'], unsigned)}

### Cold start and memory

${table(['model', 'Thimble ms', 'ONNX Runtime ms', 'ratio', 'Thimble MiB', 'ONNX Runtime MiB'], cold)}

### MobileBERT over sequence lengths, one thread

${table(['tokens', 'float32 ms', 'int8 ms', 'int8 is faster by'], lengths)}${notes ? `\n\n${notes}` : ''}`;
}

// The page with this section in it: in place of the one with the same heading, or after the others.
export function updatePage(page, measured) {
  const sections = readSections(page);
  const section = formatSection(measured);
  const [heading] = readSections(section).keys();
  sections.set(heading, formatSection({...measured, notes: notesOf(sections.get(heading))}));
  return [introduction, ...sections.values()].join('\n\n') + '\n';
}

export function writeReport(file, measured) {
  const page = existsSync(file) ? readFileSync(file, 'utf8') : '';
  writeFileSync(file, updatePage(page, {...measured, date: new Date().toISOString().slice(0, 10)}));
}
