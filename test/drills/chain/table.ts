import type { DrillRecord } from './record.js';

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
  const waits = survived.flatMap(({ figures }) => figures?.waitMs ?? []).sort((one, other) => one - other);
  const at = (share: number): number => waits[Math.max(0, Math.ceil(share * waits.length) - 1)] ?? 0;
  return {
    ...{ fault, tried: records.length, survived: survived.length },
    waitMs: { p50: at(0.5), p99: at(0.99), max: at(1) },
  };
}

export function tableText(rows: readonly DrillSummary[]): string {
  const cells = rows.map(({ fault, tried, survived, waitMs }) => [
    ...[fault, String(tried), String(survived)],
    ...[waitMs.p50, waitMs.p99, waitMs.max].map((ms) => ms.toFixed(0)),
  ]);
  const lines = [['fault', 'tried', 'survived', 'wait p50 ms', 'p99', 'max'], ...cells];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  '),
    ) // prettier-ignore
    .join('\n');
}
