import { execFile, execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import type { Disk, DiskOptions } from '../../src/native/addon.js';
import { startNbdkit } from './nbd.js';
import { onStand, type Stand } from './stand.js';

const DISK_BYTES = 1024 * 1024;

function image(stand: Stand, name = 'disk.img'): string {
  const path = stand.file(name);
  writeFileSync(path, '');
  truncateSync(path, DISK_BYTES);
  return path;
}

function openDisk(stand: Stand, path: string, change: Partial<DiskOptions> = {}): Disk {
  return stand.connectDisk({ target: { path }, ...change }).device;
}

function refused(t: ExecutionContext, code: string, words: RegExp, open: () => unknown): void {
  const error = t.throws<Error & { code?: string }>(open);
  t.is(error.code, code);
  t.regex(error.message, words);
}

/** Whether QEMU's own tools may open the image with QEMU's locks; what they print otherwise. */
async function qemuIo(path: string, ...flags: string[]): Promise<string> {
  // A sanitizer is preloaded for the addon; ThreadSanitizer ends a QEMU, whose coroutines jump between stacks.
  const env = { ...process.env, LD_PRELOAD: undefined };
  try {
    await promisify(execFile)('qemu-io', ['-f', 'raw', ...flags, '-c', 'read 0 512', path], { env });
    return 'opened';
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    return `${stdout}${stderr}`;
  }
}

test.serial(
  'a disk has one writer, whatever path leads to it',
  onStand((t, stand) => {
    const path = image(stand);
    openDisk(stand, path);
    linkSync(path, stand.file('hard.img'));
    symlinkSync(path, stand.file('soft.img'));
    for (const other of [path, stand.file('hard.img'), stand.file('soft.img')]) {
      refused(t, 'KEMARI_DISK_IN_USE', /in use/, () => openDisk(stand, other));
      refused(t, 'KEMARI_DISK_IN_USE', /in use/, () => openDisk(stand, other, { readOnly: true }));
    }
  }),
);

test.serial(
  'readers share a disk, and keep writers away',
  onStand((t, stand) => {
    const path = image(stand);
    openDisk(stand, path, { readOnly: true });
    t.notThrows(() => openDisk(stand, path, { readOnly: true }));
    refused(t, 'KEMARI_DISK_IN_USE', /in use/, () => openDisk(stand, path));
  }),
);

test.serial(
  'a closed disk is free at once, with io_uring and with threads',
  onStand(async (t, stand) => {
    const path = image(stand);
    for (const engine of ['io_uring', 'threads', 'io_uring'] as const) {
      const disk = openDisk(stand, path, { engine });
      await disk.close();
    }
    t.is(await qemuIo(path), 'opened');
  }),
);

test.serial(
  "QEMU's locks and ours are the same",
  onStand(async (t, stand) => {
    const path = image(stand);
    const disk = openDisk(stand, path);
    t.regex(await qemuIo(path), /Failed to get "write" lock/);
    await disk.close();
    const reader = openDisk(stand, path, { readOnly: true });
    t.regex(await qemuIo(path), /Failed to get "write" lock/);
    t.is(await qemuIo(path, '-r'), 'opened');
    await reader.close();
  }),
);

test.serial(
  'a block device is refused under another name, and while it is mounted',
  onStand((t, stand) => {
    const path = image(stand);
    let loop: string;
    try {
      loop = execFileSync('losetup', ['--find', '--show', path], { encoding: 'utf8' }).trim();
    } catch (error) {
      t.log(`skipped: no loop device to be had (${String(error)})`);
      t.pass();
      return;
    }
    stand.onClose(() => void execFileSync('losetup', ['--detach', loop]));
    const node = stand.file('node');
    const { rdev } = statSync(loop);
    execFileSync('mknod', [node, 'b', String((rdev >> 8) & 0xfff), String(rdev & 0xff)]);
    execFileSync('mkfs.ext4', ['-q', loop]);
    mkdirSync(stand.file('mounted'));
    execFileSync('mount', [loop, stand.file('mounted')]);
    try {
      refused(t, 'KEMARI_DISK_IN_USE', /mounted/, () => openDisk(stand, loop));
    } finally {
      execFileSync('umount', [stand.file('mounted')]);
    }
    t.is(openDisk(stand, node, { readOnly: true }).stats().sizeBytes, DISK_BYTES);
    refused(t, 'KEMARI_DISK_IN_USE', /in use/, () => openDisk(stand, loop));
  }),
);

test.serial(
  'what cannot be a disk is refused with its reason',
  onStand((t, stand) => {
    refused(t, 'KEMARI_DISK_OPEN', /none\.img/, () => openDisk(stand, stand.file('none.img')));
    refused(t, 'KEMARI_DISK_OPEN', /is a directory/, () => openDisk(stand, stand.folder));
    refused(t, 'KEMARI_DISK_OPEN', /neither/, () => openDisk(stand, '/dev/null'));
    const path = image(stand);
    truncateSync(path, 1000);
    refused(t, 'KEMARI_DISK_SIZE', /1000 bytes/, () => openDisk(stand, path));
    truncateSync(path, 0);
    refused(t, 'KEMARI_DISK_SIZE', /0 bytes/, () => openDisk(stand, path));
  }),
);

test.serial(
  'an NBD export is refused when nobody serves it, or when it may not be written',
  onStand(async (t, stand) => {
    const gone = `nbd+unix:///?socket=${stand.file('nobody.sock')}`;
    refused(t, 'KEMARI_NBD_CONNECT', /nobody\.sock/, () => stand.connectDisk({ target: { nbdUri: gone } }));
    const nbdUri = await startNbdkit(stand, ['--readonly', 'memory', `size=${DISK_BYTES}`]);
    refused(t, 'KEMARI_DISK_OPEN', /exported read-only/, () => stand.connectDisk({ target: { nbdUri } }));
    t.is(stand.connectDisk({ target: { nbdUri }, readOnly: true }).device.stats().engine, 'nbd');
  }),
);
