import { statSync } from 'node:fs';
import type { DiskConfig, DomainConfig } from '../model/domain-config.js';
import { KemariError } from '../base/errors.js';

/** A domain of this host that the new one must not collide with. */
export interface OtherDomain {
  readonly domid: number;
  readonly config: DomainConfig;
}

/**
 * Two names of one disk are one disk: a device by its number, a file by device and inode, an export by its URI. A path
 * that leads nowhere is refused earlier; here it stands for itself.
 */
function diskIdentity(disk: DiskConfig): string {
  if (disk.target.kind === 'nbd') return disk.target.uri;
  const status = statSync(disk.target.path, { throwIfNoEntry: false });
  if (status === undefined) return disk.target.path;
  return status.isBlockDevice() ? `device ${status.rdev}` : `file ${status.dev}:${status.ino}`;
}

function targetText(disk: DiskConfig): string {
  return disk.target.kind === 'nbd' ? disk.target.uri : disk.target.path;
}

/**
 * Refuses a domain that would share with another of this host what only one may have: the name, the UUID, a MAC address,
 * the name of a tap, or a disk of which either side writes. Reading the same disk together is allowed.
 *
 * Errors: `KEMARI_NAME_IN_USE`, `KEMARI_UUID_IN_USE`, `KEMARI_MAC_IN_USE`, `KEMARI_VIFNAME_IN_USE`, `KEMARI_DISK_IN_USE`.
 */
export function checkClaims(config: DomainConfig, others: readonly OtherDomain[]): void {
  for (const [index, disk] of config.disks.entries()) {
    checkDisk(disk, config.disks.slice(0, index), 'the same domain');
  }
  for (const other of others) {
    const owner = `domain "${other.config.name}" (domid ${other.domid})`;
    if (other.config.name === config.name) {
      throw new KemariError('KEMARI_NAME_IN_USE', `${owner} has that name already: destroy it or choose another name`);
    }
    if (other.config.uuid === config.uuid) {
      throw new KemariError('KEMARI_UUID_IN_USE', `uuid: ${owner} has ${config.uuid} already: choose another uuid`);
    }
    for (const vif of config.vifs) {
      for (const taken of other.config.vifs) {
        if (taken.mac === vif.mac) {
          throw new KemariError('KEMARI_MAC_IN_USE', `vif: ${owner} has mac=${vif.mac} already: choose another mac`);
        }
        if (vif.vifname !== undefined && taken.vifname === vif.vifname) {
          throw new KemariError('KEMARI_VIFNAME_IN_USE', `vif: ${owner} has vifname=${vif.vifname} already`);
        }
      }
    }
    for (const disk of config.disks) checkDisk(disk, other.config.disks, owner);
  }
}

function checkDisk(disk: DiskConfig, taken: readonly DiskConfig[], owner: string): void {
  const identity = diskIdentity(disk);
  for (const other of taken) {
    if ((disk.readOnly && other.readOnly) || diskIdentity(other) !== identity) continue;
    throw new KemariError(
      'KEMARI_DISK_IN_USE',
      `disk ${disk.vdev}: ${targetText(disk)} is ${other.vdev} of ${owner}, ${other.readOnly ? 'read-only' : 'writable'} ` +
        'there; domains may share a disk only when all of them have it read-only (access=ro)',
    );
  }
}
