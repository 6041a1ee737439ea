import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import test from 'ava';
import {
  DiskGuest,
  pattern,
  range,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from './disk-guest.js';
import { onStand, type Stand } from './stand.js';
import { until } from './until.js';
import { encode, Request, u32 } from './vhost-user.js';

const DISK_BYTES = 1024 * 1024;

function diskFile(stand: Stand, name = 'disk.img'): string {
  const path = stand.file(name);
  writeFileSync(path, '');
  truncateSync(path, DISK_BYTES);
  return path;
}

function sectorOf(path: string, sector: number): Buffer {
  return readFileSync(path).subarray(sector * 512, (sector + 1) * 512);
}

for (const engine of ['io_uring', 'threads'] as const) {
  test.serial(
    `${engine}: a closed gate holds every change in order and lets reads pass`,
    onStand(async (t, stand) => {
      const path = diskFile(stand);
      const { device, guest, driver } = stand.openDisk({ target: { path }, engine });
      t.is(guest.write(40, pattern(4096, 40)), VIRTIO_BLK_S_OK);
      stand.gate.close();
      const heads = [
        guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(512, 1) }),
        guest.offer(VIRTIO_BLK_T_FLUSH, 0),
        guest.offer(VIRTIO_BLK_T_WRITE_ZEROES, 0, { data: range(40, 1, 0) }),
        guest.offer(VIRTIO_BLK_T_DISCARD, 0, { data: range(41, 1, 0) }),
        guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(512, 2) }),
      ].map((request) => request.head);
      driver.kick();
      t.is(guest.read(40, 4096).status, VIRTIO_BLK_S_OK);
      t.deepEqual(
        device.pending(),
        heads.map((head) => ({ queue: 0, head, held: true })),
      );
      t.is(driver.usedIndex, 2);
      t.deepEqual(sectorOf(path, 0), Buffer.alloc(512));
      t.deepEqual(sectorOf(path, 40), pattern(4096, 40).subarray(0, 512));
      t.is(stand.gate.counters().held, 5);

      stand.gate.open();
      t.true(guest.wait(5).every((request) => request.status === VIRTIO_BLK_S_OK));
      t.deepEqual(sectorOf(path, 40), Buffer.alloc(512));
      t.is(stand.gate.counters().released, 5);
      await until(() => device.pending().length === 0, 'nothing is pending');
    }),
  );

  for (const direct of [false, true]) {
    test.serial(
      `${engine}${direct ? ' with O_DIRECT' : ''}: what lands is what the cut held, not what the guest wrote since`,
      onStand((t, stand) => {
        const path = diskFile(stand);
        const { device, guest, driver } = stand.openDisk({ target: { path }, engine, direct });
        stand.gate.close();
        const cuts = [[], [1000], [1, 511, 3]];
        const writes = cuts.map((cut, i) => guest.offer(VIRTIO_BLK_T_OUT, i * 8, { data: pattern(4096, i), cut }));
        driver.kick();
        t.is(guest.read(0, 512).status, VIRTIO_BLK_S_OK); // the device has come past the writes
        device.freezeHeld();
        for (const write of writes) write.data.fill(0xff);
        device.freezeHeld(); // a later cut does not thaw an earlier one
        stand.gate.release(stand.gate.lastSequence);
        t.true(guest.wait(3).every((request) => request.status === VIRTIO_BLK_S_OK));
        cuts.forEach((_, i) => {
          t.deepEqual(readFileSync(path).subarray(i * 4096, (i + 1) * 4096), pattern(4096, i));
        });
      }),
    );
  }
}

test.serial(
  'a header that is rewritten while its request is held changes nothing',
  onStand((t, stand) => {
    const path = diskFile(stand);
    const { device, guest, driver } = stand.openDisk({ target: { path } });
    stand.gate.close();
    const write = guest.offer(VIRTIO_BLK_T_OUT, 8, { data: pattern(512, 8) });
    driver.kick();
    t.is(guest.read(0, 512).status, VIRTIO_BLK_S_OK);
    device.freezeHeld();
    write.slot.bytes.writeUInt32LE(VIRTIO_BLK_T_DISCARD, 0);
    write.slot.bytes.writeBigUInt64LE(100n, 8);
    stand.gate.open();
    t.is(guest.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
    t.deepEqual(sectorOf(path, 8), pattern(512, 8));
    t.deepEqual(sectorOf(path, 100), Buffer.alloc(512));
  }),
);

test.serial(
  'release lets out exactly what came up to its sequence, over all devices of the domain',
  onStand(async (t, stand) => {
    const paths = [diskFile(stand, 'a.img'), diskFile(stand, 'b.img')];
    const disks = paths.map((path) => stand.openDisk({ target: { path } }, { slots: 8 }));
    const [a, b] = disks;
    stand.gate.close();
    const sequences: bigint[] = [];
    const before = stand.gate.lastSequence;
    for (let i = 0; i < 6; i += 1) {
      const { guest, driver, device } = i % 2 === 0 ? a! : b!;
      guest.offer(VIRTIO_BLK_T_OUT, i, { data: pattern(512, i) });
      driver.kick();
      await until(() => device.pending().length === Math.floor(i / 2) + 1, 'it is held');
      sequences.push(stand.gate.lastSequence);
    }
    t.deepEqual(
      sequences,
      [1n, 2n, 3n, 4n, 5n, 6n].map((n) => before + n),
    );
    stand.gate.release(sequences[2]!);
    a!.guest.wait(2);
    b!.guest.wait(1);
    t.is(a!.device.pending().length, 1);
    t.is(b!.device.pending().length, 2);
    t.deepEqual(sectorOf(paths[0]!, 4), Buffer.alloc(512));
    t.deepEqual(sectorOf(paths[1]!, 1), pattern(512, 1));
    t.deepEqual(sectorOf(paths[1]!, 3), Buffer.alloc(512));
    t.false(stand.gate.isOpen);
    stand.gate.release(sequences[5]!);
    a!.guest.wait(1);
    b!.guest.wait(2);
    t.deepEqual(stand.gate.counters(), { passed: 0, held: 6, released: 6 });
  }),
);

test.serial(
  'what comes after a release is held again',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const { device, guest, driver } = stand.openDisk({ target: { path } });
    stand.gate.close();
    for (let epoch = 0; epoch < 50; epoch += 1) {
      guest.offer(VIRTIO_BLK_T_OUT, epoch, { data: pattern(512, epoch) });
      driver.kick();
      await until(() => device.pending().length === 1, 'it is held');
      t.deepEqual(sectorOf(path, epoch), Buffer.alloc(512));
      stand.gate.release(stand.gate.lastSequence);
      t.is(guest.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
    }
  }),
);

test.serial(
  'what a closed device held never leaves',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const { device, guest, driver } = stand.openDisk({ target: { path } });
    stand.gate.close();
    guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 1) });
    driver.kick();
    await until(() => device.pending().length === 1, 'it is held');
    await device.close();
    stand.gate.open();
    t.deepEqual(sectorOf(path, 1), Buffer.alloc(512));
    t.is(driver.usedIndex, 0);
    await t.notThrowsAsync(device.close(), 'closing twice is closing once');
  }),
);

test.serial(
  'what was held when the guest reset the queue never leaves',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const { device, guest, driver, frontEnd } = stand.openDisk({ target: { path } });
    device.setSuspendOnStop(true);
    stand.gate.close();
    guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 1) });
    driver.kick();
    await until(() => device.pending().length === 1, 'it is held');
    t.is(frontEnd.stopQueue(0), 1);
    driver.reset();
    frontEnd.startQueue(driver, 0);
    stand.gate.open();
    const fresh = new DiskGuest(driver, 2);
    t.is(fresh.write(2, pattern(512, 2)), VIRTIO_BLK_S_OK);
    t.is(fresh.flush(), VIRTIO_BLK_S_OK);
    t.deepEqual(sectorOf(path, 1), Buffer.alloc(512));
    t.deepEqual(sectorOf(path, 2), pattern(512, 2));
    t.is(driver.usedIndex, 2);
  }),
);

test.serial(
  'suspending: what is held survives a stop and start, and leaves once after its release',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const { device, guest, driver, frontEnd } = stand.openDisk({ target: { path } });
    device.setSuspendOnStop(true);
    stand.gate.close();
    const { head } = guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 1) });
    driver.kick();
    await until(() => device.pending().length === 1, 'it is held');
    for (let turn = 0; turn < 20; turn += 1) {
      const base = frontEnd.stopQueue(0);
      t.is(base, 1);
      device.freezeHeld();
      frontEnd.setMemory();
      frontEnd.startQueue(driver, base);
      t.deepEqual(device.pending(), [{ queue: 0, head, held: true }]);
    }
    stand.gate.open();
    t.is(guest.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
    t.is(guest.read(1, 512).status, VIRTIO_BLK_S_OK);
    t.deepEqual(sectorOf(path, 1), pattern(512, 1));
    t.is(device.stats().writes, 1);
  }),
);

test.serial(
  'released while its queue is stopped, a request leaves, and is answered once after the restart',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const { device, guest, driver, frontEnd } = stand.openDisk({ target: { path } });
    device.setSuspendOnStop(true);
    stand.gate.close();
    guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 1) });
    driver.kick();
    await until(() => device.pending().length === 1, 'it is held');
    const base = frontEnd.stopQueue(0);
    stand.gate.release(stand.gate.lastSequence);
    await until(() => sectorOf(path, 1).equals(pattern(512, 1)), 'it has landed');
    t.is(driver.usedIndex, 0);
    frontEnd.startQueue(driver, base);
    t.is(guest.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
    t.is(driver.usedIndex, 1);
  }),
);

test.serial(
  'draining: a stop behind a closed gate is answered after the release',
  onStand(async (t, stand) => {
    const { device, guest, driver, frontEnd } = stand.openDisk({ target: { path: diskFile(stand) } });
    stand.gate.close();
    guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 1) });
    driver.kick();
    await until(() => device.pending().length === 1, 'it is held');
    frontEnd.raw(encode(Request.GET_VRING_BASE, u32(0, 0)));
    t.throws(() => frontEnd.stopped(0, 200), { message: /no reply/ });
    stand.gate.release(stand.gate.lastSequence);
    t.is(frontEnd.stopped(0), 1);
    t.is(driver.usedIndex, 1);
  }),
);

test.serial(
  'a held request keeps no read behind it waiting, however many',
  onStand((t, stand) => {
    const { guest, driver } = stand.openDisk({ target: { path: diskFile(stand) } });
    stand.gate.close();
    guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 1) });
    driver.kick();
    for (let i = 0; i < 200; i += 1) {
      const read = guest.offer(VIRTIO_BLK_T_IN, 2, { read: 512 });
      driver.kick();
      t.is(guest.wait(1)[0], read);
    }
    t.is(guest.inFlight, 1);
  }),
);
