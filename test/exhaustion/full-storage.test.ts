import type { ExecutionContext } from 'ava';
import type { DomainSummary } from '../../src/commands/list.js';
import { GUEST_NAME } from '../../src/stage/staged-guest.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';
import { processUse } from '../fixtures/process-use.js';
import { AUTO, goesOn, isProtected, keepsItsWord, kill, MANUAL, play, until } from '../fixtures/two-hosts.js';

const TEST_TIMEOUT_MS = 240_000;
const MIB = 1 << 20;
const SIZE_MIB = 64;
const ROOM_MIB = 16;
const KEPT_MIB = 8;

/** What the cache for deltas (64 MiB) may have come to take meanwhile, and requests that storage does not take. */
const MORE_MIB = 128;

/** As much as a guest can have under way: written behind its page cache, again and again. */
const FLOOD = 'while :; do dd if=/dev/urandom of=/root/flood bs=1M count=32 conv=notrunc && sync; done';

/** Each block past the page cache, on storage when the command ends. */
const WRITE = 'dd if=/dev/urandom of=/dev/vdb bs=1M oflag=direct conv=notrunc';
const SUM_KEPT = `dd if=/dev/vdb bs=1M count=${KEPT_MIB} iflag=direct 2>/dev/null | md5sum`;

/** A process's own memory, as it is and against what it was. */
class Memory {
  readonly #pid: number;
  readonly #beforeKib: number;

  constructor(pid: number) {
    this.#pid = pid;
    this.#beforeKib = processUse(pid).anonKib;
  }

  isBounded(t: ExecutionContext): void {
    const moreMib = (processUse(this.#pid).anonKib - this.#beforeKib) / 1024;
    t.log(`kemari-dm takes ${moreMib.toFixed(1)} MiB more`);
    t.true(moreMib < MORE_MIB, `${moreMib} MiB more`);
  }
}

longGuestTest(
  `storage that is full fails the guest's writes and nothing else, in bounded memory: what was acknowledged is kept, across a takeover, and writes go on once there is room${missing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const fullDisk = { sizeBytes: SIZE_MIB * MIB, roomBytes: ROOM_MIB * MIB };
    await play(t, { migrate: AUTO, fullDisk }, async (scene) => {
      const { stage, guest } = scene;
      await guest.run(`${WRITE} count=${KEPT_MIB}`);
      const kept = await guest.run(SUM_KEPT);
      const memory = new Memory((await guest.info('A')).dmPid);
      const fails = `${WRITE} seek=${KEPT_MIB} count=${SIZE_MIB - KEPT_MIB} 2>&1 && echo written`;
      const { status, output } = await guest.shell.run(fails, TEST_TIMEOUT_MS / 2);
      t.not(status, 0);
      t.regex(output, /Input\/output error|No space left/);
      await isProtected(scene, 'A');
      memory.isBounded(t);
      t.true((await guest.info('A')).disks[1]!.errors > 0);
      t.regex(guest.log('A'), /disk1: write of \d+ bytes at byte \d+ failed: No space left on device/);
      await goesOn(scene);

      await kill(scene, 'A');
      await goesOn(scene);
      t.is(await guest.run(SUM_KEPT), kept);
      t.not((await guest.shell.run(fails, TEST_TIMEOUT_MS / 2)).status, 0);
      await stage.storage.enlarge(guest.disks[1]!, 2 * SIZE_MIB * MIB);
      await guest.run(`${WRITE} seek=${KEPT_MIB} count=${SIZE_MIB - KEPT_MIB}`, TEST_TIMEOUT_MS / 2);
      t.is(await guest.run(SUM_KEPT), kept);
      await keepsItsWord(t, scene);
      await guest.kemari('B', 'destroy', GUEST_NAME);
    });
  },
);

longGuestTest(
  `storage that never comes back is told of, takes bounded memory, is shown as what blocks the guest, and keeps nobody from destroying it${missing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    await play(t, { migrate: MANUAL }, async (scene) => {
      const { stage, guest, conversation } = scene;
      const memory = new Memory((await guest.info('A')).dmPid);
      await guest.run(`(${FLOOD}) >/dev/null 2>&1 &`);
      const underWay = async (): Promise<number> => (await guest.info('A')).disks[0]!.inFlight;
      await until('writes are under way', async () => (await underWay()) > 0);
      await stage.cables.cut('storage');
      const summary = async (): Promise<DomainSummary | undefined> =>
        (JSON.parse(await guest.kemari('A', 'list', '--json')) as DomainSummary[])[0];
      await until('list shows it', async () => (await summary())?.storageSilent === true);
      t.is((await summary())?.state, 'running');
      t.regex(await guest.kemari('A', 'list'), / -b---- /);
      t.regex(await guest.kemari('A', 'top', '--once'), / -b---- /);
      t.regex(guest.log('A'), /storage has not answered for \d+ s/);
      await isProtected(scene, 'A');
      t.true((await underWay()) > 0);
      memory.isBounded(t);
      await conversation.kill();
      await guest.kemari('A', 'destroy', GUEST_NAME);
      for (const host of ['A', 'B'] as const) {
        const none = async (): Promise<boolean> => (await guest.kemari(host, 'list', '--json')).trim() === '[]';
        await until(`nothing of it is left on host ${host}`, none);
      }
    });
  },
);
