/**
 * One line of the result. `ratio` is made so that larger is better where `bound` is `at-least` (rates: ours / peer;
 * times: peer / ours) and so that smaller is better where it is `at-most` (ours / peer).
 */
export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  /** What `ours` is held against: another way to serve the guest, or a limit. */
  readonly against: string;
  readonly peer: number;
  readonly ratio: number;
  /** What the ratio must reach, or undefined where the row only informs. */
  readonly target: number | undefined;
  readonly bound: 'at-least' | 'at-most';
  /** Ends of the ratio's 95 % confidence interval; equal to it where there is only one sample. */
  readonly low: number;
  readonly high: number;
}

export type Verdict = 'met' | 'within noise' | 'missed' | '';

/** `within noise`: the measured ratio misses the target and its confidence interval does not rule the target out. */
export function verdict(row: Row): Verdict {
  if (row.target === undefined) return '';
  if (row.bound === 'at-least') {
    if (row.ratio >= row.target) return 'met';
    return row.high >= row.target ? 'within noise' : 'missed';
  }
  if (row.ratio <= row.target) return 'met';
  return row.low <= row.target ? 'within noise' : 'missed';
}

const HEADINGS = ['what', 'unit', 'ours', 'peer', 'ratio', '95 %', 'target', '', 'against'];
const LEFT_ALIGNED = new Set([0, 1, 7, 8]);

export function formatTable(rows: readonly Row[]): string {
  const lines = [HEADINGS, ...rows.map(cells)];
  const widths = HEADINGS.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) =>
          LEFT_ALIGNED.has(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function cells(row: Row): string[] {
  const bound = row.bound === 'at-least' ? '>=' : '<=';
  return [
    row.name,
    row.unit,
    significant(row.ours),
    significant(row.peer),
    `${row.ratio.toFixed(3)}x`,
    `${row.low.toFixed(2)}-${row.high.toFixed(2)}`,
    row.target === undefined ? '' : `${bound} ${row.target}`,
    verdict(row),
    row.against,
  ];
}

/** Three digits say all that such a measurement knows. */
function significant(value: number): string {
  return value >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
