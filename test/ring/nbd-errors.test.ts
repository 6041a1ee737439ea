import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { pattern, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from './disk-guest.js';
import { cutAt } from './moving.js';
import { startNbdkit, startNbdkitServer } from './nbd.js';
import { eventOf, onStand, type Stand } from './stand.js';
import { until } from './until.js';

/** Its place in a device's part of a checkpoint (addon/ring/ring_state.h). */
const UNANSWERED_WRITES = 24;

test.serial(
  'an NBD server’s errors are the guest’s errors, and the disk goes on',
  onStand(async (t, stand) => {
    const trigger = stand.file('errors');
    const nbdUri = await startNbdkit(stand, [
      '--filter=error',
      'memory',
      'size=1M',
      'error=EIO',
      'error-rate=100%',
      `error-file=${trigger}`,
    ]);
    const { guest, device, events } = stand.openDisk({ target: { nbdUri } });
    t.is(guest.write(0, pattern(4096, 1)), VIRTIO_BLK_S_OK);
    writeFileSync(trigger, '');
    t.is(guest.read(0, 4096).status, VIRTIO_BLK_S_IOERR);
    t.is(guest.write(0, pattern(4096, 2)), VIRTIO_BLK_S_IOERR);
    t.is(guest.writeZeroes(0, 8), VIRTIO_BLK_S_IOERR);
    t.true(device.stats().errors >= 3);
    t.regex((await eventOf(events, 'io-error')).code, /^KEMARI_/);
    unlinkSync(trigger);
    t.deepEqual(guest.read(0, 4096).data, pattern(4096, 1));
  }),
);

/** A file behind an NBD server that takes its time, with four requests that it has and has not answered. */
async function caughtInFlight(stand: Stand) {
  const file = stand.file('disk.img');
  writeFileSync(file, pattern(1024 * 1024, 9));
  const server = await startNbdkitServer(stand, ['--filter=delay', 'file', file, 'delay-read=60', 'delay-write=60']);
  const disk = stand.openDisk({ target: { nbdUri: server.uri } });
  disk.guest.offer(VIRTIO_BLK_T_OUT, 8, { data: pattern(512, 8) });
  for (let i = 0; i < 3; i += 1) disk.guest.offer(VIRTIO_BLK_T_IN, i, { read: 512 });
  disk.driver.kick();
  await until(() => disk.device.pending().length === 4, 'the device has the requests');
  server.process.kill('SIGKILL');
  await server.exited;
  await eventOf(disk.events, 'io-error');
  return { ...disk, file, socket: server.socket };
}

test.serial(
  'what an NBD server had when it was killed ends in I/O errors; the disk serves again once a server is back',
  onStand(async (t, stand) => {
    const { guest, file, socket, device } = await caughtInFlight(stand);
    t.is(device.stats().unansweredWrites, 1, 'the write may land yet, the reads harm nobody');
    t.true(guest.wait(4).every((request) => request.status === VIRTIO_BLK_S_IOERR));
    t.is(guest.read(0, 512).status, VIRTIO_BLK_S_IOERR);
    await startNbdkitServer(stand, ['file', file], socket);
    await until(() => guest.read(2, 512).status === VIRTIO_BLK_S_OK, 'the disk serves again');
    t.is(guest.write(8, pattern(512, 8)), VIRTIO_BLK_S_OK);
    t.deepEqual(readFileSync(file).subarray(4096, 4608), pattern(512, 8));
    t.is(device.stats().unansweredWrites, 1, 'nothing tells that it will not');
  }),
);

test.serial(
  'a write that an NBD server may have had when it was lost is in the part of every later checkpoint',
  onStand(async (t, stand) => {
    const disk = await caughtInFlight(stand);
    disk.guest.wait(4);
    const cut = cutAt(stand, disk, [disk.driver]).bytes;
    t.is(cut.readUInt32LE(UNANSWERED_WRITES), 1);
  }),
);

test.serial(
  'a disk whose NBD server is gone for good still closes',
  onStand(async (t, stand) => {
    const { device } = await caughtInFlight(stand);
    await device.close();
    t.deepEqual(device.pending(), []);
  }),
);
