import { FAILOVER_WAYS } from './failovers.js';
import type { FailoverSample } from './ledger.js';
import type { Table } from './markdown.js';
import { significant } from './significant.js';
import { quantile } from './statistics.js';

/** Of some times, in milliseconds. */
export interface Spread {
  readonly p50: number;
  readonly p90: number;
  readonly max: number;
}

/** How long one way of taking over takes. */
export interface FailoverRow {
  readonly way: string;
  readonly samples: number;
  readonly failures: number;
  /** The client's longest wait for an answer; undefined where all failed. */
  readonly gap: Spread | undefined;
  /** From the kill to the guest's first frame from the other host. */
  readonly firstFrame: Spread | undefined;
}

/** One row a way, in the catalogue's order, of those that were tried. */
export function summarizeFailovers(samples: readonly FailoverSample[]): FailoverRow[] {
  return Object.keys(FAILOVER_WAYS).flatMap((way) => {
    const own = samples.filter((sample) => sample.way === way);
    if (own.length === 0) return [];
    const gaps = own.flatMap(({ gapMs }) => gapMs ?? []);
    const frames = own.flatMap(({ firstFrameMs }) => firstFrameMs ?? []);
    const failures = own.length - gaps.length;
    return [{ way, samples: gaps.length, failures, gap: spreadOf(gaps), firstFrame: spreadOf(frames) }];
  });
}

function spreadOf(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  return { p50: quantile(values, 0.5), p90: quantile(values, 0.9), max: Math.max(...values) };
}

/** For people. */
export function failoverTable(rows: readonly FailoverRow[]): Table {
  const cells = (spread: Spread | undefined): string[] =>
    spread === undefined ? ['', '', ''] : [spread.p50, spread.p90, spread.max].map(significant);
  const heads = ['takeover', 'failovers', 'client waits: median', '90 %', 'longest'];
  return {
    title: 'Failovers, milliseconds from the kill of a host',
    lines: [
      [...heads, "guest's first frame: median", '90 %', 'longest'],
      ...rows.map(({ way, samples, failures, gap, firstFrame }) => [
        FAILOVER_WAYS[way]?.title ?? way,
        `${samples}${failures > 0 ? `, ${failures} failed` : ''}`,
        ...cells(gap),
        ...cells(firstFrame),
      ]),
    ],
  };
}
