import { keptItsWord, keptItsWrites } from '../fixtures/kept-word.js';
import { GUEST_LOG, ProtectedGuest, remainsOf } from './protected-guest.js';
import { SHARED_DISK, XenPair } from './xen-pair.js';
import { missing, xenTest } from './xen-test.js';

const TIMEOUT_MS = 600_000;
const WAITS = /kept +\d+ +\d+ +1 +--p---/;

/** The fence of a test that has pulled the first host's plug itself. */
const FENCE = 'true';

for (const [title, fence, flags] of [
  ['by an operator who says so', undefined, ''],
  ['by itself, behind a fence, at the second attempt: its disk was not there', FENCE, '--failover auto'],
] as const) {
  xenTest(`a guest of stock xl goes on at its standby when its host is killed: ${title}${missing}`, async (t) => {
    t.timeout(3_600_000);
    await XenPair.play(t, fence, async (pair) => {
      const { first, second, image } = pair;
      const guest = await ProtectedGuest.start(pair);
      const bootId = await guest.bootId();
      t.regex(await guest.protect(first, 2, flags), /stays protected/);
      t.regex(await second.expect('xl list kept', TIMEOUT_MS), WAITS);

      if (fence !== undefined) await second.expect(`mv ${SHARED_DISK} ${SHARED_DISK}.away`, TIMEOUT_MS);
      await first.kill();
      if (fence === undefined) {
        await second.expect('kill -HUP $(pgrep -x -f "xc_kemari_restore kept")', TIMEOUT_MS);
      } else {
        await second.expect(`until grep -q takeover-failed ${GUEST_LOG}; do sleep 0.5; done`, TIMEOUT_MS);
        t.regex(await second.expect('xl list kept', TIMEOUT_MS), WAITS, 'the only copy is kept, and does not run');
        await second.expect(`mv ${SHARED_DISK}.away ${SHARED_DISK}`, TIMEOUT_MS);
      }
      await second.expect(`until grep -q "the guest runs here," ${GUEST_LOG}; do sleep 0.5; done`, TIMEOUT_MS);
      await guest.goesOn();
      t.is(await guest.bootId(), bootId);
      const log = await second.expect(`cat ${GUEST_LOG}`, TIMEOUT_MS);
      t.notRegex(log, /KEMARI_NO_EPOCH/);
      t.log(/the guest runs here, [^"]*/.exec(log)?.[0]);

      // The same connection, no message lost or heard twice, and every write that was acknowledged is on the disk.
      const said = await guest.talk.end();
      t.log(`answered: ${said.answered}, writes: ${said.acknowledged.length}, longest gap: ${said.longestGapMs} ms`);
      keptItsWord(t, said);
      await guest.powerOff(second);
      await keptItsWrites(t, image, said);
      t.is(await remainsOf(second), '');
    });
  });
}
