import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGuest, GUEST_READY, waitForGuestConsole } from './guest.js';
import { NestedNode } from './nested-node.js';
import { missing, xenTest } from './xen-test.js';

const COMMAND_TIMEOUT_MS = 60_000;

xenTest(`a guest that stock xl creates on our Xen reaches userspace, with shadow page tables${missing}`, async (t) => {
  t.timeout(600_000);
  const node = await NestedNode.boot('solo');
  try {
    t.regex(await node.expect('xl info', COMMAND_TIMEOUT_MS), /xen_version +: 4\.17\./);
    t.deepEqual(await node.run('echo said; echo wrong >&2; exit 7', COMMAND_TIMEOUT_MS), {
      status: 7,
      output: 'said\nwrong\n',
    });
    const domid = await createGuest(node, { name: 'web' });
    await waitForGuestConsole(node, 'web', GUEST_READY);
    t.regex(await node.expect('xl list', COMMAND_TIMEOUT_MS), new RegExp(`^web +${domid} +`, 'm'));
  } finally {
    await node.kill();
  }
});

xenTest(
  `of two nodes on one cable the other goes on when one is killed, and nothing of either is left${missing}`,
  async (t) => {
    t.timeout(600_000);
    const folder = mkdtempSync(join(tmpdir(), 'kemari-xen-cable-'));
    const path = join(folder, 'socket');
    const booting = await Promise.allSettled([
      NestedNode.boot('first', { cable: { path, end: 'listens' } }),
      NestedNode.boot('second', { cable: { path, end: 'connects' } }),
    ]);
    const nodes = booting.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const pids = nodes.map((node) => node.pid);
    try {
      for (const one of booting) if (one.status === 'rejected') throw one.reason;
      const [first, second] = nodes as [NestedNode, NestedNode];
      await first.expect('ip link set eth0 up && ip address add 10.78.0.1/24 dev eth0', COMMAND_TIMEOUT_MS);
      await second.expect('ip link set eth0 up && ip address add 10.78.0.2/24 dev eth0', COMMAND_TIMEOUT_MS);
      await second.expect('busybox ping -c 3 -W 10 10.78.0.1', COMMAND_TIMEOUT_MS);

      const asked = t.throwsAsync(first.run('sleep 600', COMMAND_TIMEOUT_MS * 10), { message: /first was killed/ });
      await first.kill();
      await asked;
      t.is((await second.run('busybox ping -c 1 -W 2 10.78.0.1', COMMAND_TIMEOUT_MS)).status, 1);
    } finally {
      for (const node of nodes) await node.kill();
      rmSync(folder, { recursive: true, force: true });
    }
    for (const pid of pids) t.false(isQemu(pid), `QEMU ${pid} is left`);
    for (const one of nodes) t.false(existsSync(one.folder), `${one.folder} is left`);
  },
);

/** Whether this process is there, and still what was started. */
function isQemu(pid: number | undefined): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('kemari-xen-');
  } catch {
    return false;
  }
}
