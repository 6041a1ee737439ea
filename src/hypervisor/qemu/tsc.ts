import { setTimeout as delay } from 'node:timers/promises';
import { addon } from '../../native/addon.js';

/** Long enough for an error of some parts in a million: a reading is off by less than a microsecond. */
const MEASURE_MS = 50;

let measured: Promise<number> | undefined;

/** The rate of this host's time stamp counter in kHz; measured once, in the time until it is wanted. */
export function measureTscKhz(): Promise<number> {
  measured ??= measure();
  return measured;
}

async function measure(): Promise<number> {
  const first = addon.readTsc();
  await delay(MEASURE_MS);
  const second = addon.readTsc();
  const nanosecondsPerMillisecond = 1_000_000n;
  return Number(((second.ticks - first.ticks) * nanosecondsPerMillisecond) / (second.nanoseconds - first.nanoseconds));
}
