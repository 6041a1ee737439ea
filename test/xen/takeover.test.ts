import { keptItsWord, keptItsWrites } from '../fixtures/kept-word.js';
import { createGuest, GUEST_READY, waitForGuestConsole } from './guest.js';
import { GuestTalk } from './guest-talk.js';
import { BRIDGE, kemari, SHARED_DISK, XenPair } from './xen-pair.js';
import { missing, xenTest } from './xen-test.js';

const TIMEOUT_MS = 600_000;
/** On emulated processors that others use, too, silence of some seconds says nothing. */
const TAKEOVER_TIMEOUT_MS = 20_000;
const ANSWERS = 40;
const LOG = '/var/log/kemari/kept.log';
const BOOT_ID = 'cat /proc/sys/kernel/random/boot_id';

/** The fence of a test that has pulled the first host's plug itself. */
const FENCE = 'true';

for (const [title, fence, flags] of [
  ['by an operator who says so', undefined, ''],
  ['by itself, behind a fence, at the second attempt: its disk was not there', FENCE, '--failover auto'],
] as const) {
  xenTest(`a guest of stock xl goes on at its standby when its host is killed: ${title}${missing}`, async (t) => {
    t.timeout(3_600_000);
    const pair = await XenPair.boot(fence);
    const { first, second, image } = pair;
    try {
      await createGuest(first, {
        ...{ name: 'kept', disks: [`vdev=xvda,${XenPair.entry}`], vifs: [XenPair.vif], cmdline: GuestTalk.cmdline },
      });
      await waitForGuestConsole(first, 'kept', GUEST_READY);
      // The client is where the guest will be: what it hears now comes by the cable, later it cannot.
      const talk = await GuestTalk.start(second, BRIDGE);
      await talk.untilAnswered(ANSWERS);
      const bootId = await talk.run(BOOT_ID);

      // By its name, as xl has it; disk and NIC change hands while the guest uses them.
      const timeout = `--takeover-timeout ${TAKEOVER_TIMEOUT_MS}`;
      const said = await kemari(
        first,
        `migrate kept ${XenPair.address(2)} --kemari --detach ${timeout} ${flags}`,
        TIMEOUT_MS,
      );
      t.regex(said, /stays protected/);
      await talk.untilAnswered(ANSWERS);
      const waits = /kept +\d+ +\d+ +1 +--p---/;
      t.regex(await second.expect('xl list kept', TIMEOUT_MS), waits, 'it waits');

      if (fence !== undefined) await second.expect(`mv ${SHARED_DISK} ${SHARED_DISK}.away`, TIMEOUT_MS);
      await first.kill();
      if (fence === undefined) {
        await second.expect('kill -HUP $(pgrep -x -f "xc_kemari_restore kept")', TIMEOUT_MS);
      } else {
        await second.expect(`until grep -q takeover-failed ${LOG}; do sleep 0.5; done`, TIMEOUT_MS);
        t.regex(await second.expect('xl list kept', TIMEOUT_MS), waits, 'the only copy is kept, and does not run');
        await second.expect(`mv ${SHARED_DISK}.away ${SHARED_DISK}`, TIMEOUT_MS);
      }
      await second.expect(`until grep -q "the guest runs here," ${LOG}; do sleep 0.5; done`, TIMEOUT_MS);
      await talk.untilAnswered(ANSWERS);
      t.is(await talk.run(BOOT_ID), bootId);
      t.notRegex(await second.expect(`cat ${LOG}`, TIMEOUT_MS), /KEMARI_NO_EPOCH/);
      const log = await second.expect(`grep -h "the guest runs here," ${LOG}`, TIMEOUT_MS);
      t.log(/the guest runs here, [^"]*/.exec(log)?.[0]);

      // The same connection, no message lost or heard twice, and every write that was acknowledged is on the disk.
      const report = await talk.end();
      t.log(
        `answered: ${report.answered}, writes: ${report.acknowledged.length}, longest gap: ${report.longestGapMs} ms`,
      );
      keptItsWord(t, report);
      await talk.run('(sleep 1; poweroff) >/dev/null 2>&1 &');
      await second.expect('while xl domid kept >/dev/null 2>&1; do sleep 0.5; done', TIMEOUT_MS);
      await keptItsWrites(t, image, report);
      const remains =
        'for type in vbd vif; do xenstore-ls /local/domain/0/backend/$type 2>/dev/null; done; ls /sys/class/net | grep vif; true';
      t.is(await second.expect(remains, TIMEOUT_MS), '');
    } finally {
      await pair.end();
    }
  });
}
