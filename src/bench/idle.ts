import { setTimeout as delay } from 'node:timers/promises';
import { KemariError } from '../base/errors.js';
import { EXTRA_MS, rateWhile, type Workload } from './workload.js';

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
    const read = async (): Promise<number> => {
      const said = await shell.mustRun('cat /proc/uptime', EXTRA_MS);
      const uptime = Number(said.split(' ')[0]);
      if (uptime > 0) return uptime;
      throw new KemariError('KEMARI_BENCH_GUEST', `/proc/uptime has no time: ${said}`);
    };
    // Who asks for the time makes it busy.
    return 100 * (await rateWhile(read, () => counted(() => delay(Math.max(seconds, LEAST_S) * MS_PER_S))));
  },
};
