import { groupBy } from './group.js';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PROTECTIONS, UNPROTECTED, WORKLOADS } from './catalogue.js';
import type { Chart } from './chart-parts.js';
import { anatomyCharts } from './anatomy-charts.js';
import { anatomyTables, summarizeAnatomy, type Anatomy } from './anatomy-figures.js';
import { anatomyChart, normalizedChart, pauseChart } from './charts.js';
import { beforeAfterTables } from './before-after.js';
import { drawPng, drawSvg } from './draw.js';
import { failoverChart } from './failover-chart.js';
import { failoverTable, summarizeFailovers, type FailoverRow } from './failover-figures.js';
import { flameChart } from './flame-chart.js';
import { parseFolded } from './folded-stacks.js';
import type { Ledger } from './ledger.js';
import { markdownTables, protectionsOf, tablesOf, type Table, type Titles } from './markdown.js';
import { otherwise } from './settings.js';
import { summarize, type Row } from './summary.js';
import { wireCharts } from './wire-charts.js';

/** What a run has found, and the files that say so. */
export interface BenchReport {
  readonly rows: readonly Row[];
  readonly failovers: readonly FailoverRow[];
  readonly anatomy: Anatomy;
  readonly table: string;
  readonly files: readonly string[];
}

const TITLES: Titles = {
  protection: (name) => PROTECTIONS[name] ?? name,
  workload: (name) => WORKLOADS.find((one) => one.name === name) ?? { title: name, unit: '' },
};

/**
 * Writes results.json, results.md, report.html and each chart as SVG and PNG into the folder. `before`: an older run, that this
 * one is held against.
 */
export async function writeReport(ledger: Ledger, folder: string, before?: Ledger): Promise<BenchReport> {
  await mkdir(folder, { recursive: true });
  const rows = summarize(inCatalogueOrder(ledger), UNPROTECTED);
  const failovers = summarizeFailovers(ledger.failovers);
  const anatomy = summarizeAnatomy(ledger.anatomy);
  const older = before === undefined ? [] : summarize(inCatalogueOrder(before), UNPROTECTED);
  const tables = [
    ...beforeAfterTables(older, rows, TITLES),
    ...tablesOf(rows, TITLES),
    ...(failovers.length > 0 ? [failoverTable(failovers)] : []),
    ...anatomyTables(anatomy),
  ];
  const table = markdownTables(tables);
  const files: string[] = [];
  const write = async (name: string, content: string | Buffer): Promise<void> => {
    await writeFile(join(folder, name), content);
    files.push(join(folder, name));
  };
  const pictures: string[] = [];
  const charts = [...chartsOf(rows), failoverChart(ledger.failovers), ...anatomyCharts(anatomy.rows)];
  for (const chart of [...charts, ...(await flameCharts(ledger, folder))]) {
    if (chart === undefined) continue;
    const svg = await drawSvg(chart);
    pictures.push(svg);
    await write(`${chart.name}.svg`, svg);
    await write(`${chart.name}.png`, drawPng(svg));
  }
  await write('results.json', `${JSON.stringify({ settings: ledger.settings, rows, failovers, anatomy }, null, 2)}\n`);
  await write('results.md', `${settingsText(ledger, before)}\n\n${table}`);
  await write('report.html', page(settingsText(ledger, before), rows, tables, pictures));
  return { rows, failovers, anatomy, table, files };
}

function inCatalogueOrder(ledger: Ledger): Ledger['samples'] {
  const protections = Object.keys(PROTECTIONS);
  const workloads = WORKLOADS.map(({ name }) => name);
  return ledger.samples.toSorted(
    (a, b) =>
      workloads.indexOf(a.workload) - workloads.indexOf(b.workload) ||
      protections.indexOf(a.protection) - protections.indexOf(b.protection),
  );
}

/** Of every measurement at which somebody looked where the processor was. */
async function flameCharts(ledger: Ledger, folder: string): Promise<(Chart | undefined)[]> {
  const looks = ledger.samples.flatMap(({ profiles = [], ...sample }) =>
    profiles.map((one) => ({ ...sample, ...one })),
  );
  return Promise.all(
    looks.map(async ({ file, process, protection, workload, link }) => {
      const what = `${process}: ${TITLES.workload(workload).title}, ${TITLES.protection(protection)}, link ${link}`;
      const stacks = parseFolded(await readFile(join(folder, file), 'utf8'));
      return flameChart(file.replace(/\.folded$/, ''), `Where the processor is in ${what}`, stacks);
    }),
  );
}

function chartsOf(rows: readonly Row[]): Chart[] {
  return [...groupBy(rows, ({ link }) => link)].flatMap(([link, own]) => {
    const order = protectionsOf(own);
    const pause = pauseChart(link, own, TITLES, order);
    const normalized = normalizedChart(link, own, TITLES, order);
    const anatomy = anatomyChart(link, own, TITLES);
    return [normalized, pause, anatomy, ...wireCharts(link, own, TITLES, order)].filter((chart) => chart !== undefined);
  });
}

function settingsText(ledger: Ledger, before: Ledger | undefined): string {
  const own = Object.entries(ledger.settings).map(([name, value]) => `${name}: ${value}`);
  if (before === undefined) return own.join('; ');
  const differing = otherwise(before.settings, ledger.settings);
  return `${own.join('; ')}. Before: ${differing === '' ? 'the same' : differing}; not measured side by side`;
}

/** One file that needs nothing else: pictures and tables are in it. */
function page(settings: string, rows: readonly Row[], tables: readonly Table[], pictures: readonly string[]): string {
  const failures = rows.flatMap(({ entries }) => entries).reduce((sum, entry) => sum + entry.failures, 0);
  const body = [
    '<h1>kemari bench</h1>',
    `<p>${escape(settings)}</p>`,
    `<p>Medians; in brackets the median of paired ratios to "${escape(TITLES.protection(UNPROTECTED))}". More is better.` +
      `${failures > 0 ? ` Measurements that failed: ${failures}.` : ''}</p>`,
    ...pictures.map((svg) => `<figure>${svg}</figure>`),
    ...tables.flatMap(htmlTable),
  ];
  const style =
    'body{font:14px sans-serif;margin:2em;max-width:80em}td,th{padding:2px 10px;text-align:right}' +
    'td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#eee}figure{margin:1em 0}';
  return `<!doctype html>\n<meta charset="utf-8">\n<title>kemari bench</title>\n<style>${style}</style>\n${body.join('\n')}\n`;
}

function htmlTable({ title, lines }: Table): string[] {
  const lineOf = (cells: readonly string[]): string =>
    `<tr>${cells.map((cell) => `<td>${escape(cell)}</td>`).join('')}</tr>`;
  return [`<h2>${escape(title)}</h2>`, '<table>', ...lines.map(lineOf), '</table>'];
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (found) => `&#${found.charCodeAt(0)};`);
}
