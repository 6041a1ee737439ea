import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Replaces a file so that whatever happens, a loss of power included, its reader finds the old content or the new one,
 * whole; when this returns it is the new one. Mode 0600; missing folders are made, mode 0700. `beforeRename` is called while
 * the new content is whole and the old one still stands.
 */
export function writeDurably(path: string, text: string, beforeRename?: () => void): void {
  const folder = dirname(path);
  if (!existsSync(folder)) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const next = `${path}.new`;
  const fd = openSync(next, 'w', 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  beforeRename?.();
  renameSync(next, path);
  syncFolder(folder);
}

/** The same without keeping this thread: a disk may take its time, and something else may have none. */
export async function writeDurablyBeside(path: string, text: string, beforeRename?: () => void): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const next = `${path}.new`;
  const file = await open(next, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  beforeRename?.();
  await rename(next, path);
  const made = await open(folder, 'r');
  try {
    await made.sync();
  } finally {
    await made.close();
  }
}

/** Removes a file for good; nothing happens where there is none. */
export function removeDurably(path: string): void {
  if (!existsSync(path)) return;
  rmSync(path, { force: true });
  syncFolder(dirname(path));
}

/** A name that was made or removed is on the disk once its folder is (fsync(2)). */
function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
