import type { ExecutionContext } from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { MAX_UNACKED_BYTES } from '../../src/engine/policy.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';
import { processUse } from '../fixtures/process-use.js';
import type { CopyInfo } from '../../src/host/contract.js';
import { GUEST_NAME } from '../../src/stage/staged-guest.js';
import { HOST_ADDRESSES } from '../../src/stage/topology.js';
import { goesOn, isProtected, keepsItsWord, MANUAL, play, until, type Scene } from '../fixtures/two-hosts.js';

const TEST_TIMEOUT_MS = 300_000;
const MIB = 1 << 20;
const WRITTEN_MIB = 24;
/** Far more than a link that keeps up ever shows; 24 MiB take 200 s at 1 Mbit/s. */
const FALLEN_BEHIND_MS = 8_000;
/** What waits for the link, its copies for encoding and sending, and the deltas' cache. */
const MORE_MIB = MAX_UNACKED_BYTES / MIB + 192;

/** The first copy of memory would take at least so long. */
const COPY_S = 5;
/** Longer than a renewal of the lease waits behind the pages on such a link. */
const PATIENT = ['--failover', 'manual', '--takeover-timeout', '8000'] as const;

/** On a link that is too slow protection is refused, or takes its time and says how much; the guest goes on. */
async function beginsInVain(t: ExecutionContext, scene: Scene): Promise<void> {
  const { stage, guest } = scene;
  await stage.cables.shape('sync', '1mbit');
  const migrate = ['migrate', GUEST_NAME, HOST_ADDRESSES.B.sync, '--kemari', '--detach'];
  await t.throwsAsync(guest.kemari('A', ...migrate, ...MANUAL), { message: /a slow link needs a longer one/ });
  await forgotten(scene);
  const ended = t.throwsAsync(guest.kemari('A', ...migrate, ...PATIENT), { message: /called off/ });
  const copying = async (): Promise<CopyInfo | undefined> => (await guest.info('A')).protection?.copying;
  let slow: CopyInfo | undefined;
  await until('how long copying will take', async () => {
    slow = await copying();
    return (slow?.secondsLeft ?? 0) > COPY_S;
  });
  t.log(`copying: ${slow?.pagesLeft} pages left, about ${slow?.secondsLeft?.toFixed(0)} s`);
  await goesOn(scene);
  t.not(await copying(), undefined);
  await guest.kemari('A', 'unprotect', GUEST_NAME);
  await ended;
  t.is((await guest.info('A')).protection, undefined);
  await stage.cables.shape('sync', undefined);
  await forgotten(scene);
}

/** What was said last to the standby travels behind all that was sent before. */
async function forgotten({ guest }: Scene): Promise<void> {
  await until('the standby has forgotten it', async () => (await guest.kemari('B', 'list', '--json')).trim() === '[]');
}

longGuestTest(
  `a sync link of 1 Mbit/s takes bounded memory and no state: the guest waits, and goes on when the link is fast again${missing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    await play(t, { migrate: false }, async (scene) => {
      const { stage, guest } = scene;
      await beginsInVain(t, scene);
      await guest.protect('A', ...MANUAL);
      await isProtected(scene, 'A');
      const { dmPid } = await guest.info('A');
      const before = processUse(dmPid).anonKib;
      await guest.run('echo kept >/dev/shm/kept');
      await stage.cables.shape('sync', '1mbit');
      // The answer is held as well: it comes when the link is fast again.
      const writing = guest.run(`dd if=/dev/urandom of=/dev/shm/fill bs=1M count=${WRITTEN_MIB}`, TEST_TIMEOUT_MS);
      let [mostKib, mostUnacked] = [before, 0];
      const states = new Set<string>();
      const behind = await waitUntil(
        async () => {
          const { protection } = await guest.info('A');
          mostKib = Math.max(mostKib, processUse(dmPid).anonKib);
          mostUnacked = Math.max(mostUnacked, protection?.unackedBytes ?? 0);
          states.add(protection?.state ?? 'unprotected');
          return (protection?.lagMs ?? 0) > FALLEN_BEHIND_MS;
        },
        { timeoutMs: TEST_TIMEOUT_MS / 3, everyMs: 100 },
      );
      t.true(behind, `states: ${[...states].join(' ')}`);
      // The row says which regime holds: how far behind, at what rate.
      const row =
        (await guest.kemari('A', 'top', '--once')).split('\n').find((line) => line.startsWith(GUEST_NAME)) ?? '';
      t.log(row);
      t.regex(row, / (protected|silent) .* \d{4,} +[\d.]+ [kM]B\/s /);
      await stage.cables.shape('sync', undefined);
      await writing;
      await isProtected(scene, 'A');
      const { epoch } = (await guest.info('A')).protection!;
      await until('epochs go on', async () => Number((await guest.info('A')).protection!.ackedEpoch) > Number(epoch));
      await goesOn(scene);
      t.is(await guest.run('cat /dev/shm/kept'), 'kept\n');
      t.is((await guest.run('stat -c %s /dev/shm/fill')).trim(), String(WRITTEN_MIB * MIB));
      const moreMib = (mostKib - before) / 1024;
      t.log(
        `${[...states].join(', ')}; at most ${(mostUnacked / MIB).toFixed(0)} MiB unacknowledged, ${moreMib.toFixed(0)} MiB more`,
      );
      t.true(moreMib < MORE_MIB, `${moreMib} MiB more`);
      t.false(states.has('unprotected'));
      await keepsItsWord(t, scene);
    });
  },
);
