import { isRunning, identifyProcess } from '../../src/host/process-identity.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';
import { goesOn, keepsItsWord, MANUAL, play, until } from '../fixtures/two-hosts.js';
import { MemoryGroup } from './memory-group.js';

const TEST_TIMEOUT_MS = 240_000;
const MIB = 1 << 20;
/** What a standby may take more, once it stands by, of what the guest then writes. */
const LEFT_BYTES = 24 * MIB;
const WRITTEN_MIB = 96;

longGuestTest(
  `a standby that its kernel kills for want of memory is known dead: the guest goes on, unprotected, and its host says so${missing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const group = MemoryGroup.make(t);
    if (typeof group === 'string') {
      t.log(`skipped: ${group}`);
      t.pass();
      return;
    }
    await play(t, { migrate: MANUAL }, async (scene) => {
      const { guest } = scene;
      await guest.run('echo kept >/dev/shm/kept');
      const { dmPid } = await guest.info('B');
      const restore = identifyProcess(dmPid)!;
      group.limitBytes = LEFT_BYTES;
      group.add(dmPid);
      // Its answer is held until it is known that nobody else answers.
      await guest.run(`dd if=/dev/urandom of=/dev/shm/fill bs=1M count=${WRITTEN_MIB}`, TEST_TIMEOUT_MS / 2);
      await until('the end of protection', async () => (await guest.info('A')).protection === undefined);
      t.true(group.killed > 0);
      t.false(isRunning(restore));
      t.regex(guest.log('A'), /the domain runs unprotected: the standby's process is confirmed dead/);
      await goesOn(scene);
      const kept = await guest.run('cat /dev/shm/kept; stat -c %s /dev/shm/fill');
      t.is(kept, `kept\n${WRITTEN_MIB * MIB}\n`);
      // The standby's daemon is not what was killed: it takes the next one.
      await guest.protect('A', ...MANUAL);
      await keepsItsWord(t, scene);
    });
  },
);
