import type { TopRow } from '../commands/top.js';
import { milliseconds, rate } from './protection-text.js';
import { stateLetters } from './tables.js';

const MIB = 1 << 20;

/** Up to 20 letters of a name are shown. */
const NAME_WIDTH = 20;

/** A column: its title, its width, and what a domain has there; numbers are put to the right. */
interface Column {
  readonly title: string;
  readonly width: number;
  readonly left?: boolean;
  readonly text: (row: TopRow) => string;
}

const COLUMNS: readonly Column[] = [
  { title: 'NAME', width: NAME_WIDTH, left: true, text: ({ name }) => name },
  { title: 'STATE', width: 6, text: stateOf },
  { title: 'CPU(%)', width: 6, text: ({ cpuShare }) => (cpuShare === undefined ? '-' : (100 * cpuShare).toFixed(1)) },
  { title: 'MEM(M)', width: 6, text: ({ memoryBytes }) => String(Math.round(memoryBytes / MIB)) },
  { title: 'VCPUS', width: 5, text: ({ vcpus }) => String(vcpus) },
  { title: 'PROTECTION', width: 12, left: true, text: ({ protection }) => protection?.state ?? '-' },
  {
    title: 'STANDBY',
    width: 12,
    left: true,
    text: ({ protection: p }) => (p === undefined ? '-' : p.standby || p.host),
  },
  { title: 'EPOCHS/S', width: 8, text: ({ protection }) => protection?.epochsPerSecond.toFixed(1) ?? '-' },
  { title: 'DIRTY', width: 6, text: ({ protection }) => protection?.dirtyPages.toString() ?? '-' },
  { title: 'PAUSE', width: 6, text: ({ protection }) => (protection ? milliseconds(protection.pauseUs.p50) : '-') },
  { title: 'P99(ms)', width: 7, text: ({ protection }) => (protection ? milliseconds(protection.pauseUs.p99) : '-') },
  { title: 'HELD', width: 5, text: ({ protection }) => protection?.held.toString() ?? '-' },
  { title: 'LAG(ms)', width: 7, text: ({ protection }) => protection?.lagMs.toFixed(0) ?? '-' },
  { title: 'LINK', width: 10, text: ({ protection }) => (protection ? rate(protection.linkBytesPerSecond) : '-') },
  {
    title: 'LOST(s)',
    width: 7,
    text: ({ protection: p }) => (p === undefined ? '-' : (p.lostGuestMs / 1000).toFixed(1)),
  },
  { title: 'REGIME', width: 7, left: true, text: ({ protection }) => protection?.regime ?? '-' },
];

/**
 * xentop's six letters. A guest that stands still until its standby answers shows `p`, one that waits for what is held
 * shows `b`, and so does one whose storage does not answer.
 */
function stateOf({ state, protection, storageSilent }: TopRow): string {
  if (state !== 'running' || protection === undefined) return stateLetters(state, storageSilent);
  if (protection.state === 'handing-over') return '--p---';
  return protection.state === 'silent' && protection.held > 0 ? '-b----' : stateLetters(state, storageSilent);
}

/** The whole screen, or the part of it that `rows` lines and `columns` letters have room for. Pure. */
export function topScreen(
  domains: readonly TopRow[],
  size: { readonly rows: number; readonly columns: number } | undefined,
  now: Date,
): string {
  const running = domains.filter(({ state }) => state === 'running').length;
  const guarded = domains.filter(({ protection }) => protection?.state === 'protected').length;
  const lines = [
    `kemari top  ${now.toISOString()}`,
    `${domains.length} domains: ${running} running, ${guarded} protected`,
    COLUMNS.map((column) => cell(column, column.title)).join(' '),
    ...domains.map((row) => COLUMNS.map((column) => cell(column, column.text(row))).join(' ')),
  ].map((line) => line.trimEnd());
  if (size === undefined) return `${lines.join('\n')}\n`;
  const shown = lines.slice(0, Math.max(0, size.rows - 1)).map((line) => line.slice(0, size.columns));
  return [...shown, 'q quits'].join('\n');
}

function cell({ width, left }: Column, text: string): string {
  return left === true ? text.slice(0, width).padEnd(width) : text.padStart(width);
}
