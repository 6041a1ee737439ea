import { setTimeout as delay } from 'node:timers/promises';
import { KemariError } from '../base/errors.js';
import type { GuestShell } from '../stage/guest-shell.js';
import { EXTRA_MS, type Workload } from './workload.js';

const MS_PER_S = 1000;
/** There are to be some epochs of each protection. */
const LEAST_S = 8;

/**
 * A guest that has nothing to do: how much of the time outside goes by inside, since pauses stop its clock. What its epochs
 * take at the least is seen here.
 */
export const IDLE: Workload = {
  name: 'idle',
  title: 'idle, time that goes by in the guest',
  unit: '% of the time outside',
  async run({ shell, seconds, counted }) {
    const before = await uptimeOf(shell);
    // Who asks for the time makes it busy.
    await counted(() => delay(Math.max(seconds, LEAST_S) * MS_PER_S));
    const after = await uptimeOf(shell);
    return (100 * (after.insideS - before.insideS)) / ((after.atMs - before.atMs) / MS_PER_S);
  },
};

/** The guest's own time since it started (proc(5)), and when it said so. */
async function uptimeOf(shell: GuestShell): Promise<{ readonly insideS: number; readonly atMs: number }> {
  const said = await shell.mustRun('cat /proc/uptime', EXTRA_MS);
  const atMs = performance.now();
  const insideS = Number(said.split(' ')[0]);
  if (!(insideS > 0)) throw new KemariError('KEMARI_BENCH_GUEST', `/proc/uptime has no time: ${said}`);
  return { insideS, atMs };
}
