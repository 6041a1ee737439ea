import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { KemariError } from '../../src/base/errors.js';
import type { DiskConfig, DiskTarget } from '../../src/model/domain-config.js';
import { checkDisk, checkDisks } from '../../src/storage/check.js';
import { diskSerial } from '../../src/storage/serial.js';

const folder = mkdtempSync(path.join(tmpdir(), 'kemari-storage-'));
test.after.always(() => {
  rmSync(folder, { recursive: true, force: true });
});

function disk(target: DiskTarget, change: Partial<DiskConfig> = {}): DiskConfig {
  return { vdev: 'xvda', target, readOnly: false, discard: true, cache: 'writeback', queues: 1, ...change };
}

function image(name: string, sizeBytes: number): DiskTarget {
  const file = path.join(folder, name);
  writeFileSync(file, '');
  truncateSync(file, sizeBytes);
  return { kind: 'path', path: file };
}

async function refused(
  t: ExecutionContext,
  config: DiskConfig,
  code: KemariError['code'],
  words: RegExp,
): Promise<void> {
  const error = await t.throwsAsync<KemariError>(checkDisk(config));
  t.is(error.code, code);
  t.regex(error.message, words);
  t.regex(error.message, /^disk xvda: /);
}

test('a raw image of whole sectors is accepted', async (t) => {
  await t.notThrowsAsync(checkDisks([disk(image('good.img', 4096)), disk(image('odd.img', 512 * 7))]));
});

test('a missing file is refused by name', async (t) => {
  await refused(
    t,
    disk({ kind: 'path', path: path.join(folder, 'none.img') }),
    'KEMARI_DISK_OPEN',
    /none\.img.*create it/,
  );
});

test('a directory is refused', async (t) => {
  mkdirSync(path.join(folder, 'directory'));
  const target: DiskTarget = { kind: 'path', path: path.join(folder, 'directory') };
  await refused(t, disk(target), 'KEMARI_DISK_OPEN', /is a directory; expected a raw image file or a block device/);
});

test('a character device and a FIFO are refused without waiting for them', async (t) => {
  await refused(t, disk({ kind: 'path', path: '/dev/null' }), 'KEMARI_DISK_OPEN', /neither a regular file nor/);
  const fifo = path.join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
  await refused(t, disk({ kind: 'path', path: fifo }), 'KEMARI_DISK_OPEN', /neither a regular file nor/);
});

test('an empty image is refused, and one that ends inside a sector', async (t) => {
  await refused(t, disk(image('empty.img', 0)), 'KEMARI_DISK_SIZE', /is empty/);
  await refused(t, disk(image('cut.img', 1000)), 'KEMARI_DISK_SIZE', /has 1000 bytes.*truncate -s 1024/);
});

test('an NBD export is refused when its URI is none', async (t) => {
  await t.notThrowsAsync(checkDisk(disk({ kind: 'nbd', uri: 'nbd+unix:///export?socket=/run/nbd.sock' })));
  await refused(t, disk({ kind: 'nbd', uri: 'http://host/export' }), 'KEMARI_DISK_OPEN', /is no NBD URI.*nbd\+unix:/);
});

test('a serial number is short, plain and another one for each disk', (t) => {
  const uuid = '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed';
  t.is(diskSerial(uuid, 'xvda'), '1b9d6bcd-xvda');
  t.not(diskSerial(uuid, 'xvdb'), diskSerial(uuid, 'xvda'));
  const long = diskSerial(uuid, 'a-name-that-is-too-long');
  t.regex(long, /^[\w.-]{1,20}$/);
  t.not(diskSerial(uuid, 'a-name-that-is-too-lonG'), long);
});
