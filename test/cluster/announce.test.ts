import { execFileSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import test from 'ava';
import { ANNOUNCE_AT_MS, announce, gratuitousArpFrame, reverseArpFrame } from '../../src/cluster/announce.js';
import { addon, type Nic } from '../../src/native/addon.js';
import { testing } from '../native/testing.js';
import { cutAt } from '../ring/moving.js';
import { NicGuest } from '../ring/nic-guest.js';
import { onStand, type Connected, type Stand } from '../ring/stand.js';

const MAC = '00:16:3e:00:00:01';
const ADDRESS = Buffer.of(10, 77, 0, 2);
const BRIDGE = 'kann0';
const FRAME_TIMEOUT_MS = 10_000;
const MAX_FRAME_BYTES = 2048;
/** CSUM, GUEST_CSUM, MRG_RXBUF (virtio 1.2 section 5.1.3). */
const NET_FEATURES = (1n << 0n) | (1n << 1n) | (1n << 15n);

function ip(...args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' });
}

function connectNic(stand: Stand, tap: string, deferred: boolean, gate = stand.gate): Connected<Nic> {
  return stand.connect(
    (socketFd, onEvent) =>
      new addon.Nic({ name: 'net', socketFd, gate, mac: MAC, tap, bridge: BRIDGE, queues: 1, deferred, onEvent }),
  );
}

test.before(() => {
  testing.unshareNetwork();
  ip('link', 'add', BRIDGE, 'up', 'type', 'bridge');
  ip('link', 'add', 'kann1', 'type', 'veth', 'peer', 'name', 'kann2');
  ip('link', 'set', 'kann1', 'master', BRIDGE, 'up');
  ip('link', 'set', 'kann2', 'up');
});

test('a RARP asks who its sender is, from the guest to everyone', (t) => {
  t.is(
    reverseArpFrame(MAC).toString('hex'),
    `ffffffffffff00163e000001803500010800060400030016 3e00000100000000 00163e000001 00000000`.replaceAll(' ', '') +
      '00'.repeat(18),
  );
});

test('a gratuitous ARP says whose an address is', (t) => {
  t.is(
    gratuitousArpFrame(MAC, ADDRESS).toString('hex'),
    `ffffffffffff00163e0000010806000108000604000100163e000001 0a4d0002 000000000000 0a4d0002`.replaceAll(' ', '') +
      '00'.repeat(18),
  );
});

test('a domain that ends meanwhile is not announced again', async (t) => {
  t.timeout(10_000);
  const ended = new AbortController();
  let sent = 0;
  const device = {
    send: () => {
      sent++;
    },
    addresses: () => [ADDRESS],
  };
  announce([{ mac: MAC, device }], { signal: ended.signal, onFailure: () => undefined });
  t.is(sent, 2);
  ended.abort();
  await new Promise((resolve) => setTimeout(resolve, (ANNOUNCE_AT_MS[1] ?? 0) * 2));
  t.is(sent, 2);
});

test.serial(
  'a switch learns where the guest is now, also of addresses that it told on the other host',
  onStand(async (t, stand) => {
    const primary = connectNic(stand, 'kann3', false);
    primary.frontEnd.negotiate(NET_FEATURES);
    primary.frontEnd.setMemory();
    const drivers = [0, 1].map((index) => stand.driver(index, { size: 64 }));
    const guest = new NicGuest(drivers[0]!, drivers[1]!);
    for (const driver of drivers) primary.frontEnd.startQueue(driver);
    guest.offerFrame(gratuitousArpFrame(MAC, ADDRESS));
    // What the guest only forwards is not its own.
    guest.offerFrame(gratuitousArpFrame('00:16:3e:00:00:99', Buffer.of(10, 77, 0, 99)));
    drivers[1]!.kick();
    guest.waitSent(2);
    t.deepEqual(primary.device.addresses(), [ADDRESS]);
    const cut = cutAt(stand, primary, drivers);
    await primary.device.close();

    const standby = connectNic(stand, 'kann4', true, new addon.OutputGate());
    standby.device.restore(cut.bytes);
    t.deepEqual(standby.device.addresses(), [ADDRESS]);
    standby.device.open();
    standby.frontEnd.negotiate(NET_FEATURES);
    standby.frontEnd.setMemory();
    for (const [place, driver] of drivers.entries()) standby.frontEnd.startQueue(driver, cut.bases[place] ?? 0);
    const witness = testing.packetSocket('kann2', false);
    stand.onClose(() => {
      closeSync(witness);
    });
    const ended = new AbortController();
    stand.onClose(() => {
      ended.abort();
    });
    announce([{ mac: MAC, device: standby.device }], {
      signal: ended.signal,
      onFailure: (error) => {
        throw error;
      },
    });
    const expected = [reverseArpFrame(MAC), gratuitousArpFrame(MAC, ADDRESS)];
    const seen: Buffer[] = [];
    while (seen.length < expected.length) {
      const message = testing.receiveMessage(witness, MAX_FRAME_BYTES, FRAME_TIMEOUT_MS);
      if (message === null) throw new Error(`only ${seen.length} announcements came`);
      const bytes = Buffer.from(message.bytes);
      if (bytes.subarray(6, 12).toString('hex') === MAC.replaceAll(':', '')) seen.push(bytes);
    }
    t.deepEqual(seen, expected);
    const learned = execFileSync('bridge', ['fdb', 'show', 'br', BRIDGE], { encoding: 'utf8' });
    t.regex(learned, new RegExp(`^${MAC} dev kann4 master ${BRIDGE}`, 'm'), "the host's own bridge, too");
  }),
);
