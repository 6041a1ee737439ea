import { statSync } from 'node:fs';
import type { DiskConfig } from '../../src/model/domain-config.js';

/** A blockdev that reaches the disk as kemari does: O_DIRECT and io_uring. Its own locks would keep variants from sharing. */
export function blockdev(disk: DiskConfig, node: string): string {
  if (disk.target.kind !== 'path') throw new TypeError('the benchmark has disks with paths only');
  const { path } = disk.target;
  return JSON.stringify({
    driver: statSync(path).isBlockDevice() ? 'host_device' : 'file',
    'node-name': node,
    filename: path,
    aio: 'io_uring',
    cache: { direct: true },
    locking: 'off',
    discard: 'unmap',
    'read-only': disk.readOnly,
  });
}
