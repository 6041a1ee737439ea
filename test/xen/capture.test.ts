import { createGuest, GUEST_READY, keepGuestBusy, waitForGuestConsole } from './guest.js';
import { NestedNode } from './nested-node.js';
import type { ReplicaReport } from './replica.js';
import { missing, xenTest } from './xen-test.js';

const CUTS = 10;
const CHECK_TIMEOUT_MS = 600_000;

xenTest(
  `a copy made of checkpoints alone equals a paused guest of Xen that has been at work, at each cut${missing}`,
  async (t) => {
    t.timeout(1_500_000);
    const node = await NestedNode.boot('capture');
    try {
      const nobody = await node.run('node /srv/kemari/dist/test/xen/replica.js 77 1', CHECK_TIMEOUT_MS);
      t.not(nobody.status, 0);
      t.regex(nobody.output, /KEMARI_XEN_GONE/);

      const domid = await createGuest(node, { name: 'busy', vcpus: 2 });
      await waitForGuestConsole(node, 'busy', GUEST_READY);
      await keepGuestBusy(node, 'busy');
      const said = await node.expect(`node /srv/kemari/dist/test/xen/replica.js ${domid} ${CUTS}`, CHECK_TIMEOUT_MS);
      const report = JSON.parse(said) as ReplicaReport;
      t.log(JSON.stringify({ ...report, pausesUs: report.pausesUs.toSorted((a, b) => a - b) }));
      t.is(report.cuts, CUTS);
      t.deepEqual(report.differing, []);
      t.true(report.pages > 32_000, `${report.pages} pages of 128 MiB`);
      t.true(report.roundPages > 32_000, `${report.roundPages} pages were sent ahead`);
      t.true(report.cutPages.every((pages) => pages > 0 && pages < report.pages / 4));
      // What tells that the comparison compares.
      t.true(report.differingAfterwards > 0);
      t.is(report.vcpuCount, 2);
      t.true(report.eventChannelCount > 4);
      t.true(report.systemTimeNs > 0);
      // Nothing of the capture is left: the guest runs, and xl may log its pages.
      t.regex(await node.expect('xl list busy', CHECK_TIMEOUT_MS), /busy +\d+ +\d+ +2 +[r-][b-]-+ /);
    } finally {
      await node.kill();
    }
  },
);
