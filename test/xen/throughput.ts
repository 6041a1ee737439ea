import { createGuest, GUEST_READY, waitForGuestConsole } from './guest.js';
import { NestedNode } from './nested-node.js';
import { runInGuest, ServedDevices } from './served-devices.js';
import { XEN_MISSING } from './xen-image.js';

/**
 * A program: throughput of a guest's disk and NIC through our back-ends beside those of the kernel (xen-blkback over a
 * loop device, xen-netback), of the same guest, in turns, and prints a table. KEMARI_XEN=1 node dist/test/xen/throughput.js
 */
const TIMEOUT_MS = 600_000;
const ROUNDS = 5;
const DISK_MIB = 64;
const STREAM_MIB = 32;
const GUEST = 'rate';

if (XEN_MISSING !== undefined) throw new Error(`it needs ${XEN_MISSING}`);
const node = await NestedNode.boot('throughput');
try {
  await node.expect(
    [
      'mkfifo /tmp/quiet; modprobe -a xen-netback xen-blkback loop',
      ...[0, 1].map(
        (n) =>
          `ip link add xenbr${n} type bridge && ip addr add 10.9.${n}.1/24 dev xenbr${n} && ip link set xenbr${n} up`,
      ),
      // In memory: the same storage under both, and no other machine's.
      ...['ours', 'kernel'].map((name) => `head -c ${DISK_MIB}M /dev/zero >/tmp/${name}.img`),
      'losetup /dev/loop0 /tmp/ours.img && losetup /dev/loop1 /tmp/kernel.img',
    ].join('\n'),
    TIMEOUT_MS,
  );
  const served = await ServedDevices.start(node);
  await createGuest(node, {
    name: GUEST,
    disks: ['vdev=xvda,access=rw,script=block-kemari,target=/dev/loop0', 'phy:/dev/loop1,xvdb,w'],
    vifs: ['mac=00:16:3e:00:09:00,bridge=xenbr0,script=vif-kemari', 'mac=00:16:3e:00:09:01,bridge=xenbr1'],
  });
  await waitForGuestConsole(node, GUEST, GUEST_READY);
  let asked = 0;
  const inGuest = async (line: string): Promise<string> => runInGuest(node, GUEST, line, `ANSWER${(asked += 1)}`);
  for (const n of [0, 1])
    await inGuest(`ip addr add 10.9.${n}.2/24 dev eth${n}; ip link set eth${n} up; ping -c 1 -W 30 10.9.${n}.1`);
  await inGuest(`dd if=/dev/urandom of=/tmp/r bs=1M count=${STREAM_MIB} 2>/dev/null`);

  /** Milliseconds, by the guest's own clock. */
  const timed = async (command: string): Promise<number> =>
    Number(
      await inGuest(
        `t=$(cut -d " " -f 1 /proc/uptime); ${command} >/dev/null 2>&1; said=$(cut -d " " -f 1 /proc/uptime | awk -v t=$t "{print int((\\$1-t)*1000)}")`,
      ),
    );
  const disk = async (n: number, direction: 'read' | 'write'): Promise<number> => {
    const device = `/dev/xvd${'ab'[n]!}`;
    const ends =
      direction === 'read' ? `if=${device} of=/dev/null iflag=direct` : `if=/dev/zero of=${device} oflag=direct`;
    return (DISK_MIB * 1000) / (await timed(`dd ${ends} bs=1M count=${DISK_MIB}`));
  };
  const send = async (n: number): Promise<number> => {
    await node.expect(`busybox nc -l -p 500${n} <>/tmp/quiet >/dev/null 2>&1 & echo`, TIMEOUT_MS);
    return (STREAM_MIB * 1000) / (await timed(`nc 10.9.${n}.1 500${n} </tmp/r`));
  };
  const receive = async (n: number): Promise<number> => {
    await node.expect(`head -c ${STREAM_MIB}M /dev/zero | busybox nc -l -p 510${n} >/dev/null 2>&1 & echo`, TIMEOUT_MS);
    return (STREAM_MIB * 1000) / (await timed(`nc 10.9.${n}.1 510${n}`));
  };
  const ping = async (n: number): Promise<number> => (200 * 1000) / (await timed(`ping -q -c 200 -A 10.9.${n}.1`));

  const kinds: readonly [string, (n: number) => Promise<number>][] = [
    ['disk read, MiB/s', async (n) => disk(n, 'read')],
    ['disk write, MiB/s', async (n) => disk(n, 'write')],
    ['stream out, MiB/s', send],
    ['stream in, MiB/s', receive],
    ['echoes a second', ping],
  ];
  for (const [name, measure] of kinds) {
    const rates: [number[], number[]] = [[], []];
    for (let round = 0; round < ROUNDS; round += 1) for (const n of [0, 1] as const) rates[n].push(await measure(n));
    const [ours, kernels] = rates.map((all) => all.sort((a, b) => a - b)[ROUNDS >> 1]!) as [number, number];
    console.log(
      `${name.padEnd(20)} ours ${ours.toFixed(1).padStart(8)}  kernel ${kernels.toFixed(1).padStart(8)}  ratio ${(ours / kernels).toFixed(2)}`,
    );
  }
  await served.end();
} finally {
  await node.kill();
}
