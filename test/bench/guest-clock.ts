import { setTimeout as delay } from 'node:timers/promises';
import { KemariError } from '../../src/base/errors.js';
import type { Variant } from './variant.js';

const INTERVAL_MS = 3000;
const TOLERANCE = 0.05;
const ANSWER_TIMEOUT_MS = 30_000;

/**
 * fio and iperf3 in the guest go by the guest's clock: it must go as fast as the clock outside.
 *
 * Errors: `KEMARI_BENCH_CLOCK`.
 */
export async function checkClock(variant: Variant): Promise<void> {
  const before = await readClocks(variant);
  await delay(INTERVAL_MS);
  const after = await readClocks(variant);
  const rate = (after.guest - before.guest) / (after.host - before.host);
  if (Math.abs(rate - 1) > TOLERANCE) {
    throw new KemariError(
      'KEMARI_BENCH_CLOCK',
      `the clock in the guest of ${variant.name} goes ${rate.toFixed(3)} times as fast as outside: no rate can be told`,
    );
  }
}

/** Both in seconds. */
async function readClocks(variant: Variant): Promise<{ guest: number; host: number }> {
  const uptime = await variant.shell.mustRun('cat /proc/uptime', ANSWER_TIMEOUT_MS);
  return { guest: Number(uptime.split(' ')[0]), host: performance.now() / 1000 };
}
