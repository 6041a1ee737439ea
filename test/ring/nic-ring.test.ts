import { execFileSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { addon, type Nic } from '../../src/native/addon.js';
import { testing } from '../native/testing.js';
import { pattern, VIRTIO_BLK_T_OUT } from './disk-guest.js';
import { diskFile } from './hostile.js';
import { loseLeaseBehindGate } from './lost-lease.js';
import { frameOf, NicGuest, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4 } from './nic-guest.js';
import { type Connected, eventOf, holdings, onStand, type Stand } from './stand.js';
import { until } from './until.js';

const TAP = 'kring0';
const FRAME_TIMEOUT_MS = 10_000;
const MAX_PACKET_BYTES = 70_000;
const VNET_HEADER_BYTES = 10;
/** CSUM, GUEST_CSUM, both TSO4, MRG_RXBUF (virtio 1.2 section 5.1.3). */
const NET_FEATURES = (1n << 0n) | (1n << 1n) | (1n << 7n) | (1n << 11n) | (1n << 15n);

interface OpenNic extends Connected<Nic> {
  readonly guest: NicGuest;
  /** Sees and sends frames at the tap's kernel side, each behind a virtio_net_hdr of 10 bytes. */
  readonly wire: Wire;
}

class Wire {
  readonly #fd = testing.packetSocket(TAP, true);

  /** The next frame of our own type or of `etherType` that came out of the guest, within the deadline; null: none. */
  next(timeoutMs = FRAME_TIMEOUT_MS, etherType = 0x88b5): { header: Buffer; frame: Buffer } | null {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const left = Math.max(0, Math.ceil(deadline - performance.now()));
      const message = testing.receiveMessage(this.#fd, MAX_PACKET_BYTES, left);
      if (message === null) return null;
      const frame = message.bytes.subarray(VNET_HEADER_BYTES);
      if (frame.length >= 14 && frame.readUInt16BE(12) === etherType) {
        return { header: message.bytes.subarray(0, VNET_HEADER_BYTES), frame };
      }
    }
  }

  send(frame: Uint8Array, header: Uint8Array = Buffer.alloc(VNET_HEADER_BYTES)): void {
    testing.sendMessage(this.#fd, Buffer.concat([header, frame]), []);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function openNic(stand: Stand, options: { features?: bigint; ringSize?: number } = {}): OpenNic {
  const connected = stand.connect(
    (socketFd, onEvent) =>
      new addon.Nic({
        name: 'net',
        socketFd,
        gate: stand.gate,
        mac: '00:16:3e:00:00:01',
        tap: TAP,
        bridge: undefined,
        queues: 1,
        onEvent,
      }),
  );
  const wire = new Wire();
  stand.onClose(() => {
    wire.close();
  });
  connected.frontEnd.negotiate(options.features ?? NET_FEATURES);
  connected.frontEnd.setMemory();
  const [receive, transmit] = [0, 1].map((index) => stand.driver(index, { size: options.ringSize ?? 256 }));
  const guest = new NicGuest(receive!, transmit!);
  connected.frontEnd.startQueue(receive!);
  connected.frontEnd.startQueue(transmit!);
  return { ...connected, guest, wire };
}

/** Sends numbered frames and checks that each reaches the wire, in order. */
function sendAndCheck(t: ExecutionContext, { guest, wire }: OpenNic, from: number, count: number): void {
  for (let i = from; i < from + count; i += 1) guest.offerFrame(frameOf(pattern(1000, i)));
  guest.transmit.kick();
  guest.waitSent(count);
  for (let i = from; i < from + count; i += 1) {
    const seen = wire.next();
    t.deepEqual(seen?.frame.subarray(14), pattern(1000, i), `frame ${i}`);
  }
}

test.before(() => {
  testing.unshareNetwork();
});

test.serial(
  'frames that a guest sends reach the wire whole and in order, however they are cut',
  onStand((t, stand) => {
    const nic = openNic(stand);
    const cuts = [[], [12], [1, 11], [5, 7, 14], [12, 14, 1, 1], [200]];
    for (const [i, cut] of cuts.entries()) {
      nic.guest.offerFrame(frameOf(pattern(1400, i)), {}, cut);
      nic.guest.transmit.kick();
      nic.guest.waitSent(1);
      t.deepEqual(nic.wire.next()?.frame, frameOf(pattern(1400, i)), JSON.stringify(cut));
    }
    for (const from of [100, 150, 200]) sendAndCheck(t, nic, from, 50);
    const stats = nic.device.stats();
    t.deepEqual([stats.txFrames, stats.dropped], [156, 0]);
    t.is(stats.txBytes, 6 * 1414 + 150 * 1014);
  }),
);

test.serial(
  'a frame for the guest lands in one buffer, or in as many as it needs, and says how many',
  onStand((t, stand) => {
    const { guest, wire, device } = openNic(stand);
    guest.offerBuffers(1, 2048);
    guest.receive.kick();
    wire.send(frameOf(pattern(1000, 1)));
    const one = guest.waitFrame();
    t.is(one.buffers, 1);
    t.deepEqual(one.frame, frameOf(pattern(1000, 1)));

    guest.offerBuffers(8, 200);
    guest.receive.kick();
    wire.send(frameOf(pattern(1400, 2)));
    const many = guest.waitFrame();
    t.is(many.buffers, Math.ceil((1414 + 12) / 200));
    t.deepEqual(many.frame, frameOf(pattern(1400, 2)));
    t.is(device.stats().rxFrames, 2);
    t.is(device.stats().rxBytes, 1014 + 1414);
  }),
);

test.serial(
  'a frame that comes while the guest has no buffer waits for one',
  onStand(async (t, stand) => {
    const { guest, wire, frontEnd, device } = openNic(stand);
    for (let i = 0; i < 20; i += 1) wire.send(frameOf(pattern(500, i)));
    frontEnd.enable(1, true); // a round trip of the device's thread
    for (let i = 0; i < 20; i += 1) {
      guest.offerBuffers(1, 1500);
      guest.receive.kick();
      t.deepEqual(guest.waitFrame().frame, frameOf(pattern(500, i)));
    }
    await until(() => device.stats().rxFrames === 20, 'all are counted');
    t.is(device.stats().dropped, 0);
  }),
);

test.serial(
  'without mergeable buffers a frame is never spread, and one that fits no buffer is dropped and counted',
  onStand(async (t, stand) => {
    const { guest, wire, device } = openNic(stand, { features: NET_FEATURES & ~(1n << 15n) });
    guest.offerBuffers(2, 600);
    guest.receive.kick();
    wire.send(frameOf(pattern(1000, 1)));
    await until(() => device.stats().dropped === 1, 'the large one is dropped');
    wire.send(frameOf(pattern(500, 2)));
    t.deepEqual(guest.waitFrame().frame, frameOf(pattern(500, 2)));
  }),
);

test.serial(
  'a checksum that the guest leaves to the device, and a segment that it leaves to the host, arrive as such',
  onStand((t, stand) => {
    const { guest, wire } = openNic(stand);
    const packet = tcpPacket(8000);
    guest.offerFrame(packet, {
      flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
      gsoType: VIRTIO_NET_HDR_GSO_TCPV4,
      headerLength: 54,
      gsoSize: 1448,
      checksumStart: 34,
      checksumOffset: 16,
    });
    guest.transmit.kick();
    guest.waitSent();
    const seen = wire.next(FRAME_TIMEOUT_MS, 0x0800)!;
    t.is(seen.frame.length, packet.length);
    t.is(seen.header.readUInt8(1), VIRTIO_NET_HDR_GSO_TCPV4);
    t.is(seen.header.readUInt16LE(4), 1448);
    t.is(seen.header.readUInt8(0) & VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_F_NEEDS_CSUM);

    guest.offerBuffers(8, 2048);
    guest.receive.kick();
    wire.send(packet, seen.header);
    const back = guest.waitFrame();
    t.is(back.frame.length, packet.length);
    t.is(back.header.readUInt8(1), VIRTIO_NET_HDR_GSO_TCPV4);
    t.is(back.header.readUInt16LE(4), 1448);
  }),
);

/** Ethernet, IPv4 and TCP headers and `bytes` of payload, the checksum left to whoever sends it. */
function tcpPacket(bytes: number): Buffer {
  const packet = Buffer.alloc(54 + bytes, 0x61);
  Buffer.from('0200000000010200000000020800', 'hex').copy(packet);
  Buffer.from('4500000000004000400600000a0a0a010a0a0a02', 'hex').copy(packet, 14);
  packet.writeUInt16BE(40 + bytes, 16);
  let sum = 0;
  for (let i = 14; i < 34; i += 2) sum += packet.readUInt16BE(i);
  packet.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 24);
  Buffer.from('0401040200000001000000015010200000000000', 'hex').copy(packet, 34);
  return packet;
}

test.serial(
  'frames that no host should see are dropped and counted, and those behind them go on',
  onStand(async (t, stand) => {
    const nic = openNic(stand);
    const { guest, device } = nic;
    guest.offerFrame(Buffer.alloc(5));
    guest.offerFrame(frameOf(pattern(100, 1)), { flags: VIRTIO_NET_HDR_F_NEEDS_CSUM, checksumStart: 5000 });
    guest.offerFrame(frameOf(pattern(100, 1)), { gsoType: 77, gsoSize: 100 });
    guest.offerFrame(frameOf(pattern(100, 1)), { gsoType: VIRTIO_NET_HDR_GSO_TCPV4, gsoSize: 0 });
    guest.transmit.kick();
    guest.waitSent(4);
    sendAndCheck(t, nic, 0, 3);
    await until(() => device.stats().dropped === 4, 'all four are counted');
    t.is(device.stats().txFrames, 3);
  }),
);

test.serial(
  'a closed gate holds frames and answers them, and what leaves is what it took, in order',
  onStand((t, stand) => {
    const { guest, wire, device } = openNic(stand);
    stand.gate.close();
    const frames = [1, 2, 3].map((i) => guest.offerFrame(frameOf(pattern(600, i))));
    guest.transmit.kick();
    guest.waitSent(3);
    t.is(stand.gate.counters().held, 3);
    t.is(device.pending().filter(({ queue }) => queue === 1).length, 0);
    for (const frame of frames) frame.fill(0xff);
    t.is(wire.next(100), null);
    stand.gate.release(stand.gate.lastSequence);
    for (const i of [1, 2, 3]) t.deepEqual(wire.next()?.frame, frameOf(pattern(600, i)));
  }),
);

test.serial(
  'frames that the gate let go do not leave once the lease is over; a renewal lets them go, in order, wherever the guest is',
  onStand((t, stand) => {
    const { guest, wire, frontEnd } = openNic(stand);
    const offer = (i: number): void => {
      guest.offerFrame(frameOf(pattern(600, i)));
      guest.transmit.kick();
    };
    stand.gate.close();
    offer(1);
    guest.waitSent(1);
    loseLeaseBehindGate(stand.gate);
    stand.gate.open();
    offer(2);
    t.is(wire.next(100), null);
    const base = frontEnd.stopQueue(1);
    t.is(wire.next(100), null);
    stand.gate.renewLease(1n << 62n);
    t.deepEqual(wire.next()?.frame, frameOf(pattern(600, 1)));
    frontEnd.startQueue(guest.transmit, base);
    t.deepEqual(wire.next()?.frame, frameOf(pattern(600, 2)));
    guest.waitSent(1);
  }),
);

test.serial(
  'frames and disk writes have one order: a release lets out no more of either',
  onStand(async (t, stand) => {
    const { guest, wire } = openNic(stand);
    const disk = stand.openDisk(diskFile(stand, 'disk.img'), { slots: 4 });
    stand.gate.close();
    const held = (): number => stand.gate.counters().held - stand.gate.counters().released;
    const sequences: bigint[] = [];
    for (let i = 0; i < 4; i += 1) {
      if (i % 2 === 0) {
        guest.offerFrame(frameOf(pattern(100, i)));
        guest.transmit.kick();
      } else {
        disk.guest.offer(VIRTIO_BLK_T_OUT, i, { data: pattern(512, i) });
        disk.driver.kick();
      }
      await until(() => held() === i + 1, 'it is held');
      sequences.push(stand.gate.lastSequence);
    }
    guest.waitSent(2);
    stand.gate.release(sequences[1]!);
    disk.guest.wait(1);
    t.deepEqual(wire.next()?.frame, frameOf(pattern(100, 0)));
    t.is(held(), 2);
    t.is(wire.next(100), null);
    stand.gate.open();
    disk.guest.wait(1);
    t.deepEqual(wire.next()?.frame, frameOf(pattern(100, 2)));
  }),
);

test.serial(
  'frames that a closed device held never leave',
  onStand(async (t, stand) => {
    const { guest, frontEnd, device } = openNic(stand);
    stand.gate.close();
    guest.offerFrame(frameOf(pattern(100, 1)));
    guest.transmit.kick();
    frontEnd.enable(0, true);
    await until(() => stand.gate.counters().held === 1, 'it is held');
    await device.close();
    stand.gate.open();
    t.is(stand.gate.counters().released, 0);
  }),
);

test.serial(
  '500 stops and starts of both queues lose no frame that the device took, and double none',
  onStand((t, stand) => {
    const { guest, wire, frontEnd, device } = openNic(stand);
    device.setSuspendOnStop(true);
    guest.offerBuffers(64, 1600);
    guest.receive.kick();
    for (let turn = 0; turn < 500; turn += 1) {
      guest.offerFrame(frameOf(pattern(200, turn)));
      guest.transmit.kick();
      const bases = [0, 1].map((index) => frontEnd.stopQueue(index));
      frontEnd.setMemory();
      frontEnd.startQueue(guest.receive, bases[0]);
      frontEnd.startQueue(guest.transmit, bases[1]);
      guest.waitSent(1);
      if (!wire.next()?.frame.equals(frameOf(pattern(200, turn)))) t.fail(`frame ${turn} did not come`);
      wire.send(frameOf(pattern(300, turn)));
      const got = guest.waitFrame();
      if (!got.frame.equals(frameOf(pattern(300, turn)))) t.fail(`frame ${turn} did not reach the guest`);
      guest.offerBuffers(1, 1600);
      guest.receive.kick();
    }
    t.is(wire.next(50), null, 'no frame came twice');
    t.deepEqual([device.stats().txFrames, device.stats().rxFrames], [500, 500]);
  }),
);

test.serial(
  'a transmit chain with writable parts, or without room for a header, takes no one else down',
  onStand(async (t, stand) => {
    const nic = openNic(stand);
    const gpa = stand.ram.allocate(64);
    nic.guest.transmit.add([{ gpa, length: 4 }], []);
    nic.guest.transmit.kick();
    await until(
      () => nic.device.stats().dropped === 1 || nic.events.some((event) => event.type === 'queue-broken'),
      'it is dropped or breaks the queue',
    );
    nic.guest.offerBuffers(1, 2000);
    nic.guest.receive.kick();
    nic.wire.send(frameOf(pattern(100, 9)));
    t.deepEqual(nic.guest.waitFrame().frame, frameOf(pattern(100, 9)));
  }),
);

test.serial(
  'a tap that someone deletes is an error that is told once',
  onStand(async (t, stand) => {
    const { events, guest } = openNic(stand);
    execFileSync('ip', ['link', 'delete', TAP]);
    for (let i = 0; i < 3; i += 1) {
      guest.offerFrame(frameOf(pattern(100, i)));
      guest.transmit.kick();
      guest.waitSent(); // a guest is not held up by it
    }
    t.regex((await eventOf(events, 'io-error')).code, /^KEMARI_/);
    t.is(events.filter((event) => event.type === 'io-error').length, 1);
  }),
);

test.serial('50 NICs that came and went leave no descriptor, thread or map', async (t) => {
  let before = holdings();
  for (let round = 0; round < 50; round += 1) {
    if (round === 10) before = holdings();
    await onStand((_, stand) => {
      sendAndCheck(t, openNic(stand), 0, 2);
    })(t);
  }
  await until(
    () => {
      const after = holdings();
      return after.fds <= before.fds && after.threads <= before.threads;
    },
    `all is given back: ${JSON.stringify(before)}, now ${JSON.stringify(holdings())}`,
  );
  t.pass();
});
