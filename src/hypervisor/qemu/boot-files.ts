import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { addon } from '../../native/addon.js';
import { KemariError, messageOf } from '../../base/errors.js';

/** A kernel or ramdisk of more is a mistake in the domain file. */
export const BOOT_FILE_MAX_BYTES = 1 << 30;

const COPY_BYTES = 1 << 20;

const READABLE_BY_ALL = 0o004;

/**
 * A descriptor of a file that QEMU, which is another user, can open once more through /proc/self/fd: the file's own where
 * everyone may read it, else that of a copy in memory. The caller closes it.
 *
 * Errors: `KEMARI_BOOT_FILE`.
 */
export function openBootFile(key: 'kernel' | 'ramdisk', path: string): number {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const status = fstatSync(fd);
    if (!status.isFile()) throw new Error('it is not a regular file');
    if (status.size > BOOT_FILE_MAX_BYTES)
      throw new Error(`it has ${status.size} bytes; at most ${BOOT_FILE_MAX_BYTES}`);
    if ((status.mode & READABLE_BY_ALL) !== 0) return fd;
    const copy = copyToMemory(key, fd, status.size);
    closeSync(fd);
    return copy;
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    throw new KemariError('KEMARI_BOOT_FILE', `${key}: cannot use ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function copyToMemory(key: string, source: number, sizeBytes: number): number {
  const target = addon.createRam(`kemari-${key}`, sizeBytes);
  const buffer = Buffer.alloc(COPY_BYTES);
  for (let at = 0; at < sizeBytes;) {
    const got = readSync(source, buffer, 0, buffer.length, at);
    if (got === 0) throw new Error(`it became shorter while it was read (${at} of ${sizeBytes} bytes)`);
    writeSync(target, buffer, 0, got, at);
    at += got;
  }
  return target;
}
