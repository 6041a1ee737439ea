import { execFileSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import test from 'ava';
import { addon, type Nic } from '../../src/native/addon.js';
import { testing } from '../native/testing.js';
import { pattern } from './disk-guest.js';
import { cutAt } from './moving.js';
import { frameOf, NicGuest } from './nic-guest.js';
import { type Connected, onStand, type Stand } from './stand.js';
import { until } from './until.js';

const FRAME_TIMEOUT_MS = 10_000;
const MAX_PACKET_BYTES = 70_000;
const ETHER_TYPE = 0x88b5;
/** CSUM, GUEST_CSUM, both TSO4, MRG_RXBUF (virtio 1.2 section 5.1.3). */
const NET_FEATURES = (1n << 0n) | (1n << 1n) | (1n << 7n) | (1n << 11n) | (1n << 15n);

function connectNic(stand: Stand, tap: string, deferred: boolean, gate = stand.gate): Connected<Nic> {
  return stand.connect(
    (socketFd, onEvent) =>
      new addon.Nic({
        ...{
          name: 'net',
          socketFd,
          gate,
          mac: '00:16:3e:00:00:01',
          tap,
          bridge: undefined,
          queues: 1,
          deferred,
          onEvent,
        },
      }),
  );
}

function isUp(tap: string): boolean {
  const [link] = JSON.parse(execFileSync('ip', ['-j', 'link', 'show', tap], { encoding: 'utf8' })) as [
    { flags: string[] },
  ];
  return link.flags.includes('UP');
}

/** Our own frames that came out of a tap, as many as are expected. */
function framesOf(stand: Stand, tap: string): (count: number) => Buffer[] {
  const fd = testing.packetSocket(tap, false);
  stand.onClose(() => {
    closeSync(fd);
  });
  return (count) => {
    const frames: Buffer[] = [];
    while (frames.length < count) {
      const message = testing.receiveMessage(fd, MAX_PACKET_BYTES, FRAME_TIMEOUT_MS);
      if (message === null) throw new Error(`${frames.length} of ${count} frames came`);
      if (message.bytes.readUInt16BE(12) === ETHER_TYPE) frames.push(Buffer.from(message.bytes));
    }
    return frames;
  };
}

test.before(() => {
  testing.unshareNetwork();
});

test.serial(
  'held frames leave on the standby in their order, with the bytes of the cut; its tap is down until then',
  onStand(async (t, stand) => {
    const primary = connectNic(stand, 'kcut0', false);
    primary.frontEnd.negotiate(NET_FEATURES);
    primary.frontEnd.setMemory();
    const drivers = [0, 1].map((index) => stand.driver(index, { size: 256 }));
    const [receive, transmit] = drivers as [(typeof drivers)[0], (typeof drivers)[0]];
    const guest = new NicGuest(receive, transmit);
    guest.offerBuffers(64, 2048);
    for (const driver of drivers) primary.frontEnd.startQueue(driver);
    stand.gate.close();
    const frames = [0, 1, 2, 3].map((i) => frameOf(pattern(200 + i * 400, i)));
    const inGuest = frames.map((frame) => guest.offerFrame(frame, {}, [7, 100]));
    transmit.kick();
    guest.waitSent(4); // answered, and held

    const gate = new addon.OutputGate();
    const standby = connectNic(stand, 'kcut1', true, gate);
    t.false(isUp('kcut1'));
    const cut = cutAt(stand, primary, drivers);
    t.deepEqual(cut.bases, [0, 4]);
    await primary.device.close();
    stand.ram.bytes.set(cut.ram);
    for (const bytes of inGuest) bytes.fill(0xee);
    standby.device.open();
    const seen = framesOf(stand, 'kcut1');
    t.true(isUp('kcut1'));
    standby.device.restore(cut.bytes);
    standby.frontEnd.negotiate(NET_FEATURES);
    standby.frontEnd.setMemory();
    for (const [place, driver] of drivers.entries()) standby.frontEnd.startQueue(driver, cut.bases[place] ?? 0);
    t.deepEqual(seen(4), frames);
    guest.offerFrame(frameOf(pattern(60, 9)));
    transmit.kick();
    guest.waitSent(1);
    t.deepEqual(seen(1), [frameOf(pattern(60, 9))]);
    t.is(standby.device.stats().txFrames, 5);
    t.is(transmit.usedIndex, 5);
  }),
);

test.serial(
  "a disk's part of a checkpoint, and a frame that no guest could send, are refused by a NIC",
  onStand(async (t, stand) => {
    const primary = connectNic(stand, 'kcut0', false);
    primary.frontEnd.negotiate(NET_FEATURES);
    primary.frontEnd.setMemory();
    const drivers = [0, 1].map((index) => stand.driver(index, { size: 64 }));
    const guest = new NicGuest(drivers[0]!, drivers[1]!);
    for (const driver of drivers) primary.frontEnd.startQueue(driver);
    stand.gate.close();
    guest.offerFrame(frameOf(pattern(100, 1)));
    drivers[1]!.kick();
    guest.waitSent(1);
    const cut = cutAt(stand, primary, drivers);
    await primary.device.close();
    const standby = connectNic(stand, 'kcut1', true, new addon.OutputGate());
    const asDisk = Buffer.from(cut.bytes);
    asDisk.writeUInt8(1, 6);
    t.throws(
      () => {
        standby.device.restore(asDisk);
      },
      { code: 'KEMARI_RING_STATE' },
    );
    const badHeader = Buffer.from(cut.bytes);
    badHeader.writeUInt8(0xff, badHeader.indexOf(frameOf(Buffer.alloc(0)).subarray(0, 12)) - 11);
    standby.device.open();
    standby.device.restore(badHeader);
    standby.frontEnd.negotiate(NET_FEATURES);
    standby.frontEnd.setMemory();
    for (const [place, driver] of drivers.entries()) standby.frontEnd.startQueue(driver, cut.bases[place] ?? 0);
    await until(() => standby.device.stats().dropped === 1, 'it is dropped');
    t.is(standby.device.stats().txFrames, 0);
  }),
);
