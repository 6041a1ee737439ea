import { readFileSync } from 'node:fs';
import type { Row } from './rows.js';

const LIMIT_MB = 100;
const BYTES_PER_KIB = 1024;
const BYTES_PER_MB = 1_000_000;
/** How kemari names guest memory (src/native/addon.ts: createRam). */
const GUEST_RAM = 'memfd:';

/**
 * Memory in MB that a process occupies beside guest memory: the resident pages of every mapping but the guest's RAM
 * file, those included that it shares with other programs of the same kind (proc_pid_smaps(5): Rss).
 */
export function memoryBeyondGuest(pid: number): number {
  let total = 0;
  let isGuestRam = false;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) isGuestRam = line.includes(GUEST_RAM);
    const kib = /^Rss: +(\d+) kB$/.exec(line)?.[1];
    if (kib !== undefined && !isGuestRam) total += Number(kib) * BYTES_PER_KIB;
  }
  return total / BYTES_PER_MB;
}

export function memoryRow(pid: number): Row {
  const found = memoryBeyondGuest(pid);
  const ratio = found / LIMIT_MB;
  return {
    name: 'memory of kemari-dm beyond guest memory',
    unit: 'MB',
    ours: found,
    against: 'the limit',
    peer: LIMIT_MB,
    ratio,
    target: 1,
    bound: 'at-most',
    low: ratio,
    high: ratio,
  };
}
