import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import type { RingDevice } from '../../native/ring.js';
import type { SplitDevice } from './split-device.js';
import { numberIn, XenbusState } from './xenbus.js';
import { XenbusDevice, type XenbusDeviceOptions } from './xenbus-device.js';
import type { XenStore } from './xenstore.js';

export interface XenDevicesOptions<Entry, Device extends RingDevice> extends Pick<
  XenbusDeviceOptions<Entry, Device>,
  'open'
> {
  readonly store: XenStore;
  readonly onError: (path: string, error: Error) => void;
}

/**
 * The disks, or the NICs, of this host's Xen guests that name our script in xl's configuration: found as xl makes them,
 * followed until xl has removed them.
 */
export class XenDevices<Entry, Device extends RingDevice> {
  readonly #kind: SplitDevice<Entry, Device>;
  readonly #options: XenDevicesOptions<Entry, Device>;
  readonly #backends: string;
  readonly #devices = new Map<string, XenbusDevice<Entry, Device>>();
  #unwatch: (() => Promise<void>) | undefined;
  #turn: Promise<void> = Promise.resolve();

  private constructor(kind: SplitDevice<Entry, Device>, options: XenDevicesOptions<Entry, Device>) {
    this.#kind = kind;
    this.#options = options;
    this.#backends = `/local/domain/0/backend/${kind.type}`;
  }

  static async serve<Entry, Device extends RingDevice>(
    kind: SplitDevice<Entry, Device>,
    options: XenDevicesOptions<Entry, Device>,
  ): Promise<XenDevices<Entry, Device>> {
    const devices = new XenDevices(kind, options);
    devices.#unwatch = await options.store.watch(devices.#backends, (path) => {
      devices.#turn = devices.#turn
        .then(async () => devices.#look(path))
        .catch((error: unknown) => {
          options.onError(path, error as Error);
        });
    });
    return devices;
  }

  /** Those that are followed, by their paths in xenstore. */
  get all(): ReadonlyMap<string, XenbusDevice<Entry, Device>> {
    return this.#devices;
  }

  async end(): Promise<void> {
    await this.#unwatch?.();
    await this.#turn;
    await Promise.all([...this.#devices.values()].map(async (device) => device.end()));
    this.#devices.clear();
  }

  // The watch tells of every node below; which device it is of is all that matters.
  async #look(changed: string): Promise<void> {
    const [domid, device] = changed.slice(this.#backends.length + 1).split('/');
    if (domid === undefined || domid === '') {
      for (const found of await this.#options.store.list(this.#backends))
        await this.#look(`${this.#backends}/${found}`);
    } else if (device === undefined) {
      for (const found of await this.#options.store.list(`${this.#backends}/${domid}`)) {
        await this.#look(`${this.#backends}/${domid}/${found}`);
      }
    } else {
      await this.#lookAt(`${this.#backends}/${domid}/${device}`);
    }
  }

  async #lookAt(path: string): Promise<void> {
    const { store, open, onError } = this.#options;
    const { type, script } = this.#kind;
    const state = await store.read(`${path}/state`);
    const known = this.#devices.get(path);
    if (state === undefined) {
      this.#devices.delete(path);
      await known?.end();
      return;
    }
    if (known !== undefined || basename((await store.read(`${path}/script`)) ?? '') !== script) return;
    const device = await XenbusDevice.follow({
      kind: this.#kind,
      store,
      path,
      open,
      onError: (error) => {
        onError(path, error);
      },
    });
    this.#devices.set(path, device);
    // The kernel's back-end, where there is one, takes every new device at first, and says that it waits: xl then runs
    // the script. Where there is none, nobody else says so.
    const hasKernels = existsSync(`/sys/bus/xen-backend/drivers/${type}`);
    if (numberIn(state) === XenbusState.Initialising && !hasKernels) {
      await store.write(`${path}/state`, XenbusState.InitWait);
    }
  }
}
