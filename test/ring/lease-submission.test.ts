import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { DiskOptions } from '../../src/native/addon.js';
import { pattern, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_OUT } from './disk-guest.js';
import { diskFile } from './hostile.js';
import { loseLeaseBehindGate } from './lost-lease.js';
import { startNbdkit, startNbdkitServer } from './nbd.js';
import { onStand, type Stand } from './stand.js';
import { until } from './until.js';

const FOREVER_NS = 1n << 62n;
const SECTOR_BYTES = 512;
/** More than a socket takes at once. */
const LARGE_BYTES = 10 << 20;

/** How a disk reaches the file behind it. */
const WAYS: Record<
  string,
  (stand: Stand, path: string) => Promise<Partial<DiskOptions> & Pick<DiskOptions, 'target'>>
> = {
  io_uring: (_, path) => Promise.resolve({ target: { path }, engine: 'io_uring' }),
  threads: (_, path) => Promise.resolve({ target: { path }, engine: 'threads' }),
  nbd: async (stand, path) => ({ target: { nbdUri: await startNbdkit(stand, ['file', path]) } }),
};

for (const [way, optionsFor] of Object.entries(WAYS)) {
  test.serial(
    `${way}: what the gate let go does not leave once the lease is over; a renewal lets it go, in order`,
    onStand(async (t, stand) => {
      const path = diskFile(stand, 'disk.img').target.path;
      const { guest, driver, device } = stand.openDisk(await optionsFor(stand, path));
      const { gate } = stand;
      gate.close();
      guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(SECTOR_BYTES, 1) });
      driver.kick();
      await until(() => gate.counters().held === 1, 'it is held');
      loseLeaseBehindGate(gate);
      readsGoOn(t, guest);
      t.deepEqual(
        device.pending().map(({ held }) => held),
        [false],
        'the gate has let it go, and it is pending',
      );
      guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(SECTOR_BYTES, 2) });
      guest.offer(VIRTIO_BLK_T_FLUSH, 0);
      driver.kick();
      await until(() => device.pending().length === 3, 'the device has those behind it');
      gate.release(gate.lastSequence);
      readsGoOn(t, guest);
      t.is(device.pending().length, 3);
      t.deepEqual(readFileSync(path).subarray(0, SECTOR_BYTES), Buffer.alloc(SECTOR_BYTES));
      gate.renewLease(FOREVER_NS);
      t.true(guest.wait(3).every(({ status }) => status === VIRTIO_BLK_S_OK));
      t.true([1, 2].some((seed) => pattern(SECTOR_BYTES, seed).equals(readFileSync(path).subarray(0, SECTOR_BYTES))));
    }),
  );

  test.serial(
    `${way}: a disk that is closed without a lease keeps for itself what could not leave`,
    onStand(async (t, stand) => {
      const path = diskFile(stand, 'disk.img').target.path;
      const { guest, driver, device, frontEnd } = stand.openDisk(await optionsFor(stand, path));
      stand.gate.close();
      guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(SECTOR_BYTES, 1) });
      driver.kick();
      await until(() => stand.gate.counters().held === 1, 'it is held');
      loseLeaseBehindGate(stand.gate);
      frontEnd.close();
      await device.close();
      t.is(device.stats().unansweredWrites, 0, 'nobody was asked');
      t.deepEqual(readFileSync(path).subarray(0, SECTOR_BYTES), Buffer.alloc(SECTOR_BYTES));
    }),
  );
}

test.serial(
  'of a write in pieces those do not leave that come after the end of the lease',
  onStand(async (t, stand) => {
    const path = diskFile(stand, 'disk.img').target.path;
    const filters = ['--filter=noparallel', '--filter=blocksize-policy'];
    const server = await startNbdkitServer(stand, [...filters, 'file', path, 'blocksize-maximum=4096']);
    const { guest, driver, device } = stand.openDisk({ target: { nbdUri: server.uri } });
    await stop(server.process.pid!);
    guest.offer(VIRTIO_BLK_T_OUT, 0, { data: pattern(8192, 1) });
    driver.kick();
    await until(() => device.stats().inFlight === 1, 'the server is to have the first piece');
    stand.gate.requireLease(true);
    server.process.kill('SIGCONT');
    await until(
      () => readFileSync(path).subarray(0, 4096).equals(pattern(8192, 1).subarray(0, 4096)),
      'the first lands',
    );
    readsGoOn(t, guest);
    t.deepEqual(readFileSync(path).subarray(4096, 8192), Buffer.alloc(4096));
    t.is(device.pending().length, 1);
    stand.gate.renewLease(FOREVER_NS);
    t.is(guest.wait(1)[0]!.status, VIRTIO_BLK_S_OK);
    t.deepEqual(readFileSync(path).subarray(0, 8192), pattern(8192, 1));
  }),
);

test.serial(
  'the rest of a command that a socket took in part does not leave once the lease is over',
  onStand(async (t, stand) => {
    const { driver, device, path, server } = await halfSent(stand);
    stand.gate.requireLease(true);
    server.process.kill('SIGCONT');
    await setTimeout(100);
    t.true(readFileSync(path).equals(Buffer.alloc(2 * LARGE_BYTES)), 'half a write is none');
    t.is(device.pending().length, 1);
    stand.gate.renewLease(FOREVER_NS);
    t.is(driver.wait(1).length, 1);
    t.true(readFileSync(path).subarray(0, LARGE_BYTES).equals(pattern(LARGE_BYTES, 1)));
  }),
);

test.serial(
  'a disk that is closed without a lease does not send the rest of a command while it waits for answers',
  onStand(async (t, stand) => {
    const { device, frontEnd, path, server } = await halfSent(stand);
    stand.gate.requireLease(true);
    frontEnd.close();
    const closed = device.close();
    server.process.kill('SIGCONT');
    await closed;
    t.is(device.stats().unansweredWrites, 1, 'a server has some of it');
    t.true(readFileSync(path).equals(Buffer.alloc(2 * LARGE_BYTES)));
  }),
);

/** A write that is too large for the socket of a server that has stopped. */
async function halfSent(stand: Stand) {
  const path = stand.file('disk.img');
  writeFileSync(path, Buffer.alloc(2 * LARGE_BYTES));
  const server = await startNbdkitServer(stand, ['file', path]);
  const disk = stand.openDisk({ target: { nbdUri: server.uri } }, { slots: 1 });
  await stop(server.process.pid!);
  const header = { gpa: stand.ram.allocate(16), length: 16 };
  const data = { gpa: stand.ram.allocate(LARGE_BYTES, 4096), length: LARGE_BYTES };
  stand.ram.slice(header.gpa, 4).writeUInt32LE(VIRTIO_BLK_T_OUT);
  stand.ram.slice(data.gpa, data.length).set(pattern(LARGE_BYTES, 1));
  disk.driver.add([header, data], [{ gpa: stand.ram.allocate(1), length: 1 }]);
  disk.driver.kick();
  await until(() => disk.device.stats().inFlight === 1, 'the write is with the server');
  return { ...disk, path, server };
}

/** Reads are not outbound; each one shows that the device has had a turn. */
function readsGoOn(t: ExecutionContext, guest: ReturnType<Stand['openDisk']>['guest']): void {
  for (let i = 0; i < 20; i += 1) t.is(guest.read(100, SECTOR_BYTES).status, VIRTIO_BLK_S_OK);
}

/** Returns once every thread of the process stands still (proc_pid_stat(5)). */
async function stop(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  await until(() => {
    const threads = readdirSync(`/proc/${pid}/task`);
    return threads.every((thread) => readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').includes(') T '));
  }, 'the server has stopped');
}
