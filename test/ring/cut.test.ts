import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import test from 'ava';
import {
  DiskGuest,
  type DiskRequest,
  pattern,
  range,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from './disk-guest.js';
import { cutAt, standbyDisk, takeOver } from './moving.js';
import { startNbdkitServer } from './nbd.js';
import { BLK_FEATURES, eventOf, onStand, type Stand } from './stand.js';
import { until } from './until.js';

const VIRTIO_F_INDIRECT_DESC = 1n << 28n;
const DISK_BYTES = 1024 * 1024;

function diskFile(stand: Stand): string {
  const path = stand.file('disk.img');
  writeFileSync(path, '');
  truncateSync(path, DISK_BYTES);
  return path;
}

function bytesAt(path: string, sector: number, length: number): Buffer {
  return readFileSync(path).subarray(sector * 512, sector * 512 + length);
}

/** A guest that rewrites all of a request but where its answer goes: header, data and the answer itself. */
function scribble(request: DiskRequest): void {
  request.slot.bytes.writeUInt32LE(VIRTIO_BLK_T_FLUSH, 0);
  request.slot.bytes.writeBigUInt64LE(777n, 8);
  request.data.fill(0xff);
}

for (const indirect of [true, false]) {
  test.serial(
    `what was held leaves on the standby, once, with the bytes of the cut (${indirect ? 'indirect' : 'direct'} chains)`,
    onStand(async (t, stand) => {
      const path = diskFile(stand);
      const primary = stand.openDisk({ target: { path } }, { indirect });
      const { guest, driver, device } = primary;
      t.is(guest.write(40, pattern(4096, 40)), VIRTIO_BLK_S_OK);
      stand.gate.close();
      const requests = [
        guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(4096, 1), cut: [1, 511, 1000] }),
        guest.offer(VIRTIO_BLK_T_FLUSH, 0),
        guest.offer(VIRTIO_BLK_T_WRITE_ZEROES, 0, { data: range(40, 1, 0) }),
        guest.offer(VIRTIO_BLK_T_DISCARD, 0, { data: range(42, 2, 0) }),
        guest.offer(VIRTIO_BLK_T_OUT, 16, { data: pattern(512, 2) }),
      ];
      driver.kick();
      await until(() => device.pending().length === 5, 'they are held');
      const standby = standbyDisk(stand, device, { target: { path }, queues: 1 });
      const cut = cutAt(stand, primary, [driver]);
      await device.close();
      t.deepEqual(bytesAt(path, 0, 4096), Buffer.alloc(4096));
      const spoil = (): void => {
        requests.forEach(scribble);
        driver.writeDescriptor(requests[0]!.head, { address: 0xdead0000n, length: 9, flags: 0, next: 0 });
      };
      await takeOver(stand, standby, cut, [driver], spoil, indirect ? 0n : VIRTIO_F_INDIRECT_DESC);
      t.true(guest.wait(5).every(({ status }) => status === VIRTIO_BLK_S_OK));
      t.deepEqual(bytesAt(path, 0, 4096), pattern(4096, 1));
      t.deepEqual(bytesAt(path, 16, 512), pattern(512, 2));
      t.deepEqual(bytesAt(path, 40, 512), Buffer.alloc(512));
      t.deepEqual(bytesAt(path, 41, 512), pattern(4096, 40).subarray(512, 1024));
      t.deepEqual(bytesAt(path, 42, 1024), Buffer.alloc(1024));
      t.is(standby.device.stats().writes, 2);
      t.is(guest.write(60, pattern(512, 60)), VIRTIO_BLK_S_OK);
      t.is(driver.usedIndex, 7);
      t.deepEqual(standby.device.pending(), []);
    }),
  );
}

test.serial(
  'what is in flight at the cut is submitted again: reads are whole after it, writes are those of the cut',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    writeFileSync(path, pattern(DISK_BYTES, 9));
    const server = await startNbdkitServer(stand, ['file', path]);
    const primary = stand.openDisk({ target: { nbdUri: server.uri } });
    const { guest, driver, device } = primary;
    server.process.kill('SIGSTOP');
    const isStopped = (): boolean => readFileSync(`/proc/${server.process.pid}/stat`, 'latin1').includes(') T ');
    await until(isStopped, 'the server stands still');
    const early = guest.offer(VIRTIO_BLK_T_OUT, 64, { data: pattern(2048, 3), cut: [700] });
    const read = guest.offer(VIRTIO_BLK_T_IN, 8, { read: 4096, cut: [100, 1000] });
    driver.kick();
    await until(() => device.stats().inFlight === 2, 'both are in flight');
    // Protected from here on: the write that left before is frozen by the first cut.
    stand.gate.close();
    const late = guest.offer(VIRTIO_BLK_T_OUT, 80, { data: pattern(512, 4) });
    driver.kick();
    await until(() => device.pending().length === 3, 'the last one is held');
    device.setSuspendOnStop(true);
    const base = primary.frontEnd.stopQueue(0);
    const through = stand.gate.cut();
    device.cut();
    early.data.fill(0xee);
    late.data.fill(0xee);
    stand.gate.release(through); // acknowledged: it is in flight at the next cut
    primary.frontEnd.startQueue(driver, base);
    await until(() => device.pending().every(({ held }) => !held), 'it has left');
    const cut = cutAt(stand, primary, [driver]);
    const standby = standbyDisk(stand, device, { target: { path } });
    const closed = device.close();
    server.process.kill('SIGKILL');
    await closed;
    await takeOver(stand, standby, cut, [driver]);
    t.true(guest.wait(3).every(({ status }) => status === VIRTIO_BLK_S_OK));
    t.deepEqual(read.data, pattern(DISK_BYTES, 9).subarray(4096, 8192));
    t.deepEqual(bytesAt(path, 64, 2048), pattern(2048, 3));
    t.deepEqual(bytesAt(path, 80, 512), pattern(512, 4));
    t.is(driver.usedIndex, 3);
  }),
);

test.serial(
  'what completed before the cut, and the guest does not know of, is answered and not done again',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const primary = stand.openDisk({ target: { path } });
    const { guest, driver, device, frontEnd } = primary;
    device.setSuspendOnStop(true);
    stand.gate.close();
    guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 1) });
    const second = guest.offer(VIRTIO_BLK_T_OUT, 2, { data: pattern(512, 2) });
    driver.kick();
    await until(() => device.pending().length === 2, 'they are held');
    frontEnd.stopQueue(0);
    stand.gate.release(stand.gate.lastSequence - 1n);
    await until(() => device.stats().writes === 1, 'the first has landed');
    stand.gate.cut();
    const bytes = device.cut();
    t.is(driver.usedIndex, 0);
    const ram = stand.ram.bytes.slice();
    const standby = standbyDisk(stand, device, { target: { path } });
    await device.close();
    writeFileSync(path, Buffer.alloc(DISK_BYTES)); // a second write of it would be seen
    await takeOver(stand, standby, { bases: [2], bytes, ram }, [driver]);
    t.deepEqual(
      guest.wait(2).map(({ status }) => status),
      [VIRTIO_BLK_S_OK, VIRTIO_BLK_S_OK],
    );
    t.deepEqual(bytesAt(path, 1, 512), Buffer.alloc(512));
    t.deepEqual(bytesAt(path, 2, 512), pattern(512, 2));
    t.is(standby.device.stats().writes, 1);
    t.is(second.status, VIRTIO_BLK_S_OK);
  }),
);

test.serial(
  'several queues go on where each stood, and behind a closed gate what was pending is held again',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const connected = stand.connectDisk({ target: { path }, queues: 4 });
    connected.frontEnd.negotiate(BLK_FEATURES);
    connected.frontEnd.setMemory();
    const drivers = [0, 1, 2, 3].map((index) => stand.driver(index, { size: 8 << index }));
    const guests = drivers.map((driver) => new DiskGuest(driver, 4));
    for (const driver of drivers) connected.frontEnd.startQueue(driver);
    for (let turn = 0; turn < 5; turn += 1) t.is(guests[2]!.write(turn, pattern(512, turn)), VIRTIO_BLK_S_OK);
    stand.gate.close();
    for (const queue of [3, 0, 3]) {
      guests[queue]!.offer(VIRTIO_BLK_T_OUT, 100 + queue, { data: pattern(512, 100 + queue) });
      drivers[queue]!.kick();
    }
    const { device } = connected;
    await until(() => device.pending().length === 3, 'they are held');
    const standby = standbyDisk(stand, device, { target: { path }, queues: 4 });
    const cut = cutAt(stand, connected, drivers);
    await device.close();
    standby.gate.close();
    await takeOver(stand, standby, cut, drivers);
    await until(() => standby.device.pending().length === 3, 'they are held again');
    t.deepEqual(bytesAt(path, 100, 512), Buffer.alloc(512));
    // A second takeover, with nothing done in between.
    const again = standbyDisk(stand, standby.device, { target: { path }, queues: 4 });
    standby.gate.cut();
    const second = cutAt(stand, standby, drivers);
    await standby.device.close();
    await takeOver(stand, again, second, drivers);
    t.is(guests[3]!.wait(2).length + guests[0]!.wait(1).length, 3);
    for (const sector of [100, 103]) t.deepEqual(bytesAt(path, sector, 512), pattern(512, sector));
    t.deepEqual(drivers.map(({ usedIndex }) => usedIndex), [1, 0, 5, 2]); // prettier-ignore
  }),
);

test.serial(
  'a standby that has not run yet can be cut, and what it was given is what it gives',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const primary = stand.openDisk({ target: { path } });
    stand.gate.close();
    primary.guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 1) });
    primary.driver.kick();
    await until(() => primary.device.pending().length === 1, 'it is held');
    const standby = standbyDisk(stand, primary.device, { target: { path } });
    const cut = cutAt(stand, primary, [primary.driver]);
    standby.frontEnd.negotiate(BLK_FEATURES);
    standby.device.restore(cut.bytes);
    t.deepEqual(standby.device.cut(), cut.bytes);
  }),
);

test.serial(
  'a queue that runs cannot be cut',
  onStand((t, stand) => {
    const { device, guest } = stand.openDisk({ target: { path: diskFile(stand) } });
    t.is(guest.flush(), VIRTIO_BLK_S_OK);
    t.throws(() => device.cut(), { code: 'KEMARI_RING_STATE', message: /stop the machine first/ });
  }),
);

test.serial(
  'a guest that had reset its disk gets nothing of the old requests, and the owner is told',
  onStand(async (t, stand) => {
    const path = diskFile(stand);
    const primary = stand.openDisk({ target: { path } });
    const { device, guest, driver } = primary;
    stand.gate.close();
    guest.offer(VIRTIO_BLK_T_OUT, 1, { data: pattern(512, 1) });
    driver.kick();
    await until(() => device.pending().length === 1, 'it is held');
    const standby = standbyDisk(stand, device, { target: { path } });
    const cut = cutAt(stand, primary, [driver]);
    await device.close();
    driver.reset();
    cut.ram.set(stand.ram.bytes);
    await takeOver(stand, standby, { ...cut, bases: [0] }, [driver]);
    const fresh = new DiskGuest(driver, 2);
    t.is(fresh.write(2, pattern(512, 2)), VIRTIO_BLK_S_OK);
    t.deepEqual(bytesAt(path, 1, 512), Buffer.alloc(512));
    t.is((await eventOf(standby.events, 'queue-broken')).code, 'KEMARI_RING_STATE');
  }),
);
