import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import test from 'ava';
import type { DiskGeometry } from '../../src/native/addon.js';
import { DiskGuest, pattern, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from './disk-guest.js';
import { standbyDisk, type Standby } from './moving.js';
import { startNbdkitServer } from './nbd.js';
import { BLK_FEATURES, onStand, type Stand } from './stand.js';
import { until } from './until.js';

const DISK_BYTES = 1024 * 1024;

function image(stand: Stand, name = 'disk.img'): string {
  const path = stand.file(name);
  writeFileSync(path, pattern(DISK_BYTES, 5));
  return path;
}

function run(stand: Stand, { frontEnd }: Standby): DiskGuest {
  frontEnd.negotiate(BLK_FEATURES);
  frontEnd.setMemory();
  const driver = stand.driver(0);
  frontEnd.startQueue(driver);
  return new DiskGuest(driver, 4);
}

test.serial(
  'a deferred disk shows the geometry it was told, and neither opens nor locks anything until it is told to',
  onStand(async (t, stand) => {
    const path = image(stand);
    const primary = stand.connectDisk({ target: { path } }).device;
    const standby = standbyDisk(stand, primary, { target: { path } });
    t.deepEqual(standby.device.geometry, primary.geometry);
    t.is(standby.device.stats().sizeBytes, DISK_BYTES);
    standby.frontEnd.negotiate(BLK_FEATURES);
    t.is(standby.frontEnd.getConfig(0, 8).readBigUInt64LE(0), BigInt(DISK_BYTES / 512));
    await primary.close();
    const other = stand.connectDisk({ target: { path } }).device; // nobody has it
    await other.close();
    await standby.device.open({ steal: false });
    t.throws(() => stand.connectDisk({ target: { path } }), { code: 'KEMARI_DISK_IN_USE' });
    const guest = run(stand, standby);
    t.deepEqual(guest.read(0, 512).data, pattern(DISK_BYTES, 5).subarray(0, 512));
    t.throws(() => standby.device.open({ steal: false }), { code: 'KEMARI_ARGUMENT', message: /already/ });
  }),
);

test.serial(
  'the lock of a host that stands still keeps a takeover out only where it is not stolen; afterwards it keeps others out',
  onStand(async (t, stand) => {
    const path = image(stand);
    const primary = stand.connectDisk({ target: { path } }).device;
    const careful = standbyDisk(stand, primary, { target: { path } });
    await t.throwsAsync(careful.device.open({ steal: false }), { code: 'KEMARI_DISK_IN_USE' });
    const standby = standbyDisk(stand, primary, { target: { path } });
    await standby.device.open({ steal: true });
    const guest = run(stand, standby);
    t.is(guest.write(3, pattern(512, 1)), VIRTIO_BLK_S_OK);
    await primary.close(); // it comes back, and ends
    t.throws(() => stand.connectDisk({ target: { path } }), { code: 'KEMARI_DISK_IN_USE' });
    t.deepEqual(readFileSync(path).subarray(3 * 512, 4 * 512), pattern(512, 1));
  }),
);

test.serial(
  'storage that is not what the guest was told is not opened',
  onStand(async (t, stand) => {
    const path = image(stand);
    const primary = stand.connectDisk({ target: { path } }).device;
    const told = primary.geometry;
    await primary.close();
    const wrong: [RegExp, Partial<DiskGeometry>][] = [
      [/size 1048576, the guest's disk 2097152/, { sizeBytes: 2 * DISK_BYTES }],
      [/flushes 1, the guest's disk 0/, { canFlush: false }],
    ];
    for (const [message, change] of wrong) {
      const standby = standbyDisk(stand, primary, { target: { path }, deferred: { ...told, ...change } });
      await t.throwsAsync(standby.device.open({ steal: true }), { code: 'KEMARI_DISK_GEOMETRY', message });
      const guest = run(stand, standby);
      t.is(guest.read(0, 512).status, VIRTIO_BLK_S_IOERR);
      await standby.device.close();
    }
    truncateSync(path, DISK_BYTES / 2);
    const standby = standbyDisk(stand, primary, { target: { path }, deferred: told });
    await t.throwsAsync(standby.device.open({ steal: true }), { code: 'KEMARI_DISK_GEOMETRY' });
    t.throws(() => standbyDisk(stand, primary, { target: { path }, deferred: { ...told, logicalBlockBytes: 513 } }), {
      code: 'KEMARI_ARGUMENT',
    });
  }),
);

test.serial(
  'an NBD disk that stands by is connected ahead, and connects again where that did not last',
  onStand(async (t, stand) => {
    const path = image(stand);
    const log = stand.file('nbdkit.log');
    const first = await startNbdkitServer(stand, ['--filter=log', 'file', path, `logfile=${log}`]);
    const primary = stand.connectDisk({ target: { nbdUri: first.uri } }).device;
    const [kept, lost] = [0, 1].map(() => standbyDisk(stand, primary, { target: { nbdUri: first.uri } }));
    await until(() => (readFileSync(log, 'utf8').match(/ Connect /g) ?? []).length === 3, 'both are connected');
    await primary.close();
    await kept!.device.open({ steal: false });
    t.is(run(stand, kept!).read(0, 512).status, VIRTIO_BLK_S_OK);
    first.process.kill('SIGKILL');
    await first.exited;
    await startNbdkitServer(stand, ['file', path], first.socket);
    await lost!.device.open({ steal: false });
    const guest = run(stand, lost!);
    t.deepEqual(guest.read(8, 512).data, pattern(DISK_BYTES, 5).subarray(4096, 4608));
    t.is(lost!.device.stats().errors, 0);
  }),
);

test.serial(
  'where an NBD server does not keep its connections coherent, a disk that stands by makes its own when it is opened',
  onStand(async (t, stand) => {
    const log = stand.file('nbdkit.log');
    const server = ['--filter=log', '--filter=multi-conn', 'file', image(stand)];
    const options = ['multi-conn-mode=disable', `logfile=${log}`];
    const { uri } = await startNbdkitServer(stand, [...server, ...options]);
    const count = (what: string): number => readFileSync(log, 'utf8').split(` ${what} `).length - 1;
    const primary = stand.connectDisk({ target: { nbdUri: uri } }).device;
    const standby = standbyDisk(stand, primary, { target: { nbdUri: uri } });
    await until(() => count('Disconnect') === 1, 'what was connected ahead is let go');
    await primary.close();
    await standby.device.open({ steal: false });
    t.is(count('Connect'), 3);
    t.deepEqual(run(stand, standby).read(0, 512).data, pattern(DISK_BYTES, 5).subarray(0, 512));
  }),
);
