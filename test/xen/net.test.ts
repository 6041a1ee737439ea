import { createGuest, GUEST_READY, waitForGuestConsole } from './guest.js';
import { NestedNode } from './nested-node.js';
import { runInGuest, ServedDevices } from './served-devices.js';
import { missing, xenTest } from './xen-test.js';

const TIMEOUT_MS = 300_000;
const BYTES = 4 << 20;
/** The longest frame of an Ethernet link. */
const LINK_BYTES = 1_514;
/** How many dom0 has got. */
const ECHO_REQUESTS = "awk '/^Icmp: [0-9]/ { print $10 }' /proc/net/snmp";

interface Stats {
  readonly gate: { readonly held: number };
  readonly xenbr0: {
    readonly txFrames: number;
    readonly txBytes: number;
    readonly rxFrames: number;
    readonly rxBytes: number;
  };
}

/** A vif on bridge `xenbr<n>`, on which dom0 is 10.9.n.1. */
function entry(n: number): string {
  return `mac=00:16:3e:00:09:0${n},bridge=xenbr${n},script=vif-kemari`;
}

async function makeBridges(node: NestedNode): Promise<void> {
  // An input that neither says anything nor ends: nc goes when it does.
  await node.expect('mkfifo /tmp/quiet', TIMEOUT_MS);
  await node.expect(
    [0, 1]
      .map(
        (n) =>
          `ip link add xenbr${n} type bridge && ip addr add 10.9.${n}.1/24 dev xenbr${n} && ip link set xenbr${n} up`,
      )
      .join(' && '),
    TIMEOUT_MS,
  );
}

xenTest(
  `a guest of stock xl speaks through our network back-end; what is held leaves from the cut, once${missing}`,
  async (t) => {
    t.timeout(1_800_000);
    const node = await NestedNode.boot('net');
    const inGuest = async (line: string, answer: string): Promise<string> => runInGuest(node, 'net', line, answer);
    try {
      await makeBridges(node);
      const served = await ServedDevices.start(node);
      const stats = async (): Promise<Stats> => (await served.command('stats')) as Stats;
      await createGuest(node, { name: 'net', vcpus: 2, vifs: [entry(0), entry(1)] });
      await waitForGuestConsole(node, 'net', GUEST_READY);
      const up = (n: number): string => `ip addr add 10.9.${n}.2/24 dev eth${n}; ip link set eth${n} up`;
      const ping = (n: number): string => `said=$(ping -c 3 -W 30 10.9.${n}.1 | grep -c "bytes from")`;

      t.is(await inGuest(`${up(0)}; ${ping(0)}`, 'PING0'), '3');
      t.is(await inGuest(`${up(1)}; ${ping(1)}`, 'PING1'), '3');

      // Streams both ways arrive whole, in frames that are longer than the link's.
      const before = (await stats()).xenbr0;
      await node.expect('busybox nc -l -p 5000 <>/tmp/quiet >/tmp/out 2>/dev/null & echo', TIMEOUT_MS);
      const sent = await inGuest(
        `dd if=/dev/urandom of=/tmp/r bs=64k count=${BYTES >> 16} 2>/dev/null; nc 10.9.0.1 5000 </tmp/r; said=$(md5sum </tmp/r)`,
        'SENT',
      );
      await node.expect(`until [ $(stat -c %s /tmp/out) = ${BYTES} ]; do sleep 0.1; done`, TIMEOUT_MS);
      t.is((await node.expect('md5sum </tmp/out', TIMEOUT_MS)).trim(), sent);
      const between = (await stats()).xenbr0;
      await node.expect(
        'until timeout 60 busybox nc 10.9.0.2 5001 </tmp/out; do sleep 0.2; done >/dev/null 2>&1 & echo',
        TIMEOUT_MS,
      );
      t.is(await inGuest('said=$(nc -l -p 5001 | md5sum)', 'RECEIVED'), sent);
      const after = (await stats()).xenbr0;
      const [out, back] = [between.txBytes - before.txBytes, after.rxBytes - between.rxBytes];
      t.true(
        out > BYTES && out / (between.txFrames - before.txFrames) > LINK_BYTES,
        JSON.stringify({ before, between }),
      );
      t.true(
        back > BYTES && back / (after.rxFrames - between.rxFrames) > LINK_BYTES,
        JSON.stringify({ between, after }),
      );

      // An echo request that is held when the host dies leaves on the next one, while the guest still stands.
      const requests = async (): Promise<number> => Number(await node.expect(ECHO_REQUESTS, TIMEOUT_MS));
      // Each knows the other's address now.
      t.is(await inGuest(ping(0), 'PING2'), '3');
      await served.command('close');
      const arrived = await requests();
      const { held } = (await stats()).gate;
      t.is(await inGuest('said=$(ping -c 1 -W 2 10.9.0.1 | grep -c "bytes from")', 'HELD'), '0');
      t.true((await stats()).gate.held > held);
      t.is(await requests(), arrived);
      await node.expect('xl pause net', TIMEOUT_MS);
      await served.command('cut /tmp/cut');
      await served.replace('/tmp/cut');
      await node.expect(`until [ $(${ECHO_REQUESTS}) -gt ${arrived} ]; do sleep 0.2; done`, TIMEOUT_MS);
      await node.expect('xl unpause net', TIMEOUT_MS);
      t.is(await inGuest(ping(0), 'PING3'), '3');
      t.is(await inGuest(ping(1), 'PING4'), '3');
      t.is(await requests(), arrived + 1 + 3 + 3, 'each once');

      // Taken out while the guest runs, as an operator does.
      const left =
        'xenstore-ls /local/domain/0/backend/vif 2>/dev/null | grep -c state; ls /sys/class/net | grep -c vif; true';
      await node.expect('xl network-detach net 1', TIMEOUT_MS);
      t.is(await node.expect(left, TIMEOUT_MS), '1\n1\n');

      await node.expect('xl destroy net', TIMEOUT_MS);
      t.is(await node.expect(left, TIMEOUT_MS), '0\n0\n');
      t.is(await served.openFiles(['gntdev', 'evtchn', 'net/tun']), 0);
      await served.end();
    } finally {
      await node.kill();
    }
  },
);
