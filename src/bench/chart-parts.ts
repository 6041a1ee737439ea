import type { Spec } from 'vega';
import type { TopLevelSpec } from 'vega-lite';
import { PROTECTIONS } from './catalogue.js';
import type { Titles } from './markdown.js';
import type { Entry, Row } from './summary.js';

/** A picture of the report: a specification of Vega-Lite's, or of Vega's own, with its data. */
export interface Chart {
  /** Of its files. */
  readonly name: string;
  readonly title: string;
  readonly spec: TopLevelSpec | { readonly vega: Spec };
}

export const FONT = 'DejaVu Sans';
const BAR_STEP = 14;
export const WIDTH = 560;
/** Of the protections, in the catalogue's order: the same in every picture. */
const COLOURS = [
  '#9a9a9a',
  '#5f5f5f',
  '#e15759',
  '#f1a7a8',
  '#c9788a',
  '#d7b5d8',
  '#b58bc4',
  '#8e5ea2',
  '#a31f34',
  '#a6cee3',
  '#76b7d8',
  '#4e79a7',
  '#2b4c7e',
  '#f28e2b',
  '#b6992d',
] as const;
const LEGEND_COLUMNS = 3;
const LABEL_FONT_SIZE = 9;
/** Beyond the longest bar: its label. */
export const ROOM_FOR_LABEL = 1.12;

export type Value<Own> = Own & { readonly workload: string; readonly protection: string };

/** What each protection of each row has to show; who has nothing is left out. */
export function valuesOf<Own extends object>(
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
export function placeOf(titles: Titles, order: readonly string[]) {
  const protections = order.map((name) => titles.protection(name));
  const place = { field: 'protection', type: 'nominal', title: null } as const;
  const range = order.map((name) => COLOURS[Object.keys(PROTECTIONS).indexOf(name)] ?? 'black');
  return {
    y: { ...place, axis: null, scale: { domain: protections } },
    color: { ...place, scale: { domain: protections, range }, legend: { orient: 'top', columns: LEGEND_COLUMNS } },
  } as const;
}

/** At the end of a bar. */
export function label(field: string, y: ReturnType<typeof placeOf>['y']) {
  return {
    mark: { type: 'text', align: 'left', dx: 5, fontSize: LABEL_FONT_SIZE },
    encoding: { x: { field, type: 'quantitative' }, y, text: { field: 'label', type: 'nominal' } },
  } as const;
}

/** One strip a workload, one below the other. */
export function facets(
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

export function common(title: string, subtitle: string): object {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: title, subtitle, anchor: 'start' },
    background: 'white',
    padding: 12,
    config: { font: FONT, legend: { labelLimit: 0 }, header: { labelPadding: 2 } },
  };
}
