import { facets, label, placeOf, ROOM_FOR_LABEL, valuesOf, type Chart } from './chart-parts.js';
import { PAGE_BYTES, type Titles } from './markdown.js';
import { significant } from './significant.js';
import type { Row, WireFigures } from './summary.js';

interface Measure {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly subtitle: string;
  /** What it would be if nothing were saved, as a line. */
  readonly whole: number | undefined;
  readonly of: (wire: WireFigures) => number;
}

const MEASURES: readonly Measure[] = [
  {
    name: 'bytes',
    title: 'Bytes on the wire for each dirty page',
    unit: 'bytes',
    subtitle: 'device state, heads and all; line: the page as it is',
    whole: PAGE_BYTES,
    of: ({ bytesPerPage }) => bytesPerPage,
  },
  {
    name: 'cpu',
    title: 'Processor time of the link for each byte of a checkpoint',
    unit: 'ns',
    subtitle: 'to encode, encrypt and send, on the primary; a byte before it is encoded',
    whole: undefined,
    of: ({ cpuNsPerByte }) => cpuNsPerByte,
  },
];

/** What encodings and encryption cost on the link, and what they save. None where nobody counted it. */
export function wireCharts(link: string, rows: readonly Row[], titles: Titles, order: readonly string[]): Chart[] {
  const told = rows.filter(({ entries }) => entries.some(({ wire }) => wire !== undefined));
  if (told.length === 0) return [];
  const counted = order.filter((name) =>
    told.some(({ entries }) => entries.some(({ protection, wire }) => protection === name && wire !== undefined)),
  );
  return MEASURES.map((measure) => wireChart(link, told, titles, counted, measure));
}

function wireChart(
  link: string,
  rows: readonly Row[],
  titles: Titles,
  order: readonly string[],
  { name, title: what, unit, subtitle, whole, of }: Measure,
): Chart {
  const values = valuesOf(rows, titles, ({ wire }) => {
    if (wire === undefined) return undefined;
    const value = of(wire);
    return { value, label: `${significant(value)} ${unit}` };
  });
  const domainMax = Math.max(whole ?? 0, ...values.map(({ value }) => value)) * ROOM_FOR_LABEL;
  const place = placeOf(titles, order);
  const x = { field: 'value', type: 'quantitative', title: unit, scale: { domainMin: 0, domainMax } } as const;
  const layer = [
    { mark: { type: 'bar' }, encoding: { x, color: place.color, y: place.y } },
    ...(whole === undefined
      ? []
      : [{ mark: { type: 'rule', color: '#999', strokeDash: [3, 3] }, encoding: { x: { datum: whole } } }]),
    label('value', place.y),
  ];
  const title = `${what}, link ${link}`;
  return { name: `wire-${name}-${link}`, title, spec: facets(rows, titles, { values, title, subtitle, layer }) };
}
