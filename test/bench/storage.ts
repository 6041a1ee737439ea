import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { messageOf } from '../../src/base/errors.js';
import type { Undo } from '../../src/bench/undo.js';

const TEST_DISK_BYTES = 1024 * 1024 * 1024;
const FILL_CHUNK_BYTES = 4 * 1024 * 1024;

/** The disks that the workloads read and write. All variants use the same ones in turn: the same blocks, the same host. */
export interface TestStorage {
  readonly rawFile: string;
  /** A loop device over a file, with direct I/O below; undefined where the host makes none. */
  readonly blockDevice: string | undefined;
  readonly whyNoBlockDevice: string;
}

export async function makeTestStorage(directory: string, undo: Undo): Promise<TestStorage> {
  const rawFile = join(directory, 'disk.raw');
  const behindLoop = join(directory, 'loop.raw');
  await writeWholeFile(rawFile, undo);
  await writeWholeFile(behindLoop, undo);
  try {
    const { stdout: device } = await execa('losetup', ['--find', '--show', '--direct-io=on', behindLoop]);
    undo.defer(device, () => execa('losetup', ['--detach', device]));
    return { rawFile, blockDevice: device, whyNoBlockDevice: '' };
  } catch (error) {
    return { rawFile, blockDevice: undefined, whyNoBlockDevice: messageOf(error) };
  }
}

/** Every block is written once, so that no workload pays for allocation. */
async function writeWholeFile(path: string, undo: Undo): Promise<void> {
  undo.defer(path, () => rm(path, { force: true }));
  const chunk = Buffer.alloc(FILL_CHUNK_BYTES, 0x5a);
  const file = await open(path, 'w');
  try {
    for (let written = 0; written < TEST_DISK_BYTES; written += FILL_CHUNK_BYTES) await file.write(chunk);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A copy of the guest's root file system for one guest to write to. */
export async function copyRootImage(image: string, copy: string, undo: Undo): Promise<void> {
  undo.defer(copy, () => rm(copy, { force: true }));
  await execa('cp', ['--sparse=always', image, copy]);
}
