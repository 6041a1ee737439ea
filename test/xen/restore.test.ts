import { askGuest, createGuest, GUEST_READY, keepGuestBusy, waitForGuestConsole } from './guest.js';
import type { MoveReport } from './move-guest.js';
import { NestedNode } from './nested-node.js';
import { missing, xenTest } from './xen-test.js';

const EPOCHS = 5;
const COMMAND_TIMEOUT_MS = 240_000;
const MOVE_TIMEOUT_MS = 1_200_000;

xenTest(
  `a guest of Xen that was only paused goes on in another domain where its last checkpoint left off${missing}`,
  async (t) => {
    t.timeout(3_600_000);
    const node = await NestedNode.boot('restore');
    try {
      await createGuest(node, { name: 'alive', vcpus: 2 });
      await waitForGuestConsole(node, 'alive', GUEST_READY);
      await keepGuestBusy(node, 'alive');
      const before = await askGuest(node, 'alive', 'before');

      const said = await node.expect(
        `node /srv/kemari/dist/test/xen/move-guest.js alive moved ${EPOCHS}`,
        MOVE_TIMEOUT_MS,
      );
      const report = JSON.parse(said) as MoveReport;
      t.log(said);
      t.is(report.pausesUs.length, EPOCHS);
      t.not((await node.run('xl domid alive', COMMAND_TIMEOUT_MS)).status, 0);

      const after = await askGuest(node, 'moved', 'after');
      t.is(after.bootId, before.bootId);
      t.true(after.count > before.count);
      t.true(after.uptimeSeconds > before.uptimeSeconds);
      // Not only the shell: what it had begun goes on, by timers and on both processors.
      const later = await askGuest(node, 'moved', 'later');
      t.true(later.count > after.count);
      t.true(later.uptimeSeconds > after.uptimeSeconds);
      t.regex(await node.expect('xl list moved', COMMAND_TIMEOUT_MS), /moved +\d+ +\d+ +2 +[r-][b-]-+ /);

      // What is no checkpoint of Xen's makes no guest.
      const wrong = await node.run(
        `node -e "const { addon } = await import('/srv/kemari/dist/src/native/addon.js'); new addon.XenDomain({ domid: ${report.domid} }).restore(Buffer.alloc(64))" --input-type=module`,
        COMMAND_TIMEOUT_MS,
      );
      t.not(wrong.status, 0);
      t.regex(wrong.output, /KEMARI_XEN_CONTEXT/);
    } finally {
      await node.kill();
    }
  },
);
