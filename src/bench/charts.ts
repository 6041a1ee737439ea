import { facets, label, placeOf, ROOM_FOR_LABEL, valuesOf, type Chart } from './chart-parts.js';
import { PART_LOOKS, partColour } from './epoch-parts.js';
import { EPOCH_PARTS } from './ledger.js';
import type { Titles } from './markdown.js';
import { significant } from './significant.js';
import type { Row } from './summary.js';

const US_PER_MS = 1000;

/** Each workload's rate as a share of the unprotected guest's, one bar a protection: the figure that Kemari's authors showed. Undefined without that guest. */
export function normalizedChart(
  link: string,
  rows: readonly Row[],
  titles: Titles,
  order: readonly string[],
): Chart | undefined {
  const values = valuesOf(
    rows,
    titles,
    ({ ratio }) => ratio && { ...ratio, label: ratio.ratio.toFixed(ratio.ratio < 0.01 ? 4 : 2) },
  );
  if (values.length === 0) return undefined;
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

/** Where the time of an epoch goes, under each workload. Undefined where nobody says. */
export function anatomyChart(link: string, rows: readonly Row[], titles: Titles): Chart | undefined {
  const values = rows.flatMap(({ workload, entries }) =>
    entries.flatMap(({ protection, epochs }) =>
      EPOCH_PARTS.flatMap((part, index) => {
        const us = epochs?.parts?.[part];
        const where = { workload: titles.workload(workload).title, protection: titles.protection(protection) };
        return us === undefined ? [] : [{ ...where, part: PART_LOOKS[part].title, index, ms: us / US_PER_MS }];
      }),
    ),
  );
  if (values.length === 0) return undefined;
  const told = rows.filter(({ entries }) => entries.some(({ epochs }) => epochs?.parts !== undefined));
  const title = `Where the time of an epoch goes, link ${link}`;
  const layer = [
    {
      mark: { type: 'bar' },
      encoding: {
        x: { field: 'ms', type: 'quantitative', title: 'milliseconds', stack: 'zero' },
        y: { field: 'protection', type: 'nominal', title: null, sort: null },
        color: partColour(EPOCH_PARTS.filter((part) => values.some((value) => value.part === PART_LOOKS[part].title))),
        order: { field: 'index', type: 'quantitative' },
      },
    },
  ];
  const subtitle = 'medians; but for --strict the guest runs again at the resume';
  return { name: `anatomy-${link}`, title, spec: facets(told, titles, { values, title, subtitle, layer }) };
}
