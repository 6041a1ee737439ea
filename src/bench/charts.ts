import type { TopLevelSpec } from 'vega-lite';
import { PROTECTIONS } from './catalogue.js';
import type { EpochPart } from './ledger.js';
import type { Titles } from './markdown.js';
import { significant } from './significant.js';
import type { Entry, Row } from './summary.js';

/** A picture of the report: a Vega-Lite specification with its data. */
export interface Chart {
  /** Of its files. */
  readonly name: string;
  readonly title: string;
  readonly spec: TopLevelSpec;
}

const FONT = 'DejaVu Sans';
const BAR_STEP = 14;
const WIDTH = 560;
/** Of the protections, in the catalogue's order: the same in every picture. */
const COLOURS = [
  ...['#9a9a9a', '#5f5f5f', '#e15759', '#a31f34', '#a6cee3', '#76b7d8', '#4e79a7', '#2b4c7e', '#f28e2b', '#b6992d'],
] as const;
const LEGEND_COLUMNS = 3;
const LABEL_FONT_SIZE = 9;
/** Beyond the longest bar: its label. */
const ROOM_FOR_LABEL = 1.12;
const US_PER_MS = 1000;

/** Each workload's rate as a share of the unprotected guest's, one bar a protection: the figure that Kemari's authors showed. */
export function normalizedChart(link: string, rows: readonly Row[], titles: Titles, order: readonly string[]): Chart {
  const values = valuesOf(
    rows,
    titles,
    ({ ratio }) => ratio && { ...ratio, label: ratio.ratio.toFixed(ratio.ratio < 0.01 ? 4 : 2) },
  );
  const domainMax = Math.max(1, ...values.map(({ high }) => high)) * ROOM_FOR_LABEL;
  const title = `Rate against the unprotected guest, link ${link}`;
  const place = placeOf(titles, order);
  const layer = [
    {
      mark: { type: 'bar' },
      encoding: {
        x: { field: 'ratio', type: 'quantitative', title: null, scale: { domainMin: 0, domainMax } },
        color: place.color,
        y: place.y,
      },
    },
    {
      mark: { type: 'rule', color: '#333' },
      encoding: { x: { field: 'low', type: 'quantitative' }, x2: { field: 'high' }, y: place.y },
    },
    { mark: { type: 'rule', color: '#999', strokeDash: [3, 3] }, encoding: { x: { datum: 1 } } },
    label('high', place.y),
  ] as const;
  const spec = facets(rows, titles, { values, title, subtitle: '1: as fast; line: 95 % interval', layer: [...layer] });
  return { name: `normalized-${link}`, title, spec };
}

/** How long an epoch stops the guest under each workload, median to 99th percentile. Undefined where no epoch was counted. */
export function pauseChart(
  link: string,
  rows: readonly Row[],
  titles: Titles,
  order: readonly string[],
): Chart | undefined {
  const values = valuesOf(rows, titles, ({ epochs }) => {
    if (epochs === undefined) return undefined;
    const pause = epochs.pauseP50Us / US_PER_MS;
    return { pause, worst: epochs.pauseP99Us / US_PER_MS, label: `${significant(pause)} ms` };
  });
  if (values.length === 0) return undefined;
  const paused = rows.filter(({ entries }) => entries.some(({ epochs }) => epochs !== undefined));
  const title = `Pause of the guest at each checkpoint, link ${link}`;
  const place = placeOf(
    titles,
    order.filter((name) => paused.some(({ entries }) => entries.some((one) => one.protection === name && one.epochs))),
  );
  const worst = Math.max(...values.map((value) => value.worst)) * 3;
  const scale = {
    type: 'log',
    domainMin: Math.min(...values.map(({ pause }) => pause)) / 2,
    domainMax: worst,
  } as const;
  const layer = [
    {
      mark: { type: 'rule', strokeWidth: 2, opacity: 0.5 },
      encoding: {
        x: { field: 'pause', type: 'quantitative', title: 'milliseconds', scale, axis: { tickCount: 6 } },
        x2: { field: 'worst' },
        y: place.y,
        color: place.color,
      },
    },
    {
      mark: { type: 'point', filled: true, size: 60, opacity: 1 },
      encoding: { x: { field: 'pause', type: 'quantitative', scale }, y: place.y, color: place.color },
    },
    label('worst', place.y),
  ] as const;
  const subtitle = 'dot: median; line: to the 99th percentile; logarithmic';
  return { name: `pause-${link}`, title, spec: facets(paused, titles, { values, title, subtitle, layer: [...layer] }) };
}

/** For people, in the order of time; colours go from the capture to the link. */
const PARTS: Readonly<Record<EpochPart, { readonly title: string; readonly colour: string }>> = {
  trigger: { title: 'trigger', colour: '#bab0ab' },
  stop: { title: 'stop', colour: '#e15759' },
  scan: { title: 'scan', colour: '#f28e2b' },
  copy: { title: 'copy', colour: '#edc948' },
  state: { title: 'device state', colour: '#b07aa1' },
  resume: { title: 'resume', colour: '#59a14f' },
  link: { title: 'encode, send, apply, ack', colour: '#4e79a7' },
};

/** Where the time of an epoch goes, under each workload. Undefined where nobody says. */
export function anatomyChart(link: string, rows: readonly Row[], titles: Titles): Chart | undefined {
  const names = Object.keys(PARTS) as EpochPart[];
  const values = rows.flatMap(({ workload, entries }) =>
    entries.flatMap(({ protection, epochs }) =>
      names.flatMap((part, index) => {
        const us = epochs?.parts?.[part];
        const where = { workload: titles.workload(workload).title, protection: titles.protection(protection) };
        return us === undefined ? [] : [{ ...where, part: PARTS[part].title, index, ms: us / US_PER_MS }];
      }),
    ),
  );
  if (values.length === 0) return undefined;
  const told = rows.filter(({ entries }) => entries.some(({ epochs }) => epochs?.parts !== undefined));
  const title = `Where the time of an epoch goes, link ${link}`;
  const scale = { domain: names.map((part) => PARTS[part].title), range: names.map((part) => PARTS[part].colour) };
  const layer = [
    {
      mark: { type: 'bar' },
      encoding: {
        x: { field: 'ms', type: 'quantitative', title: 'milliseconds', stack: 'zero' },
        y: { field: 'protection', type: 'nominal', title: null, sort: null },
        color: { field: 'part', type: 'nominal', title: null, scale, legend: { orient: 'top', columns: 4 } },
        order: { field: 'index', type: 'quantitative' },
      },
    },
  ];
  const subtitle = 'medians; but for --strict the guest runs again at the resume';
  return { name: `anatomy-${link}`, title, spec: facets(told, titles, { values, title, subtitle, layer }) };
}

type Value<Own> = Own & { readonly workload: string; readonly protection: string };

function valuesOf<Own extends object>(
  rows: readonly Row[],
  titles: Titles,
  ownOf: (entry: Entry) => Own | undefined,
): Value<Own>[] {
  return rows.flatMap(({ workload, entries }) =>
    entries.flatMap((entry) => {
      const own = ownOf(entry);
      const names = { workload: titles.workload(workload).title, protection: titles.protection(entry.protection) };
      return own === undefined ? [] : [{ ...own, ...names }];
    }),
  );
}

/** Where a protection is in a row, and its colour. */
function placeOf(titles: Titles, order: readonly string[]) {
  const protections = order.map((name) => titles.protection(name));
  const place = { field: 'protection', type: 'nominal', title: null } as const;
  const range = order.map((name) => COLOURS[Object.keys(PROTECTIONS).indexOf(name)] ?? 'black');
  return {
    y: { ...place, axis: null, scale: { domain: protections } },
    color: { ...place, scale: { domain: protections, range }, legend: { orient: 'top', columns: LEGEND_COLUMNS } },
  } as const;
}

/** At the end of a bar. */
function label(field: string, y: ReturnType<typeof placeOf>['y']) {
  return {
    mark: { type: 'text', align: 'left', dx: 5, fontSize: LABEL_FONT_SIZE },
    encoding: { x: { field, type: 'quantitative' }, y, text: { field: 'label', type: 'nominal' } },
  } as const;
}

/** One strip a workload, one below the other. */
function facets(
  rows: readonly Row[],
  titles: Titles,
  own: { values: object[]; title: string; subtitle: string; layer: object[] },
): TopLevelSpec {
  const facet = {
    field: 'workload',
    type: 'nominal',
    title: null,
    sort: rows.map(({ workload }) => titles.workload(workload).title),
    header: { labelAngle: 0, labelAnchor: 'start', labelOrient: 'top', labelFontWeight: 'bold' },
  } as const;
  return {
    ...common(own.title, own.subtitle),
    data: { values: own.values },
    facet: { row: facet },
    spacing: 6,
    spec: { width: WIDTH, height: { step: BAR_STEP }, layer: own.layer },
  } as TopLevelSpec;
}

function common(title: string, subtitle: string): object {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: title, subtitle, anchor: 'start' },
    background: 'white',
    padding: 12,
    config: { font: FONT, legend: { labelLimit: 0 }, header: { labelPadding: 2 } },
  };
}
