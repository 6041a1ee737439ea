import { constants, type Stats } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { KemariError, messageOf } from '../base/errors.js';
import type { DiskConfig } from '../model/domain-config.js';

const SECTOR_BYTES = 512;

/** Schemes of libnbd's URIs (nbd_connect_uri(3)). */
const NBD_SCHEMES: readonly string[] = ['nbd:', 'nbds:', 'nbd+unix:', 'nbds+unix:', 'nbd+vsock:', 'nbds+vsock:'];

/**
 * Looks at a domain's disks before anything of it is started, so that a mistake is named at once. What it cannot know
 * without opening for good (locks, whether an NBD server answers) is found when the disk is attached.
 *
 * Errors: `KEMARI_DISK_OPEN` (missing, not permitted, neither file nor block device, write-protected, no O_DIRECT, an
 * unknown kind of URI), `KEMARI_DISK_SIZE` (empty, or not whole sectors of 512 bytes).
 */
export async function checkDisks(disks: readonly DiskConfig[]): Promise<void> {
  for (const disk of disks) await checkDisk(disk);
}

/** `checkDisks` for one disk. */
export async function checkDisk(disk: DiskConfig): Promise<void> {
  if (disk.target.kind === 'nbd') {
    checkNbdUri(disk, disk.target.uri);
    return;
  }
  const { path } = disk.target;
  const status = await statusOf(disk, path);
  await checkAccess(disk, path);
  const sizeBytes = status.isBlockDevice() ? await deviceSize(disk, path, status) : status.size;
  if (sizeBytes === 0)
    refuse(disk, 'KEMARI_DISK_SIZE', `${path} is empty`, 'give it a size (truncate -s, or a medium)');
  if (sizeBytes % SECTOR_BYTES !== 0) {
    const wanted = Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
    const advice = `a disk is whole sectors of ${SECTOR_BYTES} bytes (truncate -s ${wanted} makes it so)`;
    refuse(disk, 'KEMARI_DISK_SIZE', `${path} has ${sizeBytes} bytes`, advice);
  }
}

function refuse(
  disk: DiskConfig,
  code: 'KEMARI_DISK_OPEN' | 'KEMARI_DISK_SIZE',
  found: string,
  advice: string,
  cause?: unknown,
): never {
  throw new KemariError(code, `disk ${disk.vdev}: ${found}; ${advice}`, { cause, details: { vdev: disk.vdev } });
}

function checkNbdUri(disk: DiskConfig, uri: string): void {
  const scheme = /^[a-z+]+:/i.exec(uri)?.[0].toLowerCase() ?? '';
  if (NBD_SCHEMES.includes(scheme)) return;
  refuse(disk, 'KEMARI_DISK_OPEN', `${uri} is no NBD URI`, `expected one of ${NBD_SCHEMES.join(' ')}//...`);
}

async function statusOf(disk: DiskConfig, path: string): Promise<Stats> {
  const status = await stat(path).catch((error: unknown) =>
    refuse(disk, 'KEMARI_DISK_OPEN', messageOf(error), 'create it, or correct the path in the disk list', error),
  );
  const expected = 'expected a raw image file or a block device';
  if (status.isDirectory()) refuse(disk, 'KEMARI_DISK_OPEN', `${path} is a directory`, expected);
  if (!status.isFile() && !status.isBlockDevice()) {
    refuse(disk, 'KEMARI_DISK_OPEN', `${path} is neither a regular file nor a block device`, expected);
  }
  return status;
}

async function checkAccess(disk: DiskConfig, path: string): Promise<void> {
  const access = disk.readOnly ? constants.O_RDONLY : constants.O_RDWR;
  const tryOpen = async (flags: number): Promise<void> => {
    await (await open(path, flags | constants.O_NONBLOCK)).close();
  };
  await tryOpen(access).catch((error: unknown) => {
    const needed = disk.readOnly
      ? 'kemari must be able to read it'
      : 'kemari must be able to write it, or mode must be r';
    refuse(disk, 'KEMARI_DISK_OPEN', messageOf(error), needed, error);
  });
  if (disk.cache === 'writeback') return;
  await tryOpen(access | constants.O_DIRECT).catch((error: unknown) => {
    const advice = 'use another file system, or, unless two hosts reach the disk, cache=writeback in the disk string';
    refuse(disk, 'KEMARI_DISK_OPEN', `${path} cannot be opened with O_DIRECT: ${messageOf(error)}`, advice, error);
  });
}

async function deviceSize(disk: DiskConfig, path: string, status: Stats): Promise<number> {
  // Linux dev_t: 12 bits of major above 8 low bits of minor, the rest of minor above both.
  const major = (status.rdev >> 8) & 0xfff;
  const minor = (status.rdev & 0xff) | ((status.rdev >> 12) & ~0xff);
  const attribute = async (name: string): Promise<number> =>
    Number(await readFile(`/sys/dev/block/${major}:${minor}/${name}`, 'latin1'));
  if (!disk.readOnly && (await attribute('ro')) !== 0) {
    refuse(disk, 'KEMARI_DISK_OPEN', `${path} is write-protected`, 'make the disk read-only (mode r)');
  }
  return (await attribute('size')) * SECTOR_BYTES;
}
