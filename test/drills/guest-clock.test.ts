import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '../../src/base/deadline.js';
import type { MachineType } from '../../src/model/domain-config.js';
import { Guest } from '../fixtures/guest.js';
import { guestTest, missing } from '../fixtures/guest-test.js';

const PAUSE_MS = 1_500;
/** Reading a clock in an emulated guest over HTTP takes so long. */
const TOLERANCE_MS = 400;
const TIMEOUT_MS = 30_000;

/** Unix time in seconds with milliseconds. */
const READ_CLOCK = "select strftime('%s', 'now') || substr(strftime('%f', 'now'), 3)";

/** How far the guest's wall clock is behind this host's, in milliseconds. */
async function behindMs(guest: Guest): Promise<number> {
  const askedAtMs = Date.now();
  const guestMs = Number(await guest.mustRun(`sqlite3 :memory: "${READ_CLOCK}"`)) * 1e3;
  return (askedAtMs + Date.now()) / 2 - guestMs;
}

for (const machine of ['q35', 'microvm'] as const satisfies readonly MachineType[]) {
  guestTest(`${machine}: what a pause took is given back to the guest's clock by its agent${missing}`, async (t) => {
    const guest = await Guest.boot({ machine, keys: { guest_agent: 1 } });
    try {
      const logged = async (text: RegExp): Promise<boolean> =>
        waitUntil(async () => text.test(await guest.kemari('log', guest.name)), {
          timeoutMs: TIMEOUT_MS,
          everyMs: 200,
        });
      const before = await behindMs(guest);
      await guest.kemari('pause', guest.name);
      await delay(PAUSE_MS);
      await guest.kemari('unpause', guest.name);
      t.true(await logged(/guest's clock was \d+ ms behind/));
      const after = await behindMs(guest);
      t.log(`behind by ${before.toFixed(0)} ms, after the pause by ${after.toFixed(0)} ms`);
      t.true(Math.abs(after - before) < TOLERANCE_MS);
    } finally {
      await guest.close();
    }
  });
}
