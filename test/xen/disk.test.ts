import { createGuest, GUEST_READY, waitForGuestConsole } from './guest.js';
import { NestedNode } from './nested-node.js';
import { runInGuest, ServedDevices } from './served-devices.js';
import { missing, xenTest } from './xen-test.js';

const TIMEOUT_MS = 300_000;
const IMAGE = '/var/tmp/disk.img';
const ENTRY = `access=rw,script=block-kemari,target=${IMAGE}`;
const BYTES = 40 * 65_536;

xenTest(
  `a guest of stock xl writes, flushes and reads through our block back-end, and what ends leaves nothing${missing}`,
  async (t) => {
    t.timeout(1_800_000);
    const node = await NestedNode.boot('disk');
    try {
      await node.expect(`truncate -s 16M ${IMAGE}`, TIMEOUT_MS);
      const served = await ServedDevices.start(node);
      const domid = await createGuest(node, { name: 'blk', disks: [`vdev=xvda,${ENTRY}`] });
      await waitForGuestConsole(node, 'blk', GUEST_READY);

      const written = await runInGuest(
        node,
        'blk',
        'dd if=/dev/urandom of=/tmp/r bs=64k count=40 2>/dev/null; dd if=/tmp/r of=/dev/xvda bs=256k conv=fsync 2>/dev/null; said=$(md5sum </tmp/r)',
        'WRITTEN',
      );
      t.regex(written, /^[0-9a-f]{32}/);
      t.is((await node.expect(`head -c ${BYTES} ${IMAGE} | md5sum`, TIMEOUT_MS)).trim(), written);
      const read = await runInGuest(
        node,
        'blk',
        'echo 3 >/proc/sys/vm/drop_caches; said=$(dd if=/dev/xvda bs=64k count=40 2>/dev/null | md5sum)',
        'READ',
      );
      t.is(read, written);

      // Taken out and put in again while the guest runs, as an operator does.
      await node.expect('xl block-detach blk xvda', TIMEOUT_MS);
      t.is(await node.expect('xenstore-ls /local/domain/0/backend/vbd 2>/dev/null || true', TIMEOUT_MS), '');
      await node.expect(`xl block-attach blk 'vdev=xvdb,${ENTRY}'`, TIMEOUT_MS);
      t.is(
        await runInGuest(node, 'blk', 'said=$(dd if=/dev/xvdb bs=64k count=40 2>/dev/null | md5sum)', 'AGAIN'),
        written,
      );
      // A disk that is not there is refused in words, and xl takes it back.
      const nothing = await node.run(
        "xl block-attach blk 'vdev=xvdc,script=block-kemari,target=/var/tmp/none'",
        TIMEOUT_MS,
      );
      t.not(nothing.status, 0);
      t.regex(nothing.output, /No such file|cannot open/);

      await node.expect('xl destroy blk', TIMEOUT_MS);
      t.is((await node.run(`xl list ${domid}`, TIMEOUT_MS)).status, 1);
      t.is(await node.expect('xenstore-ls /local/domain/0/backend/vbd 2>/dev/null || true', TIMEOUT_MS), '');
      // No page, no event channel, no descriptor of the disk.
      t.is(await served.openFiles(['gntdev', 'evtchn', 'disk.img']), 0);
      await served.end();
    } finally {
      await node.kill();
    }
  },
);
