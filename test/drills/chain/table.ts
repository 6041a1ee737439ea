import type { DrillRecord } from './record.js';
import type { TrafficFigures } from './traffic-load.js';

/** What one fault, or all of them, came to. */
export interface DrillSummary {
  readonly fault: string;
  readonly tried: number;
  readonly survived: number;
  /** How long the client waited at most, milliseconds, over the drills that were survived. */
  readonly waitMs: { readonly p50: number; readonly p99: number; readonly max: number };
}

/** A row a fault in the order of their names, then one for all. */
export function summarize(records: readonly DrillRecord[]): DrillSummary[] {
  const faults = [...new Set(records.map(({ fault }) => fault))].sort();
  return [
    ...faults.map((fault) => row(fault, records.filter((record) => record.fault === fault))), // prettier-ignore
    row('all', records),
  ];
}

function row(fault: string, records: readonly DrillRecord[]): DrillSummary {
  const survived = records.filter((record) => record.survived);
  return {
    ...{ fault, tried: records.length, survived: survived.length },
    waitMs: waitsOf(survived.flatMap(({ figures }) => figures?.waitMs ?? [])),
  };
}

/** What one kind of traffic came to over the drills that were survived. */
export interface TrafficSummary extends Omit<TrafficFigures, 'waitMs'> {
  readonly waitMs: DrillSummary['waitMs'];
}

/** A row a kind of traffic. */
export function summarizeTraffic(records: readonly DrillRecord[]): TrafficSummary[] {
  const all = records.flatMap(({ survived, figures }) => (survived ? (figures?.traffic ?? []) : []));
  return [...new Set(all.map(({ traffic }) => traffic))].map((traffic) => {
    const figures = all.filter((one) => one.traffic === traffic);
    const sum = (what: 'sent' | 'lost' | 'late' | 'doubled'): number =>
      figures.reduce((total, one) => total + one[what], 0);
    return {
      ...{ traffic, sent: sum('sent'), lost: sum('lost'), late: sum('late'), doubled: sum('doubled') },
      waitMs: waitsOf(figures.map(({ waitMs }) => waitMs)),
    };
  });
}

function waitsOf(waitsMs: readonly number[]): DrillSummary['waitMs'] {
  const waits = waitsMs.toSorted((one, other) => one - other);
  const at = (share: number): number => waits[Math.max(0, Math.ceil(share * waits.length) - 1)] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

export function trafficTableText(rows: readonly TrafficSummary[]): string {
  const cells = rows.map(({ traffic, sent, lost, late, doubled, waitMs }) => [
    ...[traffic, ...[sent, lost, late, doubled].map(String)],
    ...waitCells(waitMs),
  ]);
  return aligned([['traffic', 'sent', 'lost', 'late', 'doubled', 'wait p50 ms', 'p99', 'max'], ...cells]);
}

export function tableText(rows: readonly DrillSummary[]): string {
  const cells = rows.map(({ fault, tried, survived, waitMs }) => [
    ...[fault, String(tried), String(survived)],
    ...waitCells(waitMs),
  ]);
  return aligned([['fault', 'tried', 'survived', 'wait p50 ms', 'p99', 'max'], ...cells]);
}

function waitCells({ p50, p99, max }: DrillSummary['waitMs']): string[] {
  return [p50, p99, max].map((ms) => ms.toFixed(0));
}

/** Columns of one width each, the first to the left. */
function aligned(lines: readonly (readonly string[])[]): string {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  '),
    ) // prettier-ignore
    .join('\n');
}
