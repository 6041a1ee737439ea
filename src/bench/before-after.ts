import { groupBy } from './group.js';
import { protectionsOf, type Table, type Titles } from './markdown.js';
import { significant } from './significant.js';
import type { Entry, Row } from './summary.js';

const US_PER_MS = 1000;

/** What one run says against an older one. */
interface Measure {
  readonly title: string;
  readonly unit: (workload: { readonly unit: string }) => string;
  readonly of: (entry: Entry) => number | undefined;
}

const MEASURES: readonly Measure[] = [
  { title: 'rates', unit: ({ unit }) => unit, of: ({ value }) => value },
  {
    title: 'pauses, medians',
    unit: () => 'ms',
    of: ({ epochs }) => (epochs === undefined ? undefined : epochs.pauseP50Us / US_PER_MS),
  },
];

/**
 * Where both runs measured the same, `before -> after (after / before)`; nothing where they have nothing in common. The two
 * were not measured side by side: what differed between the machines, or their loads, is in the ratios.
 */
export function beforeAfterTables(before: readonly Row[], after: readonly Row[], titles: Titles): Table[] {
  return [...groupBy(after, ({ link }) => link)].flatMap(([link, own]) =>
    MEASURES.flatMap((measure) => {
      const found = tableOf(before, own, titles, measure);
      return found === undefined ? [] : [{ title: `Before and after, link ${link}, ${measure.title}`, lines: found }];
    }),
  );
}

function tableOf(
  before: readonly Row[],
  after: readonly Row[],
  titles: Titles,
  { unit, of }: Measure,
): Table['lines'] | undefined {
  const cells = after.map((row) => {
    const older = before.find(({ link, workload }) => link === row.link && workload === row.workload);
    return { row, cells: cellsOf(older?.entries ?? [], row.entries, of) };
  });
  const told = cells.filter((one) => one.cells.size > 0);
  const protections = protectionsOf(after).filter((name) => told.some((one) => one.cells.has(name)));
  if (protections.length === 0) return undefined;
  const heads = ['workload', 'unit', ...protections.map((name) => titles.protection(name))];
  const lines = told.map((one) => {
    const known = titles.workload(one.row.workload);
    return [known.title, unit(known), ...protections.map((name) => one.cells.get(name) ?? '')];
  });
  return [heads, ...lines];
}

function cellsOf(before: readonly Entry[], after: readonly Entry[], of: Measure['of']): ReadonlyMap<string, string> {
  return new Map(
    after.flatMap((entry) => {
      const older = before.find(({ protection }) => protection === entry.protection);
      const was = older && of(older);
      const is = of(entry);
      if (was === undefined || is === undefined || was === 0) return [];
      return [[entry.protection, `${significant(was)} → ${significant(is)} (${(is / was).toFixed(2)})`] as const];
    }),
  );
}
