import { createGuest, GUEST_READY, typeIntoGuest, waitForGuestConsole } from './guest.js';
import { NestedNode } from './nested-node.js';
import { missing, xenTest } from './xen-test.js';

const TIMEOUT_MS = 300_000;
const IMAGE = '/var/tmp/disk.img';
const ENTRY = `access=rw,script=block-kemari,target=${IMAGE}`;
const BYTES = 40 * 65_536;

/** Starts test/xen/disk-server.ts in dom0; what it says is in /tmp/disk-server.log. */
async function serveDisks(node: NestedNode): Promise<void> {
  await node.expect(
    [
      `cp /srv/kemari/scripts/xen/block-kemari /etc/xen/scripts/ && truncate -s 16M ${IMAGE}`,
      'node /srv/kemari/dist/test/xen/disk-server.js >/tmp/disk-server.log 2>&1 & echo $! >/tmp/disk-server.pid',
      'until grep -q -s serving /tmp/disk-server.log; do kill -0 $(cat /tmp/disk-server.pid) && sleep 0.2; done',
    ].join('\n'),
    TIMEOUT_MS,
  );
}

/** Runs a line in the guest's shell; returns what stands behind `answer` when it says so. */
async function ask(node: NestedNode, name: string, line: string, answer: string): Promise<string> {
  // The shell shows what was typed: the word is not in it.
  await typeIntoGuest(node, name, `${line}; echo "${answer[0]!}""${answer.slice(1)} $said"`);
  await waitForGuestConsole(node, name, `^${answer} `);
  const found = await node.expect(`grep -m 1 '^${answer} ' /var/log/xen/guest-${name}.log`, TIMEOUT_MS);
  return found.slice(answer.length + 1).trim();
}

xenTest(
  `a guest of stock xl writes, flushes and reads through our block back-end, and what ends leaves nothing${missing}`,
  async (t) => {
    t.timeout(1_800_000);
    const node = await NestedNode.boot('disk');
    try {
      await serveDisks(node);
      const domid = await createGuest(node, { name: 'blk', disks: [`vdev=xvda,${ENTRY}`] });
      await waitForGuestConsole(node, 'blk', GUEST_READY);

      const written = await ask(
        node,
        'blk',
        'dd if=/dev/urandom of=/tmp/r bs=64k count=40 2>/dev/null; dd if=/tmp/r of=/dev/xvda bs=256k conv=fsync 2>/dev/null; said=$(md5sum </tmp/r)',
        'WRITTEN',
      );
      t.regex(written, /^[0-9a-f]{32}/);
      t.is((await node.expect(`head -c ${BYTES} ${IMAGE} | md5sum`, TIMEOUT_MS)).trim(), written);
      const read = await ask(
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
      t.is(await ask(node, 'blk', 'said=$(dd if=/dev/xvdb bs=64k count=40 2>/dev/null | md5sum)', 'AGAIN'), written);
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
      const left = 'ls -l /proc/$(cat /tmp/disk-server.pid)/fd | grep -c -e gntdev -e evtchn -e disk.img; true';
      t.is((await node.expect(left, TIMEOUT_MS)).trim(), '0');
      await node.expect(
        'kill $(cat /tmp/disk-server.pid); until grep -q ended /tmp/disk-server.log; do sleep 0.2; done',
        TIMEOUT_MS,
      );
    } finally {
      await node.kill();
    }
  },
);
