import { groupBy } from './group.js';
import { significant } from './significant.js';
import type { Entry, Row } from './summary.js';

/** Names and units for people. */
export interface Titles {
  protection(name: string): string;
  workload(name: string): { readonly title: string; readonly unit: string };
}

/** A table for each link: medians, and in brackets their ratio to the baseline. */
export function markdownTables(rows: readonly Row[], titles: Titles): string {
  const links = groupBy(rows, ({ link }) => link);
  return [...links].map(([link, own]) => `### Link: ${link}\n\n${table(own, titles)}\n`).join('\n');
}

function table(rows: readonly Row[], titles: Titles): string {
  const protections = protectionsOf(rows);
  const heads = ['workload', 'unit', ...protections.map((name) => titles.protection(name))];
  const lines = rows.map(({ workload, entries }) => {
    const { title, unit } = titles.workload(workload);
    const cells = protections.map((name) => cell(entries.find(({ protection }) => protection === name)));
    return [title, unit, ...cells];
  });
  return [heads, heads.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** In the order of their first appearance in the catalogue's order, which the rows keep. */
export function protectionsOf(rows: readonly Row[]): string[] {
  return [...new Set(rows.flatMap(({ entries }) => entries.map(({ protection }) => protection)))];
}

function cell(entry: Entry | undefined): string {
  if (entry === undefined) return '';
  if (entry.value === undefined) return 'failed';
  const ratio = entry.ratio === undefined ? '' : ` (${entry.ratio.ratio.toFixed(2)})`;
  return `${significant(entry.value)}${ratio}${entry.failures > 0 ? `, ${entry.failures} failed` : ''}`;
}
