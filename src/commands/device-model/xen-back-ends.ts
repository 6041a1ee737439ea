import { basename } from 'node:path';
import { KemariError } from '../../base/errors.js';
import type { DeviceEvent, RingDevice } from '../../native/addon.js';
import {
  devicePaths,
  findDevice,
  readDeviceNodes,
  writeDeviceNodes,
  type DeviceNodes,
} from '../../ring/xen/device-nodes.js';
import type { SplitDevice } from '../../ring/xen/split-device.js';
import { DEVICE_MODEL_SERVER, SERVER_NODE } from '../../ring/xen/xenbus.js';
import { XenbusDevice } from '../../ring/xen/xenbus-device.js';
import { XenStore } from '../../ring/xen/xenstore.js';

/** How long kemarid may take to let go of a device: what it had begun is done first. */
const HAND_OVER_TIMEOUT_MS = 30_000;
/** How long the rings of a guest that is in place may take to be mapped. */
const CONNECT_TIMEOUT_MS = 10_000;

export interface XenDeviceOptions<Entry, Device extends RingDevice> {
  readonly domid: number;
  /** What xl's configuration calls it: a disk's `vdev`, a NIC's `mac`. */
  readonly name: string;
  /** Of a standby's device: what it is on the primary. It is connected by `connect`. */
  readonly nodes: DeviceNodes | undefined;
  readonly open: (entry: Entry, onEvent: (event: DeviceEvent) => void) => Device;
  readonly onEvent: (event: DeviceEvent) => void;
}

interface Served {
  readonly type: string;
  readonly domid: number;
  readonly path: string;
  /** For people. */
  readonly title: string;
  readonly isStandby: boolean;
  readonly bus: Pick<XenbusDevice<never, never>, 'connectNow' | 'end'>;
}

/** The devices of one guest of Xen's, as its kemari-dm serves them in the place of this host's kemarid. */
export class XenBackEnds {
  readonly #store: XenStore;
  readonly #served: Served[] = [];

  constructor(store: XenStore) {
    this.#store = store;
  }

  /** Errors: `KEMARI_XEN_MISSING`. */
  static async open(): Promise<XenBackEnds> {
    return new XenBackEnds(await XenStore.connect());
  }

  /**
   * Serves a device from here on, in the middle of what the guest does with it; a standby's waits. Errors: `KEMARI_XEN_GONE`
   * where the domain has no such device, `KEMARI_XEN_RING` where nobody lets go of it, those of `open`, what is wrong with its
   * rings.
   */
  async serve<Entry, Device extends RingDevice>(
    kind: SplitDevice<Entry, Device>,
    { domid, name, nodes, open, onEvent }: XenDeviceOptions<Entry, Device>,
  ): Promise<void> {
    const store = this.#store;
    const title = `${kind.noun} ${name}`;
    const isStandby = nodes !== undefined;
    if (isStandby) await writeDeviceNodes(store, domid, nodes);
    const device = nodes?.device ?? (await findDevice(store, domid, kind, name));
    if (device === undefined) throw new KemariError('KEMARI_XEN_GONE', `domain ${domid} has no ${title}`);
    const path = devicePaths(domid, kind.type, device).backend;
    if (!isStandby) await store.write(`${path}/${SERVER_NODE}`, DEVICE_MODEL_SERVER);
    const bus = await XenbusDevice.follow({
      ...{ kind, store, path, server: DEVICE_MODEL_SERVER, isHeld: isStandby },
      open: (entry, onBusEvent) =>
        open(entry, (event) => {
          onBusEvent(event);
          // What the bus makes of this it tells as an error, below.
          if (event.type !== 'protocol-error') onEvent(event);
        }),
      onError: (error) => {
        const code = error instanceof KemariError ? error.code : 'KEMARI_INTERNAL';
        onEvent({ type: 'protocol-error', code, text: error.message });
      },
    });
    this.#served.push({ type: kind.type, domid, path, title, isStandby, bus });
    const late = `${title}: kemarid has not let go of it, or its driver has no ring; does kemarid run here?`;
    await inTime(bus.ready, HAND_OVER_TIMEOUT_MS, late);
  }

  /**
   * Connects what was a standby's; its guest is in place. Fulfilled when all of it is served: a guest that runs without one of
   * its devices is not the guest that it was. Errors: those of `XenbusDevice.connectNow`.
   */
  async connect(): Promise<void> {
    for (const { title, bus } of this.#served) {
      await inTime(bus.connectNow(), CONNECT_TIMEOUT_MS, `${title}: its rings are not mapped`);
    }
  }

  /** What a standby needs of each device, in the order in which they came. */
  async nodes(): Promise<DeviceNodes[]> {
    const found: DeviceNodes[] = [];
    for (const { type, path, domid } of this.#served) {
      found.push(await readDeviceNodes(this.#store, domid, type, basename(path)));
    }
    return found;
  }

  /**
   * Closes them. What the guest still has of them is kemarid's again, but for a standby's: nobody else may touch what a domain
   * has that waits for its guest.
   */
  async end(): Promise<void> {
    for (const { path, bus, isStandby } of this.#served) {
      await bus.end();
      if (isStandby) continue;
      if ((await this.#store.read(`${path}/state`)) === undefined) continue; // gone, with its guest
      await this.#store.write(`${path}/kemari-status`, 'released');
      await this.#store.remove(`${path}/${SERVER_NODE}`);
    }
    this.#store.close();
  }
}

/** Errors: `KEMARI_XEN_RING` with the text `late` when it takes too long. */
async function inTime(done: Promise<void>, timeoutMs: number, late: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new KemariError('KEMARI_XEN_RING', `${late} (after ${timeoutMs} ms)`));
    }, timeoutMs);
  });
  try {
    await Promise.race([done, expired]);
  } finally {
    clearTimeout(timer);
  }
}
