import { KemariError } from '../../base/errors.js';
import { BLOCK_SCRIPT } from '../../model/xen-scripts.js';
import type { Disk } from '../../native/ring.js';
import type { SplitDevice } from './split-device.js';
import { numberIn } from './xenbus.js';

/** Data pages of one indirect request (addon/ring/xen/blkif_queue.h). */
const MAX_INDIRECT_SEGMENTS = 256;
const SECTOR_BYTES = 512;
const VDISK_READONLY = 4;
const PROTOCOL = 'x86_64-abi';

/** What xl has written of a disk for its back-end. */
export interface VbdEntry {
  readonly domid: number;
  /** xl's `target`. */
  readonly target: string;
  readonly readOnly: boolean;
  readonly discard: boolean;
}

/** A disk of a Xen guest (xen/include/public/io/blkif.h). */
export const vbd: SplitDevice<VbdEntry, Disk> = {
  type: 'vbd',
  noun: 'disk',
  label: 'dev',
  script: BLOCK_SCRIPT,

  async entry(backend) {
    return {
      domid: numberIn(await backend('frontend-id')),
      target: (await backend('params')) ?? '',
      readOnly: (await backend('mode')) === 'r',
      discard: (await backend('discard-enable')) === '1',
    };
  },

  describe({ geometry }) {
    return {
      sectors: geometry.sizeBytes / SECTOR_BYTES,
      'sector-size': geometry.logicalBlockBytes,
      'physical-sector-size': Math.max(geometry.physicalBlockBytes, geometry.logicalBlockBytes),
      info: geometry.readOnly ? VDISK_READONLY : 0,
      'feature-flush-cache': geometry.canFlush ? 1 : 0,
      'feature-barrier': 0,
      'feature-persistent': 0,
      'feature-discard': geometry.canDiscard ? 1 : 0,
      'discard-granularity': Math.max(geometry.discardGranularityBytes, geometry.logicalBlockBytes),
      'discard-alignment': 0,
      'discard-secure': 0,
      'feature-max-indirect-segments': MAX_INDIRECT_SEGMENTS,
    };
  },

  async rings(frontend) {
    const protocol = (await frontend('protocol')) ?? PROTOCOL;
    const ring = await frontend('ring-ref');
    const port = await frontend('event-channel');
    if (protocol !== PROTOCOL || ring === undefined || numberIn(port) === 0) {
      throw new KemariError(
        'KEMARI_XEN_RING',
        `the guest's driver speaks ${protocol} with ring ${ring ?? 'none'} and port ${port ?? 'none'}; ` +
          `expected ${PROTOCOL}, a ring of one page and a port`,
      );
    }
    return { rings: [{ refs: [numberIn(ring)], port: numberIn(port) }] };
  },
};
