import { readFile } from 'node:fs/promises';
import { waitUntil } from '../../src/base/deadline.js';
import { countRecords, endGuestWriting, keepGuestWriting, memoryOn, recordsOn } from './disk-ledger.js';
import { askGuest, createGuest, GUEST_READY, waitForGuestConsole } from './guest.js';
import { GuestTalk } from './guest-talk.js';
import { BRIDGE, kemari, XenPair } from './xen-pair.js';
import { missing, xenTest } from './xen-test.js';

const TIMEOUT_MS = 600_000;
/** On emulated processors that others use, too, silence of some seconds says nothing. */
const TAKEOVER_TIMEOUT_MS = 20_000;
const RECORDS = 20;
const ANSWERS = 20;

/** The fence of a test that has pulled the first host's plug itself. */
const FENCE = 'true';

for (const [title, fence, flags] of [
  ['by an operator who says so', undefined, ''],
  ['by itself, behind a fence', FENCE, '--failover auto'],
] as const) {
  xenTest(`a guest of stock xl goes on at its standby when its host is killed: ${title}${missing}`, async (t) => {
    t.timeout(3_600_000);
    const pair = await XenPair.boot(fence);
    const { first, second, image } = pair;
    const moreRecords = async (): Promise<void> => {
      const enough = (await countRecords(image)) + RECORDS;
      const isEnough = async (): Promise<boolean> => (await countRecords(image)) >= enough;
      t.true(await waitUntil(isEnough, { timeoutMs: TIMEOUT_MS, everyMs: 500 }));
    };
    try {
      await createGuest(first, { name: 'kept', disks: [`vdev=xvda,${XenPair.entry}`], vifs: [XenPair.vif] });
      await waitForGuestConsole(first, 'kept', GUEST_READY);
      await keepGuestWriting(first, 'kept');
      await moreRecords();
      const before = await askGuest(first, 'kept', 'before');
      // The client is where the guest will be: what it hears now comes by the cable, later it cannot.
      const talk = await GuestTalk.start({ node: first, name: 'kept' }, { node: second, bridge: BRIDGE });
      await talk.untilAnswered(ANSWERS);

      // By its name, as xl has it; disk and NIC change hands while the guest uses them.
      const timeout = `--takeover-timeout ${TAKEOVER_TIMEOUT_MS}`;
      const said = await kemari(
        first,
        `migrate kept ${XenPair.address(2)} --kemari --detach ${timeout} ${flags}`,
        TIMEOUT_MS,
      );
      t.regex(said, /stays protected/);
      await moreRecords();
      await talk.untilAnswered(ANSWERS);
      t.regex(await second.expect('xl list kept', TIMEOUT_MS), /kept +\d+ +\d+ +1 +--p---/, 'it waits');

      await first.kill();
      const left = recordsOn(await readFile(image));
      if (fence === undefined) {
        await second.expect('kill -HUP $(pgrep -x -f "xc_kemari_restore kept")', TIMEOUT_MS);
      }
      const runs = 'until grep -q "the guest runs here," /var/log/kemari/kept.log; do sleep 0.5; done';
      await second.expect(runs, TIMEOUT_MS);
      const after = await askGuest(second, 'kept', 'after');
      t.is(after.bootId, before.bootId);
      t.true(after.count > before.count);
      await moreRecords();
      // The same connection, and no message was lost or heard twice.
      await talk.untilAnswered(ANSWERS);
      const { answered, unanswered, problems } = await talk.end();
      t.deepEqual(problems, []);
      t.is(unanswered, 0);
      t.true(answered >= 3 * ANSWERS);
      await endGuestWriting(second, 'kept', 'WRITTEN');
      await waitForGuestConsole(second, 'kept', '^WRITTEN [0-9]+');

      const disk = await readFile(image);
      const [records, remembered] = [recordsOn(disk), memoryOn(disk)];
      t.true(remembered.size >= left.size + RECORDS, `${remembered.size} remembered, ${left.size} were there`);
      // Nothing had left the first host that the guest does not know here, and nothing that it wrote is lost.
      for (const [number, sum] of left) t.is(remembered.get(number), sum, `record ${number} before the takeover`);
      for (const [number, sum] of remembered) t.is(records.get(number), sum, `record ${number}`);
      const log = await second.expect('grep -h "the guest runs here," /var/log/kemari/kept.log', TIMEOUT_MS);
      t.log(/the guest runs here, [^"]*/.exec(log)?.[0]);

      await kemari(second, 'destroy kept', TIMEOUT_MS);
      t.is((await second.run('xl domid kept', TIMEOUT_MS)).status, 1);
      const remains =
        'for type in vbd vif; do xenstore-ls /local/domain/0/backend/$type 2>/dev/null; done; ls /sys/class/net | grep vif; true';
      t.is(await second.expect(remains, TIMEOUT_MS), '');
    } finally {
      await pair.end();
    }
  });
}
