import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { addon } from '../native/addon.js';
import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';

/** A lock that was taken; closing `fd` (or the end of every process that inherited it) frees it. */
export interface HeldLock {
  readonly fd: number;
}

/**
 * Takes the lock of `path` if no process has it; undefined when one has, or when the file is gone. The file is made when
 * `create` says so.
 */
export function tryLockFile(path: string, options: { readonly create: boolean }): HeldLock | undefined {
  let fd: number;
  try {
    fd = openSync(path, options.create ? 'a' : 'r+', 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  // Between open and lock another process may have removed the file and made a new one: then the lock says nothing.
  if (addon.tryLock(fd) && isFileAt(fd, path)) return { fd };
  closeSync(fd);
  return undefined;
}

export function unlock(lock: HeldLock): void {
  closeSync(lock.fd);
}

/**
 * Runs `action` while holding the lock of `path`, which others hold for milliseconds.
 *
 * Errors: `KEMARI_HOST_BUSY` when it was not free within `timeoutMs`.
 */
export async function withLock<T>(path: string, timeoutMs: number, action: () => T | Promise<T>): Promise<T> {
  let lock: HeldLock | undefined;
  await waitUntil(() => (lock = tryLockFile(path, { create: true })) !== undefined, { timeoutMs });
  if (lock === undefined) {
    throw new KemariError(
      'KEMARI_HOST_BUSY',
      `another process has held ${path} for ${timeoutMs} ms; wait for it to end, or see who it is with: fuser ${path}`,
    );
  }
  try {
    return await action();
  } finally {
    unlock(lock);
  }
}

function isFileAt(fd: number, path: string): boolean {
  const open = fstatSync(fd);
  const named = statSync(path, { throwIfNoEntry: false });
  return named?.ino === open.ino && named.dev === open.dev;
}
