import { basename } from 'node:path';
import { KemariError } from '../../base/errors.js';
import type { DeviceEvent, Disk } from '../../native/addon.js';
import {
  devicePaths,
  findDisk,
  readDeviceNodes,
  writeDeviceNodes,
  type DeviceNodes,
} from '../../ring/xen/device-nodes.js';
import { vbd, type VbdEntry } from '../../ring/xen/vbd.js';
import { DEVICE_MODEL_SERVER, SERVER_NODE } from '../../ring/xen/xenbus.js';
import { XenbusDevice } from '../../ring/xen/xenbus-device.js';
import { XenStore } from '../../ring/xen/xenstore.js';

/** How long kemarid may take to let go of a disk: what it had begun is done first. */
const HAND_OVER_TIMEOUT_MS = 30_000;

export interface XenDiskOptions {
  readonly domid: number;
  /** xl's name for it. */
  readonly vdev: string;
  /** Of a standby's disk: what it is on the primary. It is connected by `connect`. */
  readonly nodes: DeviceNodes | undefined;
  readonly open: (onEvent: (event: DeviceEvent) => void) => Disk;
  readonly onEvent: (event: DeviceEvent) => void;
}

/** The devices of one guest of Xen's, as its kemari-dm serves them in the place of this host's kemarid. */
export class XenBackEnds {
  readonly #store: XenStore;
  readonly #disks: { readonly path: string; readonly domid: number; readonly served: XenbusDevice<VbdEntry, Disk> }[] =
    [];

  private constructor(store: XenStore) {
    this.#store = store;
  }

  /** Errors: `KEMARI_XEN_MISSING`. */
  static async open(): Promise<XenBackEnds> {
    return new XenBackEnds(await XenStore.connect());
  }

  /**
   * Serves a disk from here on, in the middle of what the guest does with it; a standby's waits. Errors: `KEMARI_XEN_GONE` where
   * the domain has no such disk, `KEMARI_XEN_RING` where nobody lets go of it, those of `open`.
   */
  async serveDisk({ domid, vdev, nodes, open, onEvent }: XenDiskOptions): Promise<void> {
    const store = this.#store;
    const isStandby = nodes !== undefined;
    if (isStandby) await writeDeviceNodes(store, domid, nodes);
    const device = nodes?.device ?? (await findDisk(store, domid, vdev));
    if (device === undefined) throw new KemariError('KEMARI_XEN_GONE', `domain ${domid} has no disk ${vdev}`);
    const path = devicePaths(domid, vbd.type, device).backend;
    if (!isStandby) await store.write(`${path}/${SERVER_NODE}`, DEVICE_MODEL_SERVER);
    const served = await XenbusDevice.follow({
      ...{ kind: vbd, store, path, server: DEVICE_MODEL_SERVER, isHeld: isStandby },
      open: (_, onProtocolError) =>
        open((event) => {
          if (event.type === 'protocol-error') onProtocolError(event);
          else onEvent(event);
        }),
      onError: (error) => {
        const code = error instanceof KemariError ? error.code : 'KEMARI_INTERNAL';
        onEvent({ type: 'protocol-error', code, text: error.message });
      },
    });
    this.#disks.push({ path, domid, served });
    await inTime(served.placed, vdev);
  }

  /** Connects what was a standby's. Its guest is in place. */
  connect(): void {
    for (const { served } of this.#disks) served.connectNow();
  }

  /** What a standby needs of each disk, in the order in which they came. */
  async nodes(): Promise<DeviceNodes[]> {
    const found: DeviceNodes[] = [];
    for (const { path, domid } of this.#disks) {
      found.push(await readDeviceNodes(this.#store, domid, vbd.type, basename(path)));
    }
    return found;
  }

  /** Closes them. What the guest still has of them is kemarid's again. */
  async end(): Promise<void> {
    for (const { path, served } of this.#disks) {
      await served.end();
      if ((await this.#store.read(`${path}/state`)) === undefined) continue; // gone, with its guest
      await this.#store.write(`${path}/kemari-status`, 'released');
      await this.#store.remove(`${path}/${SERVER_NODE}`);
    }
    this.#store.close();
  }
}

/** Errors: `KEMARI_XEN_RING` when it takes too long. */
async function inTime(placed: Promise<void>, vdev: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const text = `disk ${vdev}: kemarid has not let go of it, or its driver has no ring, after ${HAND_OVER_TIMEOUT_MS} ms; does kemarid run here?`;
      reject(new KemariError('KEMARI_XEN_RING', text));
    }, HAND_OVER_TIMEOUT_MS);
  });
  try {
    await Promise.race([placed, expired]);
  } finally {
    clearTimeout(timer);
  }
}
