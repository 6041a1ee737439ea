import { closeSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { testing } from '../native/testing.js';
import { DiskGuest, pattern, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from './disk-guest.js';
import { GuestRam } from './guest-ram.js';
import { BLK_FEATURES, eventOf, onStand, type Stand } from './stand.js';
import { until } from './until.js';
import { ProtocolFeature, Request, u32, u64, VRING_NO_FD } from './vhost-user.js';

/** A disk of 1 MiB whose sector n is pattern n. */
function diskFile(stand: Stand): { readonly target: { readonly path: string } } {
  const path = stand.file('disk.img');
  writeFileSync(path, Buffer.concat(Array.from({ length: 2048 }, (_, sector) => pattern(512, sector))));
  return { target: { path } };
}

const RINGS = [
  { indirect: false, eventIdx: false },
  { indirect: true, eventIdx: false },
  { indirect: false, eventIdx: true },
  { indirect: true, eventIdx: true },
];

for (const ring of RINGS) {
  const kind = `${ring.indirect ? 'indirect' : 'direct'} chains, ${ring.eventIdx ? 'with' : 'without'} EVENT_IDX`;

  test.serial(
    `${kind}: 70000 requests go past index 65535, each answered once and right`,
    onStand((t, stand) => {
      const { guest, device } = stand.openDisk(diskFile(stand), { size: 64, slots: 16, ...ring });
      let wrong = 0;
      for (let done = 0; done < 70_000; done += 16) {
        const sectors = new Map<number, number>();
        for (let i = 0; i < 16; i += 1) {
          const sector = (done + i) % 2048;
          sectors.set(guest.offer(VIRTIO_BLK_T_IN, sector, { read: 512 }).head, sector);
        }
        guest.driver.kick();
        for (const request of guest.wait(16)) {
          if (request.status !== VIRTIO_BLK_S_OK) wrong += 1;
          if (done % 1600 === 0 && !request.data.equals(pattern(512, sectors.get(request.head)!))) wrong += 1;
        }
      }
      t.is(wrong, 0);
      t.is(device.stats().reads, 70_000);
    }),
  );

  test.serial(
    `${kind}: a queue goes on from the index it is given, across 65535`,
    onStand((t, stand) => {
      const { guest, frontEnd } = stand.openDisk(diskFile(stand), { base: 65_530, ...ring });
      for (let sector = 0; sector < 20; sector += 1) t.deepEqual(guest.read(sector, 512).data, pattern(512, sector));
      t.is(frontEnd.stopQueue(0), (65_530 + 20) & 0xffff);
    }),
  );
}

test.serial(
  'a ring of every size works, down to one entry',
  onStand((t, stand) => {
    const { frontEnd } = stand.connectDisk(diskFile(stand));
    frontEnd.negotiate(BLK_FEATURES);
    frontEnd.setMemory();
    for (const size of [1, 2, 8, 256, 1024]) {
      const driver = stand.driver(0, { size });
      frontEnd.startQueue(driver);
      const guest = new DiskGuest(driver, 1);
      for (let turn = 0; turn < 3 * size + 1; turn += 1) t.deepEqual(guest.read(5, 512).data, pattern(512, 5));
      t.is(frontEnd.stopQueue(0), 3 * size + 1);
    }
  }),
);

test.serial(
  'with EVENT_IDX the device calls once, at the entry that the driver named',
  onStand((t, stand) => {
    const { guest, driver } = stand.openDisk(diskFile(stand), { eventIdx: true });
    guest.read(0, 512); // the first one after a start is called for in any case
    testing.readEvent(driver.callFd, 0);
    driver.askForCall(16);
    for (let i = 1; i < 16; i += 1) {
      guest.offer(VIRTIO_BLK_T_IN, i, { read: 512 });
      driver.kick();
      guest.answered(driver.spin()[0]!);
    }
    t.is(driver.countCalls(), 0);
    guest.offer(VIRTIO_BLK_T_IN, 1, { read: 512 });
    driver.kick();
    guest.answered(driver.spin()[0]!);
    t.is(testing.readEvent(driver.callFd, 10_000), 1);
    guest.offer(VIRTIO_BLK_T_IN, 1, { read: 512 });
    driver.kick();
    guest.answered(driver.spin()[0]!);
    driver.askForCall();
    guest.offer(VIRTIO_BLK_T_IN, 1, { read: 512 });
    driver.kick();
    guest.answered(driver.spin()[0]!);
    t.is(testing.readEvent(driver.callFd, 10_000), 1, 'one for the request that was asked about, none for the other');
  }),
);

test.serial(
  'without EVENT_IDX the driver that wants no calls gets none, and gets them again when it wants',
  onStand((t, stand) => {
    const { guest, driver } = stand.openDisk(diskFile(stand), { eventIdx: false });
    driver.wantCalls(false);
    for (let i = 0; i < 20; i += 1) {
      guest.offer(VIRTIO_BLK_T_IN, i, { read: 512 });
      driver.kick();
      guest.answered(driver.spin()[0]!);
    }
    driver.wantCalls(true);
    guest.offer(VIRTIO_BLK_T_IN, 1, { read: 512 });
    driver.kick();
    guest.answered(driver.spin()[0]!);
    t.is(testing.readEvent(driver.callFd, 10_000), 1);
  }),
);

for (const eventIdx of [false, true]) {
  test.serial(
    `a driver that kicks only when asked to loses nothing (${eventIdx ? 'with' : 'without'} EVENT_IDX)`,
    onStand((t, stand) => {
      const { guest, driver } = stand.openDisk(diskFile(stand), { eventIdx, slots: 64 });
      let answered = 0;
      for (let offered = 0; answered < 5000;) {
        while (offered < 5000 && guest.free > 0) {
          guest.offer(VIRTIO_BLK_T_IN, offered % 2048, { read: 512 });
          driver.kick();
          offered += 1;
        }
        const done = driver.wait(1);
        for (const entry of done) guest.answered(entry);
        answered += done.length;
      }
      t.is(driver.outstanding, 0);
      t.true(driver.kicks <= 5000);
      t.true(guest.read(0, 512).status === VIRTIO_BLK_S_OK, 'an idle device asks for a kick');
    }),
  );
}

test.serial(
  'rings and data may lie in any region, beyond 4 GiB too',
  onStand((t, stand) => {
    const { guest, driver } = stand.openDisk(diskFile(stand), { indirect: false });
    const header = stand.ram.allocate(16);
    stand.ram.slice(header, 16).writeBigUInt64LE(9n, 8);
    const high = GuestRam.HIGH_GPA + GuestRam.HALF - 513;
    driver.add([{ gpa: header, length: 16 }], [{ gpa: high, length: 513 }]);
    driver.kick();
    driver.wait();
    t.deepEqual(Buffer.from(stand.ram.slice(high, 512)), pattern(512, 9));
    t.is(guest.read(9, 512).status, VIRTIO_BLK_S_OK);
  }),
);

test.serial(
  'memory that is added to a running device is used, memory that was removed is not',
  onStand(async (t, stand) => {
    const { frontEnd, events } = stand.connectDisk(diskFile(stand));
    frontEnd.negotiate(BLK_FEATURES);
    t.not(frontEnd.protocolFeatures & ProtocolFeature.CONFIGURE_MEM_SLOTS, 0n);
    t.true(frontEnd.ask(Request.GET_MAX_MEM_SLOTS).payload.readBigUInt64LE() >= 8n);
    const [low, high] = stand.ram.regions;
    frontEnd.addMemory(low!);
    const driver = stand.driver(0, { indirect: false });
    frontEnd.startQueue(driver);
    const guest = new DiskGuest(driver, 2);
    t.is(guest.read(1, 512).status, VIRTIO_BLK_S_OK);
    frontEnd.addMemory(high!);
    const header = stand.ram.allocate(16);
    const read = (): void => {
      driver.add([{ gpa: header, length: 16 }], [{ gpa: GuestRam.HIGH_GPA, length: 513 }]);
      driver.kick();
    };
    read();
    driver.wait();
    t.deepEqual(Buffer.from(stand.ram.slice(GuestRam.HIGH_GPA, 512)), pattern(512, 0));
    frontEnd.removeMemory(high!);
    read();
    t.regex((await eventOf(events, 'queue-broken')).code, /^KEMARI_/);
  }),
);

test.serial(
  'memory that is added once for each pair of queues is there once, and goes with its first removal',
  onStand((t, stand) => {
    const { frontEnd, events } = stand.connectDisk(diskFile(stand));
    frontEnd.negotiate(BLK_FEATURES);
    const [low, high] = stand.ram.regions;
    for (const region of [low!, low!, high!, high!]) frontEnd.addMemory(region);
    const driver = stand.driver(0, { indirect: false });
    frontEnd.startQueue(driver);
    const guest = new DiskGuest(driver, 2);
    t.is(guest.read(1, 512).status, VIRTIO_BLK_S_OK);
    frontEnd.removeMemory(high!);
    frontEnd.removeMemory(high!);
    frontEnd.addMemory(high!);
    const header = stand.ram.allocate(16);
    driver.add([{ gpa: header, length: 16 }], [{ gpa: GuestRam.HIGH_GPA, length: 513 }]);
    driver.kick();
    driver.wait();
    t.deepEqual(Buffer.from(stand.ram.slice(GuestRam.HIGH_GPA, 512)), pattern(512, 0));
    t.false(events.some(({ type }) => type === 'protocol-error'));
  }),
);

test.serial(
  'a disabled queue serves nothing, and all that waited once it is enabled',
  onStand((t, stand) => {
    const { frontEnd, guest, driver } = stand.openDisk(diskFile(stand), { slots: 8 });
    frontEnd.enable(0, false);
    for (let i = 0; i < 8; i += 1) guest.offer(VIRTIO_BLK_T_IN, i, { read: 512 });
    driver.kickAlways();
    frontEnd.getConfig(0, 8); // a round trip of the device's thread
    t.is(driver.usedIndex, 0);
    frontEnd.enable(0, true);
    t.is(guest.wait(8).length, 8);
  }),
);

test.serial(
  'what was offered before the queue started is served without a kick',
  onStand((t, stand) => {
    const { frontEnd } = stand.connectDisk(diskFile(stand));
    frontEnd.negotiate(BLK_FEATURES);
    frontEnd.setMemory();
    const driver = stand.driver(0);
    const guest = new DiskGuest(driver, 4);
    for (let i = 0; i < 4; i += 1) guest.offer(VIRTIO_BLK_T_IN, i, { read: 512 });
    frontEnd.startQueue(driver);
    t.is(guest.wait(4).length, 4);
    t.is(driver.kicks, 0);
  }),
);

test.serial(
  'a call descriptor that is replaced is not used again; without one the device goes on',
  onStand((t, stand) => {
    const { frontEnd, guest, driver } = stand.openDisk(diskFile(stand), { eventIdx: false });
    const other = testing.eventFd();
    frontEnd.send(Request.SET_VRING_CALL, u64(0n), [other]);
    testing.readEvent(driver.callFd, 0);
    guest.offer(VIRTIO_BLK_T_IN, 0, { read: 512 });
    driver.kick();
    t.true(testing.readEvent(other, 10_000) > 0);
    t.is(driver.countCalls(), 0);
    driver.take().forEach((entry) => guest.answered(entry));
    frontEnd.send(Request.SET_VRING_CALL, u64(VRING_NO_FD));
    guest.offer(VIRTIO_BLK_T_IN, 0, { read: 512 });
    driver.kick();
    t.is(guest.answered(driver.spin()[0]!).status, VIRTIO_BLK_S_OK);
    closeSync(other);
  }),
);

test.serial(
  'the same memory table sent again while the queue runs changes nothing for the guest',
  onStand((t, stand) => {
    const { frontEnd, guest } = stand.openDisk(diskFile(stand));
    for (let turn = 0; turn < 50; turn += 1) {
      guest.offer(VIRTIO_BLK_T_IN, turn, { read: 512 });
      guest.driver.kick();
      frontEnd.setMemory();
      t.is(guest.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
    }
  }),
);

test.serial(
  'requests that the device has are known in the order in which it took them',
  onStand(async (t, stand) => {
    const { device, guest, driver } = stand.openDisk(diskFile(stand), { slots: 8 });
    stand.gate.close();
    driver.reverseHeads();
    const heads = Array.from(
      { length: 8 },
      (_, i) => guest.offer(VIRTIO_BLK_T_OUT, i, { data: pattern(512, 100 + i) }).head,
    );
    driver.kick();
    await until(() => device.pending().length === 8, 'the device has taken all');
    t.deepEqual(
      device.pending(),
      heads.map((head) => ({ queue: 0, head, held: true })),
    );
    stand.gate.open();
    guest.wait(8);
    t.deepEqual(device.pending(), []);
  }),
);

test.serial(
  'a device says once that it started, and that its front-end went away',
  onStand(async (t, stand) => {
    const { frontEnd, events } = stand.openDisk(diskFile(stand));
    await eventOf(events, 'started');
    frontEnd.send(Request.SET_VRING_ENABLE, u32(0, 1));
    frontEnd.close();
    await eventOf(events, 'disconnected');
    t.deepEqual(
      events.map((event) => event.type),
      ['started', 'disconnected'],
    );
  }),
);
