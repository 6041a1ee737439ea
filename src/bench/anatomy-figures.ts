import { alongAxis, AXES, BASE_POINT, type AnatomyPoint, type Axis } from './anatomy-points.js';
import { PART_LOOKS } from './epoch-parts.js';
import { groupBy } from './group.js';
import { EPOCH_PARTS, type AnatomySample, type EpochPart, type EpochParts } from './ledger.js';
import type { Table } from './markdown.js';
import { significant } from './significant.js';
import { median } from './statistics.js';

const US_PER_MS = 1000;

/** One point of the sweep: medians over its repeats, times in microseconds. */
export interface AnatomyRow extends AnatomyPoint {
  /** In all repeats. */
  readonly epochs: number;
  readonly dirtyPages: number;
  readonly pauseP50Us: number;
  readonly pauseP99Us: number;
  readonly parts: EpochParts;
  /** Of the last repeat. */
  readonly trace: string;
}

/** A guest that was not measured, and why. */
export interface AnatomyGap extends AnatomyPoint {
  readonly failure: string;
}

/** How parts of an epoch, and the pause, grow along one axis: microseconds for each unit of it. */
export interface Growth {
  readonly axis: Axis;
  readonly pause: number;
  readonly parts: EpochParts;
}

export interface Anatomy {
  readonly rows: readonly AnatomyRow[];
  readonly gaps: readonly AnatomyGap[];
  readonly growth: readonly Growth[];
}

/** Points in order of memory, vCPUs and pages. */
export function summarizeAnatomy(samples: readonly AnatomySample[]): Anatomy {
  const points = groupBy(
    samples.toSorted((a, b) => a.memoryMib - b.memoryMib || a.vcpus - b.vcpus || a.pages - b.pages),
    ({ memoryMib, vcpus, pages }) => [memoryMib, vcpus, pages].join(),
  );
  const rows: AnatomyRow[] = [];
  const gaps: AnatomyGap[] = [];
  for (const own of points.values()) {
    const row = rowOf(own);
    if (row !== undefined) rows.push(row);
    else
      gaps.push(
        ...own.slice(-1).map(({ memoryMib, vcpus, pages, failure = '' }) => ({ memoryMib, vcpus, pages, failure })),
      );
  }
  const growth = (Object.keys(AXES) as Axis[]).flatMap((axis) => growthOf(axis, rows) ?? []);
  return { rows, gaps, growth };
}

function rowOf(samples: readonly AnatomySample[]): AnatomyRow | undefined {
  const known = samples.flatMap(({ epochs, dirtyPages, pauseP50Us, pauseP99Us, parts, trace, ...point }) =>
    epochs === undefined || dirtyPages === undefined || pauseP50Us === undefined || pauseP99Us === undefined
      ? []
      : [{ ...point, epochs, dirtyPages, pauseP50Us, pauseP99Us, parts: parts ?? {}, trace: trace ?? '' }],
  );
  const last = known.at(-1);
  if (last === undefined) return undefined;
  const { memoryMib, vcpus, pages, trace } = last;
  return {
    ...{ memoryMib, vcpus, pages, trace },
    epochs: known.reduce((sum, { epochs }) => sum + epochs, 0),
    dirtyPages: median(known.map(({ dirtyPages }) => dirtyPages)),
    pauseP50Us: median(known.map(({ pauseP50Us }) => pauseP50Us)),
    pauseP99Us: median(known.map(({ pauseP99Us }) => pauseP99Us)),
    parts: eachPart((part) => known.flatMap(({ parts }) => parts[part] ?? []), median),
  };
}

function eachPart(
  valuesOf: (part: EpochPart) => readonly number[],
  of: (values: readonly number[]) => number,
): EpochParts {
  return Object.fromEntries(
    EPOCH_PARTS.flatMap((part) => {
      const values = valuesOf(part);
      return values.length === 0 ? [] : [[part, of(values)]];
    }),
  );
}

/** What an axis measures of a row: of pages those that epochs carried, not those that were asked for. */
function placeOn(axis: Axis, row: AnatomyRow): number {
  return axis === 'pages' ? row.dirtyPages : row[axis];
}

function growthOf(axis: Axis, rows: readonly AnatomyRow[]): Growth | undefined {
  const own = alongAxis(axis, rows);
  if (own.length < 2) return undefined;
  const { unit } = AXES[axis];
  const slope = (of: (row: AnatomyRow) => number | undefined): number[] => {
    const known = own.flatMap((row) => {
      const value = of(row);
      return value === undefined ? [] : [[placeOn(axis, row) / unit, value] as const];
    });
    return medianSlope(known);
  };
  return {
    axis,
    pause: slope(({ pauseP50Us }) => pauseP50Us)[0] ?? 0,
    parts: eachPart(
      (part) => slope(({ parts }) => parts[part]),
      (values) => values[0] ?? 0,
    ),
  };
}

/** Of all pairs of points the median slope (Theil and Sen): one that was disturbed does not bend it. Empty for fewer than two. */
function medianSlope(points: readonly (readonly [number, number])[]): number[] {
  const slopes = points.flatMap(([x1, y1], index) =>
    points.slice(index + 1).flatMap(([x2, y2]) => (x1 === x2 ? [] : [(y2 - y1) / (x2 - x1)])),
  );
  return slopes.length === 0 ? [] : [median(slopes)];
}

/** For people: every point, and how each part grows. */
export function anatomyTables({ rows, gaps, growth }: Anatomy): Table[] {
  if (rows.length + gaps.length === 0) return [];
  const parts = EPOCH_PARTS.filter((part) => rows.some((row) => row.parts[part] !== undefined));
  const titles = parts.map((part) => PART_LOOKS[part].title);
  const ms = (us: number | undefined): string => (us === undefined ? '' : significant(us / US_PER_MS));
  const points = rows.map((row) => [
    ...[row.memoryMib, row.vcpus, row.dirtyPages, row.epochs].map((value) => String(Math.round(value))),
    ...[row.pauseP50Us, row.pauseP99Us].map(ms),
    ...parts.map((part) => ms(row.parts[part])),
    row.trace,
  ]);
  const sameReason = groupBy(gaps, ({ memoryMib, vcpus, failure }) => [memoryMib, vcpus, failure].join());
  const skipped = [...sameReason.values()].flatMap((own) =>
    own.slice(0, 1).map(({ memoryMib, vcpus, failure }) => {
      const pages = own.map((gap) => gap.pages).join(', ');
      return [String(memoryMib), String(vcpus), pages, `not measured: ${failure}`];
    }),
  );
  const slopes = growth.map(({ axis, pause, parts: each }) => [
    `each ${AXES[axis].unitName}`,
    ...[pause, ...parts.map((part) => each[part])].map((us) => (us === undefined ? '' : String(Math.round(us)))),
  ]);
  return [
    {
      title: 'Anatomy of an epoch, medians in milliseconds',
      lines: [
        [
          'MiB',
          'vCPUs',
          'dirty pages',
          'epochs',
          'pause',
          'its 99th percentile',
          ...titles,
          'trace (Perfetto opens it)',
        ],
        ...points,
        ...skipped,
      ],
    },
    ...(slopes.length === 0
      ? []
      : [
          {
            title: `How it grows from ${BASE_POINT.memoryMib} MiB and ${BASE_POINT.vcpus} vCPU, microseconds`,
            lines: [['for', 'pause', ...titles], ...slopes],
          },
        ]),
  ];
}
