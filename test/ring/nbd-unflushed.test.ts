import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import type { DeviceEvent } from '../../src/native/addon.js';
import { DiskGuest, pattern, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from './disk-guest.js';
import { cutAt, standbyDisk, takeOver } from './moving.js';
import { startNbdkitServer } from './nbd.js';
import { onStand, type Stand } from './stand.js';
import { until } from './until.js';

const DISK_BYTES = 1024 * 1024;
const SECTOR = 8;
const WRITTEN = pattern(4096, 1);

/**
 * A server that keeps writes in memory until a flush, whichever connection that comes on, and says so; and the same after it
 * has crashed.
 */
async function crashing(stand: Stand) {
  const path = stand.file('disk.img');
  writeFileSync(path, Buffer.alloc(DISK_BYTES));
  const log = stand.file('nbdkit.log');
  const filters = ['log', 'multi-conn', 'cache'].map((filter) => `--filter=${filter}`);
  const options = ['cache=writeback', 'multi-conn-mode=emulate', `logfile=${log}`];
  const args = [...filters, 'file', path, ...options];
  const server = await startNbdkitServer(stand, args);
  const connections = (): number => readFileSync(log, 'utf8').split(' Connect ').length - 1;
  return {
    target: { nbdUri: server.uri },
    /** Waits until so many connections were made. */
    connected: (count: number) => until(() => connections() >= count, `${count} connections`),
    crash: async (): Promise<void> => {
      server.process.kill('SIGKILL');
      await server.exited;
      await startNbdkitServer(stand, args, server.socket);
    },
  };
}

/** The disk has found out that its connection was lost, and has another. */
async function connectedAgain(guest: DiskGuest): Promise<void> {
  await until(() => guest.read(SECTOR, 4096).status === VIRTIO_BLK_S_OK, 'the disk serves again');
}

test.serial(
  'a flush fails, once, when a storage server has crashed with what was written since the last one',
  onStand(async (t, stand) => {
    const server = await crashing(stand);
    const { guest, events, device } = stand.openDisk({ target: server.target });
    t.is(guest.write(SECTOR, WRITTEN), VIRTIO_BLK_S_OK);
    await server.crash();
    await connectedAgain(guest);
    t.deepEqual(guest.read(SECTOR, 4096).data, Buffer.alloc(4096), 'it is lost indeed');
    const { errors } = device.stats();
    t.is(guest.flush(), VIRTIO_BLK_S_IOERR);
    t.is(device.stats().errors, errors + 1);
    const told = (): DeviceEvent[] => events.filter(({ text }) => text.includes('1 changes that no flush had reached'));
    await until(() => told().length > 0, 'it is told');
    t.deepEqual([told().length, told()[0]?.code], [1, 'KEMARI_DISK_IO']);
    t.is(guest.write(SECTOR, WRITTEN), VIRTIO_BLK_S_OK);
    t.is(guest.flush(), VIRTIO_BLK_S_OK);
    await server.crash().then(() => connectedAgain(guest));
    t.deepEqual(guest.read(SECTOR, 4096).data, WRITTEN);
  }),
);

test.serial(
  'no flush fails for a storage server that crashed when everything had been flushed',
  onStand(async (t, stand) => {
    const server = await crashing(stand);
    const { guest } = stand.openDisk({ target: server.target });
    t.is(guest.write(SECTOR, WRITTEN), VIRTIO_BLK_S_OK);
    t.is(guest.flush(), VIRTIO_BLK_S_OK);
    await server.crash().then(() => connectedAgain(guest));
    t.is(guest.flush(), VIRTIO_BLK_S_OK);
    t.deepEqual(guest.read(SECTOR, 4096).data, WRITTEN);
  }),
);

for (const when of ['before', 'after'] as const) {
  test.serial(
    `who takes over has the flush fail, of a storage server that crashed ${when} the last epoch`,
    onStand(async (t, stand) => {
      const server = await crashing(stand);
      const { target } = server;
      const disk = stand.openDisk({ target });
      const { guest } = disk;
      t.is(guest.write(SECTOR, WRITTEN), VIRTIO_BLK_S_OK);
      if (when === 'before') await server.crash().then(() => connectedAgain(guest));
      const standby = standbyDisk(stand, disk.device, { target });
      await server.connected(2);
      const cut = cutAt(stand, disk, [disk.driver]);
      if (when === 'after') await server.crash();
      await disk.device.close();
      await takeOver(stand, standby, cut, [disk.driver]);
      t.deepEqual(guest.read(SECTOR, 4096).data, Buffer.alloc(4096));
      t.is(guest.flush(), VIRTIO_BLK_S_IOERR);
      t.is(guest.flush(), VIRTIO_BLK_S_OK);
    }),
  );
}

test.serial(
  'who takes over flushes what its predecessor wrote where the storage server lives',
  onStand(async (t, stand) => {
    const server = await crashing(stand);
    const { target } = server;
    const disk = stand.openDisk({ target });
    const standby = standbyDisk(stand, disk.device, { target });
    await server.connected(2);
    const { guest } = disk;
    t.is(guest.write(SECTOR, WRITTEN), VIRTIO_BLK_S_OK);
    const cut = cutAt(stand, disk, [disk.driver]);
    await disk.device.close();
    await takeOver(stand, standby, cut, [disk.driver]);
    t.is(guest.flush(), VIRTIO_BLK_S_OK);
    await server.crash().then(() => connectedAgain(guest));
    t.deepEqual(guest.read(SECTOR, 4096).data, WRITTEN);
  }),
);
