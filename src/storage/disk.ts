import { addon, type Disk } from '../native/addon.js';
import type { DiskConfig } from '../model/domain-config.js';
import type { DiskAttachment } from './contract.js';
import { diskSerial } from './serial.js';

/**
 * Opens and locks a disk and serves it. Errors, besides those of `checkDisk`: `KEMARI_DISK_IN_USE` (another domain or a
 * QEMU has it, or the host has it mounted), `KEMARI_NBD_CONNECT`.
 */
export function attachDisk({ domainUuid, index, disk, driver, gate, deferred, onEvent }: DiskAttachment): Disk {
  return new addon.Disk({
    name: `disk${index}`,
    ...driver,
    gate,
    target: diskTarget(disk),
    readOnly: disk.readOnly,
    direct: disk.cache === 'none',
    discard: disk.discard,
    queues: disk.queues,
    serial: diskSerial(domainUuid, disk.vdev),
    engine: 'auto',
    deferred,
    onEvent,
  });
}

function diskTarget({ target }: DiskConfig): { readonly path: string } | { readonly nbdUri: string } {
  return target.kind === 'path' ? { path: target.path } : { nbdUri: target.uri };
}
