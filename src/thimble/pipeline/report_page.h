// The pages of report.html. Their scripts make all tables and charts from the report, which stands in the page as JSON:
// kReportTools is part of every page, then comes the script of one kind of report.
#pragma once

#include <string_view>

namespace thimble::pipeline {

inline constexpr std::string_view kReportHead = R"page(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Thimble: report</title>
)page";

inline constexpr std::string_view kReportStyle = R"page(
:root { --ink: #1d2630; --soft: #5b6875; --line: #dde3e9; --paper: #fff; --card: #f6f8fa; --blue: #0a66c2; --good: #14804a;
        --bad: #b3261e; --grey: #8a96a3; --heat: 10 102 194; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf0; --soft: #9aa7b4; --line: #303a45; --paper: #12171d; --card: #1a2129; --blue: #62aef5; --good: #4cc38a;
          --bad: #ff8a80; --grey: #7d8894; --heat: 98 174 245; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p, figcaption { color: var(--soft); margin: .25rem 0 .75rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.25rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.45rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .soft { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; }
figure { margin: 0; min-width: 0; }
.bar { background: var(--line); border-radius: 2px; height: .6rem; min-width: 10rem; margin-top: .4rem; }
.bar i { display: block; background: var(--blue); border-radius: 2px; height: 100%; }
.confusion { width: auto; }
.confusion th, .confusion td { text-align: center; padding: .4rem .8rem; border: 1px solid var(--line); }
.confusion th:first-child { text-align: right; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem; overflow-x: auto; font-size: .82rem; }
.u-legend { color: var(--ink); font-size: .85rem; } .u-legend .u-value { display: none; }
.u-legend th, .u-legend td { border: 0; padding: .1rem .3rem; } .uplot { font-family: inherit; }
)page";

inline constexpr std::string_view kReportBody = R"page(
<noscript><p>The tables are made by a script from the JSON in this file; without scripts, read report.json beside it.</p></noscript>
<main id="page"></main>
)page";

inline constexpr std::string_view kReportTools = R"page('use strict';
const report = JSON.parse(document.getElementById('report').textContent);
const page = document.getElementById('page');

// Text is set as text: labels and paths come from files.
function make(tag, content = [], attributes = {}) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...[content].flat().filter(c => c !== null).map(c => typeof c === 'number' ? String(c) : c));
  return element;
}
const number = (value, digits) => value === undefined || value === null ? '' : value.toFixed(digits);
const percent = value => value === undefined || value === null ? '' : (100 * value).toFixed(2) + ' %';
const mib = bytes => bytes === undefined ? '' : (bytes / 1048576).toFixed(2);
const seconds = s => s >= 90 ? (s / 60).toFixed(1) + ' min' : s.toFixed(1) + ' s';

// columns: [title, is it a number]; a cell is text or an element.
function table(columns, rows, attributes = {}) {
  const head = make('tr', columns.map(([title, n]) => make('th', title, n ? {class: 'n'} : {})));
  const body = rows.map(row => make('tr', row.map((cell, i) => make('td', cell, columns[i][1] ? {class: 'n'} : {}))));
  return make('div', make('table', [make('thead', head), make('tbody', body)], attributes), {class: 'scroll'});
}
function section(title, text, ...content) {
  page.append(make('section', [make('h2', title), text ? make('p', text) : null, ...content]));
}

const card = (value, what, kind = '') => make('div', [make('b', value, {class: kind}), make('span', what)], {class: 'card'});
const bar = share => make('div', make('i', [], {style: `width: ${Math.min(100, 100 * share)}%`}), {class: 'bar'});

// Of no other model that is both better and lower in `cost`.
const onFront = (model, all, cost) => !all.some(o => o !== model && o.score >= model.score && o[cost] <= model[cost] &&
                                                     (o.score > model.score || o[cost] < model[cost]));

// Scores by milliseconds and by MiB, with `list` for those who would rather read. A model: {score, p50_ms, sizeKey, kind, name};
// kinds: [name of a kind, colour, size of its points]; name is written beside the point where it is there.
function scatters(title, text, models, sizeKey, kinds, metric, list) {
  if (typeof uPlot === 'undefined') {
    section(title, text + ' Charts are left out: the library uPlot was not there (--charts).', list);
    return;
  }
  const charts = make('div', [], {class: 'charts'});
  section(title, text, charts, make('details', [make('summary', 'As a table'), list]));
  const drawAll = () => {
    // Both places first: a chart is as wide as its place is when it is drawn.
    const places = ['milliseconds', 'MiB'].map(unit => make('figure', make('figcaption', `${metric} by ${unit}`)));
    charts.replaceChildren(...places);
    scatter(places[0], models, 'p50_ms', 'milliseconds', v => v, kinds);
    scatter(places[1], models, sizeKey, 'MiB', v => v / 1048576, kinds);
  };
  drawAll();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
}

function scatter(holder, models, cost, unit, scale, kinds) {
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const sorted = [...models].sort((a, b) => a[cost] - b[cost]);
  const pick = test => sorted.map(m => test(m) ? m.score : null);
  const points = (label, name, size) => ({label, stroke: color(name), fill: color(name), paths: () => null,
    points: {show: true, size, fill: color(name), stroke: color(name)}});
  const axis = {stroke: color('--soft'), grid: {stroke: color('--line'), width: 1}, ticks: {stroke: color('--line'), width: 1}};
  const room = (low, high) => { const r = Math.max((high - low) * 0.1, Math.abs(high) * 0.01); return [low - r, high + r]; };
  // The canvas has more pixels than the page where the screen has. A name stands where it hides no other: beside its point, else
  // farther above or below.
  const names = u => {
    const pixel = devicePixelRatio, at = m => [u.valToPos(scale(m[cost]), 'x', true), u.valToPos(m.score, 'y', true)];
    const taken = sorted.map(at).map(([x, y]) => [x - 5 * pixel, y - 5 * pixel, x + 5 * pixel, y + 5 * pixel]);
    const free = box => !taken.some(o => box[0] < o[2] && o[0] < box[2] && box[1] < o[3] && o[1] < box[3]);
    u.ctx.font = `${12 * pixel}px system-ui, sans-serif`;
    u.ctx.fillStyle = color('--ink');
    u.ctx.textAlign = 'left';
    for (const m of sorted.filter(m => m.name)) {
      const [x, y] = at(m), width = u.ctx.measureText(m.name).width;
      const places = [0, -16, 16, -32, 32, -48, 48].flatMap(down => [x + 9 * pixel, x - 9 * pixel - width].map(left =>
        [left, y + (down - 8) * pixel, left + width, y + (down + 8) * pixel]));
      const inside = box => box[0] >= u.bbox.left && box[2] <= u.bbox.left + u.bbox.width;
      const place = places.find(box => inside(box) && free(box)) || places[0];
      taken.push(place);
      u.ctx.fillText(m.name, place[0], place[3] - 4 * pixel);
    }
  };
  new uPlot({
    width: holder.clientWidth || 480, height: 300,
    scales: {x: {time: false, range: (u, low, high) => [0, high * 1.08]}, y: {range: (u, low, high) => room(low, high)}},
    axes: [{...axis, label: unit, labelSize: 22}, {...axis, size: 62}],
    cursor: {drag: {x: false, y: false}}, legend: {live: false}, hooks: {draw: [names]},
    series: [{}, {label: 'front', stroke: color('--grey'), width: 1.5, dash: [5, 4], spanGaps: true, points: {show: false}},
      ...kinds.map(kind => points(...kind))],
  }, [sorted.map(m => scale(m[cost])), pick(m => onFront(m, models, cost)), ...kinds.map(([kind]) => pick(m => m.kind === kind))], holder);
}

// What `quantize` tried: bars of size and of time, the original's is full.
function typesTable(r) {
  const whole = r.types[0];
  return table([['weights'], [r.metric || 'score', 1], ['MiB', 1], ['size'], ['ms', 1], ['time'], ['speed', 1]],
    r.types.map(t => [t.type, number(t.score, 4), mib(t.weight_bytes), bar(t.weight_bytes / whole.weight_bytes),
      number(t.p50_ms, 3), bar(t.p50_ms / whole.p50_ms), number(t.speedup, 2) + ' ×']));
}

function sensitivitySection(title, groups) {
  section(title, 'What quantizing costs and brings, weight by weight: divergence of the outputs on calibration texts, ' +
    'measured speedup of the model.', table([['weights'], ['divergence', 1], ['speed', 1], ['stored as']],
    [...groups].sort((a, b) => b.loss - a.loss)
      .map(g => [g.nodes.join(', '), g.loss.toExponential(2), number(g.speedup, 3) + ' ×', g.type])));
}
)page";

// Of `thimble quantize`.
inline constexpr std::string_view kTypesReport = R"page(
const before = report.types[0], spots = report.sweet_spots || {};
const within = t => before.score - t.score <= report.max_drop;
page.append(make('h1', 'Types of weights'));
page.append(make('p', `${report.model}, --scheme ${report.scheme}: ${report.seq} tokens × ${report.batch} on ${report.threads} thread(s), ${report.machine}`));
const spot = (name, what) => {
  const t = report.types.find(t => t.type === name);
  return t ? card(name, `${what}: ${number(t.speedup, 2)} × as fast, ${number(before.weight_bytes / t.weight_bytes, 1)} × smaller, ` +
    `${report.metric} ${number(t.score, 4)}`) : null;
};
page.append(make('div', [card(number(before.score, 4), `${report.metric} as it was; ${report.max_drop} may be lost`),
  spot(spots.speed, 'fastest within the limit'), spot(spots.size, 'smallest within the limit')], {class: 'cards'}));
const kind = t => t.type === spots.speed || t.type === spots.size ? 'sweet spot' : within(t) ? 'within the limit' : 'loses too much';
scatters('Score, time and size', `Each type: ${report.metric} on the validation set, bytes of the weights, median time, all measured ` +
  'in turns. On the front is what no other type beats in both.', report.types.map(t => ({...t, name: t.type, kind: kind(t)})), 'weight_bytes',
  [['loses too much', '--grey', 8], ['within the limit', '--blue', 9], ['sweet spot', '--good', 13]], report.metric, typesTable(report));
if (report.groups) sensitivitySection('Sensitivity', report.groups);
)page";

// Of `thimble compress`.
inline constexpr std::string_view kCompressionReport = R"page(
const chosen = report.passes[report.chosen];
const result = chosen.result, reference = chosen.reference;

function headline() {
  page.append(make('h1', 'Compression report'));
  page.append(make('p', `${report.recipe}, Thimble ${report.version}, ${report.machine}`));
  page.append(make('div', [
    card(report.limits_met ? 'met' : 'missed', 'limits of the recipe', report.limits_met ? 'good' : 'bad'),
    card(number(result.smaller, 1) + ' ×', `smaller: ${mib(reference.file_bytes)} to ${mib(result.file_bytes)} MiB`),
    card(number(result.faster, 1) + ' ×', `faster: ${number(reference.p50_ms, 2)} to ${number(result.p50_ms, 2)} ms`),
    card(percent(Math.abs(result.loss)), `relative ${result.loss < 0 ? 'gain' : 'loss'} of ${report.metric}, validation set`),
    card(number(result.score, 4), `${report.metric}, was ${number(reference.score, 4)}`),
    report.test ? card(number(report.test.metrics[report.metric], 4), `${report.metric}, test set`) : null,
  ], {class: 'cards'}));
  for (const line of chosen.missed) page.append(make('p', 'The result ' + line + '.', {class: 'bad'}));
}

// Every model that was judged, in all passes.
function models() {
  const seen = new Map();
  for (const pass of report.passes) {
    for (const step of pass.steps) {
      for (const attempt of step.attempts) {
        for (const model of attempt.models || []) {
          if (model.score === undefined || seen.has(model.sha256)) continue;
          seen.set(model.sha256, {...model, step: step.name});
        }
      }
    }
  }
  return [...seen.values()];
}

function pareto() {
  const all = models();
  const rows = all.map(m => [m.step, mib(m.file_bytes), number(m.p50_ms, 3), number(m.score, 4),
    onFront(m, all, 'p50_ms') ? 'yes' : '', onFront(m, all, 'file_bytes') ? 'yes' : '',
    m.sha256 === result.sha256 ? make('b', 'the result') : m.kept ? 'kept' : make('span', m.reason || 'not needed', {class: 'soft'})]);
  const list = table([['step'], ['MiB', 1], ['ms', 1], [report.metric, 1], ['front by ms'], ['front by size'], ['']], rows);
  const m = report.measure;
  const text = `Each model that was judged: ${report.metric} on the validation set, size of the file, median time of ${m.batch} × ${m.seq} ` +
    `tokens on ${m.threads} thread(s), each measured on its own. On the front is what no other model beats in both.`;
  const kind = m => m.sha256 === result.sha256 ? 'the result' : m.kept ? 'kept' : 'rolled back';
  scatters('Accuracy, time and size', text, all.map(m => ({...m, name: '', kind: kind(m)})), 'file_bytes',
    [['rolled back', '--grey', 8], ['kept', '--blue', 9], ['the result', '--good', 13]], report.metric, list);
}

function stepRows(pass) {
  return pass.steps.map(step => {
    const spent = step.attempts.reduce((sum, a) => sum + a.seconds, 0);
    const model = step.model || {}, file = step.file || {};
    const how = step.decision === 'rolled back' ? make('span', 'rolled back: ' + step.reason, {class: 'bad'})
      : step.decision === 'kept' ? make('span', 'kept', {class: 'good'}) : step.decision;
    return [step.name, 'thimble ' + step.verb, mib(model.file_bytes || file.file_bytes), number(model.p50_ms, 3), number(model.score, 4),
      percent(step.loss), percent(step.total_loss), seconds(spent), how];
  });
}

function steps() {
  const columns = [['step'], ['verb'], ['MiB', 1], ['ms', 1], [report.metric, 1], ['loss', 1], ['in all', 1], ['took', 1], ['']];
  section('Steps', 'Loss is relative: of the step against the model before it, and in all against the first that was judged. ' +
    'A step that loses more than it may is rolled back.', table(columns, stepRows(chosen)));
  report.passes.forEach((pass, i) => {
    if (i === report.chosen) return;
    page.append(make('details', [make('summary', `With ${report.varied} = ${pass[report.varied]}: ${pass.missed.join('; ') || 'limits met'}`),
      table(columns, stepRows(pass))]));
  });
}

function layers() {
  const after = new Map(report.layers.result.map(n => [n.name, n]));
  const rows = report.layers.reference.filter(n => n.params > 0).map(n => {
    const left = after.get(n.name), share = left ? left.params / n.params : 0;
    return [n.name, n.op || '', n.params.toLocaleString('en'), left ? left.params.toLocaleString('en') : make('span', 'gone', {class: 'soft'}), bar(share)];
  });
  section('What is left of each layer', 'Parameters of the first judged model and of the result, by the name of the layer. A student of ' +
    'another depth has fewer names; a factorized layer has two.',
    make('details', [make('summary', `${rows.length} layers`), table([['layer'], ['kind'], ['before', 1], ['after', 1], ['share']], rows)], {open: ''}));
}

function types() {
  for (const step of chosen.steps) {
    for (const attempt of step.attempts) {
      const r = attempt.result || {};
      if (!Array.isArray(r.types) || !r.types.length) continue;
      section(`Types of weights: ${step.name}`, 'Each type that was tried, scored on the validation set and timed in turns with the original.',
        typesTable(r));
    }
  }
}

function sensitivity() {
  for (const step of chosen.steps) {
    for (const attempt of step.attempts) {
      if (Array.isArray((attempt.result || {}).groups)) sensitivitySection(`Sensitivity: ${step.name}`, attempt.result.groups);
    }
  }
}

function confusion() {
  const of = report.test || report.valid, matrix = of && of.confusion;
  if (!matrix || !matrix.gold_by_predicted.length) return;
  const labels = matrix.labels, counts = matrix.gold_by_predicted;
  const where = `On the ${report.test ? 'test' : 'validation'} set: rows are the true labels, columns the predicted ones.`;
  if (labels.length <= 12) {
    const head = make('tr', [make('th', ''), ...labels.map(l => make('th', l))]);
    const rows = counts.map((row, i) => {
      const all = row.reduce((a, b) => a + b, 0) || 1;
      return make('tr', [make('th', labels[i]), ...row.map(c => make('td', c, {style: `background: rgb(var(--heat) / ${(0.55 * c / all).toFixed(3)})`}))]);
    });
    section('Confusion matrix', where, make('div', make('table', [head, ...rows], {class: 'confusion'}), {class: 'scroll'}));
    return;
  }
  const pairs = counts.flatMap((row, i) => row.map((c, j) => [c, labels[i], labels[j] || '?', i !== j])).filter(p => p[3] && p[0] > 0);
  pairs.sort((a, b) => b[0] - a[0]);
  section('Confusion matrix', `${labels.length} labels: the pairs that are confused most. The whole matrix is in report.json.`,
    table([['true label'], ['predicted'], ['examples', 1]], pairs.slice(0, 20).map(p => [p[1], p[2], p[0]])));
}

function energy() {
  const s = report.spent;
  const how = s.joules_measured ? 'Energy is the count of the machine (RAPL), whoever used it.'
    : `Energy is an estimate: ${s.watts_per_core} W for each busy core.`;
  section('Energy', `${how} CO2 takes ${s.grid_co2_g_per_kwh} g per kWh, so it is an estimate too. Each call counts once, whenever it was made.`,
    table([['time of all calls', 1], ['processor time', 1], [s.joules_measured ? 'energy' : 'energy, estimated', 1], ['CO2, estimated', 1], ['this run', 1]],
      [[seconds(s.seconds), seconds(s.cpu_seconds), (s.joules / 3600).toFixed(2) + ' Wh', s.co2_grams.toFixed(2) + ' g', seconds(s.seconds_this_run)]]));
}

function provenance() {
  const quote = word => /^[\w@%+=:,.\/-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\\''") + "'";
  const commands = chosen.steps.flatMap(s => s.attempts).map(a => 'thimble ' + a.command.map(quote).join(' '));
  const files = Object.entries(report.files).map(([name, f]) => [name, f.path, f.sha256.slice(0, 16)]);
  files.push(['recipe', report.recipe, report.recipe_sha256.slice(0, 16)], ['result', result.path, result.sha256.slice(0, 16)]);
  section('Provenance', 'Contents as the first 16 digits of their SHA-256, and the calls that made the result.',
    table([['name'], ['path'], ['SHA-256']], files), make('pre', commands.join('\n')));
}

headline();
pareto();
steps();
types();
sensitivity();
layers();
confusion();
energy();
provenance();
)page";

}  // namespace thimble::pipeline
