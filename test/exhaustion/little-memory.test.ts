import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { execa } from 'execa';
import { isRunning, identifyProcess } from '../../src/host/process-identity.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';
import { goesOn, keepsItsWord, MANUAL, play, until, type Scene } from '../fixtures/two-hosts.js';
import { MEMORY_GROUP_MISSING, MemoryGroup } from './memory-group.js';

const TEST_TIMEOUT_MS = 240_000;
const MIB = 1 << 20;
const BYTES_PER_KIB = 1024;
/** What a standby may take more, once it stands by, of what the guest then writes. */
const LEFT_BYTES = 24 * MIB;
const WRITTEN_MIB = 64;

const groupTest = MEMORY_GROUP_MISSING === undefined ? longGuestTest : test.serial.skip;
const groupMissing = MEMORY_GROUP_MISSING === undefined ? missing : `${missing} [needs ${MEMORY_GROUP_MISSING}]`;

/** Epochs this far apart are as large as epochs get. */
const RARE = ['--remus', '--interval', '3000', '--max-age', '3000', ...MANUAL] as const;
const PREPARE = `echo kept >/dev/shm/kept && dd if=/dev/urandom of=/dev/shm/from bs=1M count=${WRITTEN_MIB}`;

/** The guest writes what its standby has no room for; returns once protection has ended. */
async function write({ guest }: Scene): Promise<void> {
  const { dmPid } = await guest.info('B');
  const restore = identifyProcess(dmPid)!;
  // Its answer is held until it is known that nobody else answers.
  await guest.run('cp /dev/shm/from /dev/shm/fill', TEST_TIMEOUT_MS / 2);
  await until('the end of protection', async () => (await guest.info('A')).protection === undefined);
  await until('the end of the standby', () => !isRunning(restore));
}

/** The guest has kept all, and its standby's daemon takes the next one. */
async function keptAll(t: ExecutionContext, scene: Scene): Promise<void> {
  const { guest } = scene;
  await goesOn(scene);
  t.is(await guest.run('cat /dev/shm/kept; stat -c %s /dev/shm/fill'), `kept\n${WRITTEN_MIB * MIB}\n`);
  await guest.protect('A', ...MANUAL);
  await keepsItsWord(t, scene);
}

groupTest(
  `a standby that its kernel kills for want of memory is known dead: the guest goes on, unprotected, and its host says so${groupMissing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const group = MemoryGroup.make(t);
    await play(t, { migrate: false }, async (scene) => {
      const { guest } = scene;
      await guest.run(PREPARE, TEST_TIMEOUT_MS / 2);
      await guest.protect('A', ...RARE);
      group.limitBytes = LEFT_BYTES;
      group.add((await guest.info('B')).dmPid);
      await write(scene);
      t.true(group.killed > 0);
      t.regex(guest.log('A'), /the domain runs unprotected: the standby's process is confirmed dead/);
      await keptAll(t, scene);
    });
  },
);

longGuestTest(
  `a standby that is refused memory gives up with the reason, the guest goes on, unprotected, and its host says so${missing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    await play(t, { migrate: false }, async (scene) => {
      const { guest } = scene;
      await guest.run(PREPARE, TEST_TIMEOUT_MS / 2);
      await guest.protect('A', ...RARE);
      await limitData((await guest.info('B')).dmPid, LEFT_BYTES);
      await write(scene);
      t.regex(guest.log('B'), /this host stands by no more: .*\[KEMARI_LINK_MEMORY\]/);
      t.regex(guest.log('A'), /the standby: the link is lost: no memory .*\[KEMARI_LINK_MEMORY\]/);
      t.regex(guest.log('A'), /the domain runs unprotected: the standby gave the domain up/);
      await keptAll(t, scene);
    });
  },
);

/** Leaves a process so much more memory of its own (setrlimit(2), RLIMIT_DATA). */
async function limitData(pid: number, moreBytes: number): Promise<void> {
  const kib = /^VmData:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  await execa('prlimit', ['--pid', String(pid), `--data=${Number(kib) * BYTES_PER_KIB + moreBytes}`]);
}
