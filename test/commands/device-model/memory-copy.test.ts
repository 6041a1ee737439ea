import test from 'ava';
import {
  COPIED_PAGES,
  copyMemory,
  MAX_ROUNDS,
  PATIENT_ROUNDS,
  type CopyProgress,
} from '../../../src/commands/device-model/memory-copy.js';
import { DIRTY_LIMIT_PAGES } from '../../../src/engine/policy.js';
import type { LinkSenderStats } from '../../../src/native/link.js';

/** A guest that has so many dirty pages after each round; the last number goes on. */
function played(dirty: readonly number[], queued: readonly number[] = [0]) {
  let rounds = 0;
  let looks = 0;
  const at = (values: readonly number[], index: number): number => values[Math.min(index, values.length - 1)]!;
  return {
    capture: {
      countDirty: () => Promise.resolve(at(dirty, rounds)),
      copyRound: () => {
        const pages = at(dirty, rounds++);
        return Promise.resolve({ pages, bytes: pages * 4096, dirtyLeft: at(dirty, rounds) });
      },
    },
    link: {
      stats: () => {
        const queuedBytes = at(queued, looks++);
        const stats: Partial<LinkSenderStats> = { queuedBytes, bytesPerSecond: 1e6, pagesSent: 10, sentBytes: 40_960 };
        return stats as LinkSenderStats;
      },
    },
    rounds: () => rounds,
  };
}

const forever = new AbortController().signal;

test('copying is done when one epoch can carry the rest', async (t) => {
  const guest = played([100_000, 5000, COPIED_PAGES]);
  const seen: CopyProgress[] = [];
  const report = await copyMemory(guest.capture, guest.link, (progress) => seen.push(progress), forever);
  t.like(report, { rounds: 2, pages: 105_000, pagesLeft: COPIED_PAGES });
  t.deepEqual(
    seen.map(({ round, pagesLeft, secondsLeft }) => [round, pagesLeft, secondsLeft]),
    [
      [1, 5000, 20.48],
      [2, 512, 2.098],
    ],
  );
});

test('a guest that writes as fast as it is copied is not copied for ever', async (t) => {
  const guest = played([100_000, 50_000, 45_000]);
  const report = await copyMemory(guest.capture, guest.link, () => undefined, forever);
  t.is(report.pagesLeft, 45_000);
  t.is(guest.rounds(), 1 + 3 + PATIENT_ROUNDS);
});

test('a guest that goes on writing what any epoch may carry is protected at once', async (t) => {
  const guest = played([100_000, 8000]);
  const report = await copyMemory(guest.capture, guest.link, () => undefined, forever);
  t.like(report, { rounds: 4, pagesLeft: 8000 });
});

test('the first epoch of a guest that writes more than that begins when it writes less for a moment', async (t) => {
  const guest = played([100_000, 50_000, 45_000, 44_000, 43_000, 30_000, DIRTY_LIMIT_PAGES, 45_000]);
  const report = await copyMemory(guest.capture, guest.link, () => undefined, forever);
  t.like(report, { rounds: 6, pagesLeft: DIRTY_LIMIT_PAGES });
});

test('rounds are bounded', async (t) => {
  const shrinking = Array.from({ length: 100 }, (_, round) => Math.ceil(1e12 * 0.7 ** round));
  const guest = played(shrinking);
  await copyMemory(guest.capture, guest.link, () => undefined, forever);
  t.is(guest.rounds(), MAX_ROUNDS);
});

test('even an idle guest is copied once, and what waits to be sent is waited for', async (t) => {
  const guest = played([0], [0, 4096, 4096, 0]);
  t.is((await copyMemory(guest.capture, guest.link, () => undefined, forever)).rounds, 1);
});

test('copying that is called off ends', async (t) => {
  const abort = new AbortController();
  const guest = played([100_000], [4096]);
  const copied = copyMemory(guest.capture, guest.link, () => undefined, abort.signal);
  abort.abort(new Error('called off'));
  await t.throwsAsync(copied, { message: 'called off' });
});
