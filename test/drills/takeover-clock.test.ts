import type { StagedGuest } from '../../src/stage/staged-guest.js';
import { nowMs } from '../../src/stage/wall-clock.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';
import { goesOn, kill, play, until } from '../fixtures/two-hosts.js';

/** Nobody runs the guest for so long at least: long against all that makes reading its clocks inexact on a busy machine. */
const DEAD_MS = 5_000;

/** Of several readings the quickest counts, as in NTP: a slow one says little of when the clock was read. */
const READINGS = 3;

/** Seconds since boot, and Unix time in seconds with milliseconds. */
const READ_CLOCKS =
  "cut -d' ' -f1 /proc/uptime; sqlite3 :memory: \"select strftime('%s', 'now') || substr(strftime('%f', 'now'), 3)\"";

/** The guest's clocks in milliseconds, when this machine's clock said `atMs`, give or take `inexactMs`. */
interface Clocks {
  readonly atMs: number;
  readonly inexactMs: number;
  readonly upMs: number;
  readonly wallMs: number;
}

async function readClocks(guest: StagedGuest): Promise<Clocks> {
  let best: Clocks | undefined;
  for (let reading = 0; reading < READINGS; reading += 1) {
    const askedAtMs = nowMs();
    const [up = 0, wall = 0] = (await guest.run(READ_CLOCKS)).trim().split('\n').map(Number);
    const inexactMs = (nowMs() - askedAtMs) / 2;
    if (best !== undefined && best.inexactMs <= inexactMs) continue;
    best = { atMs: askedAtMs + inexactMs, inexactMs, upMs: up * 1e3, wallMs: wall * 1e3 };
  }
  return best!;
}

const aheadMs = ({ atMs, wallMs }: Clocks): number => wallMs - atMs;

longGuestTest(
  `a guest's clocks go on from the epoch: it does not live the time in which it was dead, and its agent sets the wall clock right${missing}`,
  async (t) => {
    const migrate = ['--failover', 'auto', '--takeover-timeout', String(DEAD_MS)];
    await play(t, { migrate, keys: { guest_agent: 1 } }, async (scene) => {
      const { guest } = scene;
      const before = await readClocks(guest);
      await kill(scene, 'A');
      await goesOn(scene);
      const after = await readClocks(guest);
      const inexactMs = before.inexactMs + after.inexactMs;
      const livedMs = after.upMs - before.upMs;
      const passedMs = after.atMs - before.atMs;
      t.log(`it lived ${livedMs.toFixed(0)} of ${passedMs.toFixed(0)} ms (give or take ${inexactMs.toFixed(0)})`);
      t.true(livedMs > 0, 'it went back');
      t.true(livedMs < passedMs - DEAD_MS / 2 + inexactMs, 'it jumped ahead');

      // By what it was off before: a guest that lives in another time stays there.
      let last = after;
      const isRight = async (): Promise<boolean> => {
        last = await readClocks(guest);
        return Math.abs(aheadMs(last) - aheadMs(before)) < DEAD_MS / 5 + before.inexactMs + last.inexactMs;
      };
      const text = (clocks: Clocks): string => `${aheadMs(clocks).toFixed(0)} (+-${clocks.inexactMs.toFixed(0)})`;
      await until('the wall clock is set right', isRight).catch((error: unknown) => {
        t.fail(`${String(error)}: it was ${text(before)} ms ahead, and is ${text(last)}`);
      });
      t.log(`its wall clock was ${text(before)} ms ahead of the host's before, and is ${text(last)} ms`);
      t.regex(guest.log('B'), /the guest's clock was \d+ ms behind by its pauses, and was set right/);
    });
  },
);
