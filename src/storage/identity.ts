import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { KemariError } from '../base/errors.js';
import type { DiskIdentity } from '../model/disk-identity.js';
import type { DiskConfig } from '../model/domain-config.js';
import { addon } from '../native/addon.js';
import { markPath, readMark } from './mark.js';

const SAMPLED_BLOCKS = 16;
const BLOCK_BYTES = 4096;
const HASH_LETTERS = 16;

/**
 * What the disks of a domain are, in their order. The primary has marked its image files before.
 *
 * Errors: `KEMARI_DISK_CACHED` (the host's cache would lie between two hosts), `KEMARI_DISK_OPEN`, `KEMARI_NBD_CONNECT`,
 * `KEMARI_OWNERSHIP_UNREADABLE`.
 */
export function identifyDisks(disks: readonly DiskConfig[]): Promise<DiskIdentity[]> {
  return Promise.all(disks.map(identifyDisk));
}

async function identifyDisk(disk: DiskConfig): Promise<DiskIdentity> {
  const { vdev, target } = disk;
  if (target.kind === 'nbd') {
    const { sizeBytes, bytes } = await addon.sampleDisk({ target: { nbdUri: target.uri }, blocks: SAMPLED_BLOCKS });
    return { vdev, sizeBytes, kind: 'nbd', identity: target.uri, sample: hashBlocks(bytes) };
  }
  if (disk.cache !== 'none') {
    throw new KemariError(
      'KEMARI_DISK_CACHED',
      `disk ${vdev}: cache=writeback keeps writes in this host's memory, where the other host cannot see them; remove it ` +
        'from the disk string to have the domain protected',
    );
  }
  const { sizeBytes, bytes } = await addon.sampleDisk({ target: { path: target.path }, blocks: SAMPLED_BLOCKS });
  const status = statSync(target.path);
  const found = { vdev, sizeBytes, sample: hashBlocks(bytes) };
  if (status.isBlockDevice()) return { ...found, kind: 'device', identity: await deviceIdentity(status.rdev) };
  const mark = markPath(disk, () => true);
  return { ...found, kind: 'file', identity: (mark === undefined ? undefined : readMark(mark)?.nonce) ?? '' };
}

function hashBlocks(bytes: Buffer): string[] {
  const hashes: string[] = [];
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const hash = createHash('sha256').update(bytes.subarray(at, at + BLOCK_BYTES));
    hashes.push(hash.digest('hex').slice(0, HASH_LETTERS));
  }
  return hashes;
}

/** What the device calls itself, the same on every host that it is attached to; empty where it has no name of its own. */
async function deviceIdentity(rdev: number): Promise<string> {
  // Linux dev_t: 12 bits of major above 8 low bits of minor, the rest of minor above both.
  const major = (rdev >> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >> 12) & ~0xff);
  for (const attribute of ['wwid', 'device/wwid', 'serial', 'device/serial', 'dm/uuid']) {
    const text = await readFile(`/sys/dev/block/${major}:${minor}/${attribute}`, 'latin1').catch(() => '');
    if (text.trim() !== '') return text.trim();
  }
  return '';
}
