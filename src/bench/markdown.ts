import { groupBy } from './group.js';
import { significant } from './significant.js';
import type { Entry, Row } from './summary.js';

/** Names and units for people. */
export interface Titles {
  protection(name: string): string;
  workload(name: string): { readonly title: string; readonly unit: string };
}

export interface Table {
  readonly title: string;
  /** The first are the heads. */
  readonly lines: readonly (readonly string[])[];
}

/** Of a page, as it is. */
export const PAGE_BYTES = 4096;

/** For each link: medians, and in brackets their ratio to the baseline; what the link itself cost, where that was counted. */
export function tablesOf(rows: readonly Row[], titles: Titles): Table[] {
  return [...groupBy(rows, ({ link }) => link)].flatMap(([link, own]) => {
    const rates = table(`Link: ${link}`, own, titles, ({ unit }) => unit, rateCell);
    const told = own.filter(({ entries }) => entries.some(({ wire }) => wire !== undefined));
    if (told.length === 0) return [rates];
    const title = `Link: ${link}, bytes on the wire for each dirty page (share of ${PAGE_BYTES}), and processor time a byte`;
    return [rates, table(title, told, titles, () => 'bytes; ns', wireCell)];
  });
}

export function markdownTables(tables: readonly Table[]): string {
  return tables.map(({ title, lines }) => `### ${title}\n\n${markdownTable(lines)}\n`).join('\n');
}

function markdownTable([heads = [], ...lines]: Table['lines']): string {
  return [heads, heads.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function table(
  title: string,
  rows: readonly Row[],
  titles: Titles,
  unitOf: (workload: { readonly unit: string }) => string,
  cellOf: (entry: Entry) => string,
): Table {
  const cells = (entries: readonly Entry[], name: string): string[] =>
    entries.filter(({ protection }) => protection === name).map(cellOf);
  const protections = protectionsOf(rows).filter((name) =>
    rows.some(({ entries }) => cells(entries, name).some(Boolean)),
  );
  const heads = ['workload', 'unit', ...protections.map((name) => titles.protection(name))];
  const lines = rows.map(({ workload, entries }) => {
    const known = titles.workload(workload);
    return [known.title, unitOf(known), ...protections.map((name) => cells(entries, name)[0] ?? '')];
  });
  return { title, lines: [heads, ...lines] };
}

/** In the order of their first appearance in the catalogue's order, which the rows keep. */
export function protectionsOf(rows: readonly Row[]): string[] {
  return [...new Set(rows.flatMap(({ entries }) => entries.map(({ protection }) => protection)))];
}

function rateCell({ value, ratio, failures }: Entry): string {
  if (value === undefined) return 'failed';
  const against = ratio === undefined ? '' : ` (${ratio.ratio.toFixed(2)})`;
  return `${significant(value)}${against}${failures > 0 ? `, ${failures} failed` : ''}`;
}

function wireCell({ wire }: Entry): string {
  if (wire === undefined) return '';
  const share = wire.bytesPerPage / PAGE_BYTES;
  return `${significant(wire.bytesPerPage)} (${share.toFixed(2)}); ${significant(wire.cpuNsPerByte)}`;
}
