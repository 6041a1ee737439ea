import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import test from 'ava';
import {
  DiskGuest,
  type DiskRequest,
  pattern,
  SECTOR_BYTES,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from './disk-guest.js';
import { startNbdkit } from './nbd.js';
import { BLK_FEATURES, onStand, type Stand } from './stand.js';
import { until } from './until.js';

const MIB = 1024 * 1024;

function diskFile(stand: Stand, sizeBytes = 16 * MIB): string {
  const path = stand.file('disk.img');
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

for (const engine of ['io_uring', 'threads'] as const) {
  for (const suspend of [false, true]) {
    test.serial(
      `${engine}, ${suspend ? 'suspending' : 'draining'}: 500 stops and starts under load lose and double nothing`,
      onStand((t, stand) => {
        const path = diskFile(stand);
        const { device, frontEnd, guest, driver } = stand.openDisk(
          { target: { path }, engine },
          { slots: 64, size: 128 },
        );
        device.setSuspendOnStop(suspend);
        let offered = 0;
        let answered = 0;
        const collect = (requests: DiskRequest[]): void => {
          for (const request of requests) if (request.status === VIRTIO_BLK_S_OK) answered += 1;
        };
        const fill = (): void => {
          while (guest.free > 0) {
            const data = pattern(SECTOR_BYTES, offered);
            guest.offer(VIRTIO_BLK_T_OUT, offered % 32_768, { data });
            offered += 1;
          }
          driver.kick();
        };
        for (let turn = 0; turn < 500; turn += 1) {
          fill();
          if (turn % 3 === 0) collect(guest.wait(1));
          frontEnd.askStop(0);
          const base = frontEnd.stopped(0);
          const used = driver.usedIndex;
          if (!suspend && used !== base) t.fail(`a drained queue stopped at ${base} with used index ${used}`);
          fill();
          if (driver.usedIndex !== used) t.fail('something was published while the queue was stopped');
          frontEnd.setMemory();
          frontEnd.startQueue(driver, base);
        }
        driver.kick();
        collect(guest.wait(offered - answered));
        t.is(answered, offered, 'a head that comes back twice throws in the driver');
        t.is(device.stats().writes, offered);
        const disk = readFileSync(path);
        const first = Math.max(0, offered - 32_768);
        for (let i = first; i < offered; i += 1) {
          const sector = i % 32_768;
          const bytes = disk.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
          if (!bytes.equals(pattern(SECTOR_BYTES, i))) t.fail(`write ${i} is not on the disk`);
        }
      }),
    );
  }
}

/** A disk over NBD that answers reads after `delayMs`. */
async function slowDisk(stand: Stand, delayMs: number): Promise<{ target: { nbdUri: string }; readOnly: true }> {
  const uri = await startNbdkit(stand, ['--filter=delay', 'pattern', 'size=1M', `delay-read=${delayMs}ms`]);
  return { target: { nbdUri: uri }, readOnly: true };
}

test.serial(
  'draining: a stop is answered only after the request in flight',
  onStand(async (t, stand) => {
    const { device, frontEnd, guest, driver } = stand.openDisk(await slowDisk(stand, 300));
    guest.offer(VIRTIO_BLK_T_IN, 0, { read: 512 });
    driver.kick();
    await until(() => device.pending().length === 1, 'the device has the request');
    t.is(frontEnd.stopQueue(0), 1);
    t.is(driver.usedIndex, 1);
  }),
);

test.serial(
  'suspending: a stop is answered at once, and the request completes once after the restart',
  onStand(async (t, stand) => {
    const { device, frontEnd } = stand.connectDisk({ ...(await slowDisk(stand, 500)), queues: 2 });
    device.setSuspendOnStop(true);
    frontEnd.negotiate(BLK_FEATURES);
    frontEnd.setMemory();
    const [first, second] = [0, 1].map((index) => {
      const driver = stand.driver(index);
      frontEnd.startQueue(driver);
      return new DiskGuest(driver, 4);
    });
    const request = first!.offer(VIRTIO_BLK_T_IN, 1, { read: 512 });
    first!.driver.kick();
    await until(() => device.pending().length === 1, 'the device has the request');
    t.is(device.submitted(), 1);
    t.is(frontEnd.stopQueue(0), 1);
    t.is(first!.driver.usedIndex, 0);
    t.is(second!.read(2, 512).status, VIRTIO_BLK_S_OK);
    await until(() => device.submitted() === 0, 'it is done, only the guest does not know');
    t.is(first!.driver.usedIndex, 0, 'nothing is published while the queue is stopped');
    t.deepEqual(device.pending(), [{ queue: 0, head: request.head, held: false }]);
    frontEnd.setMemory();
    frontEnd.startQueue(first!.driver, 1);
    t.is(first!.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
    t.is(request.data.readBigUInt64BE(0), 512n, 'nbdkit pattern: each 8 bytes hold their offset');
    t.is(first!.read(3, 512).status, VIRTIO_BLK_S_OK);
    t.deepEqual(
      { reads: device.stats().reads, used: first!.driver.usedIndex, pending: device.pending() },
      { reads: 3, used: 2, pending: [] },
    );
  }),
);

test.serial(
  'suspending: a queue that is started elsewhere never sees what was in flight before',
  onStand(async (t, stand) => {
    const { device, frontEnd, guest, driver } = stand.openDisk(await slowDisk(stand, 300), { slots: 4 });
    device.setSuspendOnStop(true);
    guest.offer(VIRTIO_BLK_T_IN, 1, { read: 512 });
    guest.offer(VIRTIO_BLK_T_IN, 2, { read: 512 });
    driver.kick();
    await until(() => device.pending().length === 2, 'the device has the requests');
    t.is(frontEnd.stopQueue(0), 2);
    driver.reset();
    frontEnd.startQueue(driver, 0);
    const fresh = new DiskGuest(driver, 2);
    t.is(fresh.read(5, 512).data.readBigUInt64BE(0), 5n * 512n);
    t.is(driver.usedIndex, 1);
    t.deepEqual(device.pending(), []);
  }),
);

test.serial(
  'a back-end that replaces another does again, in order, what that one had in flight',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const first = stand.connectDisk({ target: { path } });
    stand.gate.close();
    first.frontEnd.negotiate(BLK_FEATURES);
    first.frontEnd.setMemory();
    const inflight = first.frontEnd.getInflight(1, 128);
    t.true(inflight.mmapSize > 0n);
    first.frontEnd.setInflight(inflight, 1, 128);
    const driver = stand.driver(0);
    driver.reverseHeads();
    first.frontEnd.startQueue(driver);
    const guest = new DiskGuest(driver, 16);
    const heads: number[] = [];
    const offer = (sector: number): void => {
      heads.push(guest.offer(VIRTIO_BLK_T_OUT, sector, { data: pattern(512, sector) }).head);
    };
    t.is(guest.read(0, 512).status, VIRTIO_BLK_S_OK);
    for (let sector = 0; sector < 8; sector += 1) offer(sector);
    driver.kick();
    await until(() => first.device.pending().length === 8, 'the first back-end holds all');
    first.frontEnd.close();
    await first.device.close();
    t.is(driver.usedIndex, 1, 'what was held is not answered');
    t.deepEqual(readFileSync(path).subarray(0, 4096), Buffer.alloc(4096), 'and not done');

    offer(8); // while no one serves the queue
    const second = stand.connectDisk({ target: { path } });
    second.frontEnd.negotiate(BLK_FEATURES);
    second.frontEnd.setInflight(inflight, 1, 128);
    second.frontEnd.setMemory();
    second.frontEnd.startQueue(driver, driver.usedIndex);
    await until(() => second.device.pending().length === 9, 'the second back-end has taken all of it');
    t.deepEqual(
      second.device.pending().map((request) => request.head),
      heads,
    );
    stand.gate.open();
    t.true(guest.wait(9).every((request) => request.status === VIRTIO_BLK_S_OK));
    t.is(driver.usedIndex, 10);
    for (let sector = 0; sector < 9; sector += 1) t.deepEqual(guest.read(sector, 512).data, pattern(512, sector));
  }),
);

test.serial(
  'a guest may choose a larger queue than the one for which the front-end asked an in-flight area',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const first = stand.connectDisk({ target: { path } });
    stand.gate.close();
    first.frontEnd.negotiate(BLK_FEATURES);
    first.frontEnd.setMemory();
    const inflight = first.frontEnd.getInflight(1, 128);
    first.frontEnd.setInflight(inflight, 1, 128);
    const driver = stand.driver(0, { size: 1024 });
    driver.reverseHeads();
    first.frontEnd.startQueue(driver);
    const guest = new DiskGuest(driver, 16);
    const { head } = guest.offer(VIRTIO_BLK_T_OUT, 3, { data: pattern(512, 3) });
    t.true(head > 128, 'the request is where a smaller area has no room');
    driver.kick();
    await until(() => first.device.pending().length === 1, 'the first back-end holds it');
    first.frontEnd.close();
    await first.device.close();
    const second = stand.connectDisk({ target: { path } });
    second.frontEnd.negotiate(BLK_FEATURES);
    second.frontEnd.setMemory();
    second.frontEnd.setInflight(inflight, 1, 128);
    second.frontEnd.startQueue(driver, driver.usedIndex);
    await until(() => second.device.pending().length === 1, 'the second back-end has taken it');
    stand.gate.open();
    t.is(guest.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
    t.deepEqual(guest.read(3, 512).data, pattern(512, 3));
  }),
);

test.serial(
  'a back-end that is replaced after everything completed has nothing to do again',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const first = stand.connectDisk({ target: { path } });
    first.frontEnd.negotiate(BLK_FEATURES);
    first.frontEnd.setMemory();
    const inflight = first.frontEnd.getInflight(1, 128);
    first.frontEnd.setInflight(inflight, 1, 128);
    const driver = stand.driver(0);
    first.frontEnd.startQueue(driver);
    const guest = new DiskGuest(driver, 32);
    for (let turn = 0; turn < 300; turn += 1) t.is(guest.write(turn, pattern(512, turn)), VIRTIO_BLK_S_OK);
    first.frontEnd.close();
    await first.device.close();
    const second = stand.connectDisk({ target: { path } });
    second.frontEnd.negotiate(BLK_FEATURES);
    second.frontEnd.setMemory();
    second.frontEnd.setInflight(inflight, 1, 128);
    second.frontEnd.startQueue(driver, driver.usedIndex);
    t.deepEqual(guest.read(299, 512).data, pattern(512, 299));
    t.is(second.device.stats().writes, 0);
  }),
);
