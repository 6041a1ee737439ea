import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { numberIn, XenbusState } from './xenbus.js';
import { XenbusDisk, type XenbusDiskOptions } from './xenbus-disk.js';
import type { XenStore } from './xenstore.js';

/** What a disk's entry names to be served by us: `script=block-kemari`. */
export const BLOCK_SCRIPT = 'block-kemari';

const BACKENDS = '/local/domain/0/backend/vbd';
/** Is there where the kernel has a back-end of its own for disks: it takes every new device at first. */
const KERNEL_BACKEND = '/sys/bus/xen-backend/drivers/vbd';

export interface XenDisksOptions extends Pick<XenbusDiskOptions, 'open'> {
  readonly store: XenStore;
  readonly onError: (path: string, error: Error) => void;
}

/**
 * The disks of this host's Xen guests that name our script in xl's configuration: found as xl makes them, followed until
 * xl has removed them.
 */
export class XenDisks {
  readonly #options: XenDisksOptions;
  readonly #disks = new Map<string, XenbusDisk>();
  #unwatch: (() => Promise<void>) | undefined;
  #turn: Promise<void> = Promise.resolve();

  private constructor(options: XenDisksOptions) {
    this.#options = options;
  }

  static async serve(options: XenDisksOptions): Promise<XenDisks> {
    const disks = new XenDisks(options);
    disks.#unwatch = await options.store.watch(BACKENDS, (path) => {
      disks.#turn = disks.#turn
        .then(async () => disks.#look(path))
        .catch((error: unknown) => {
          options.onError(path, error as Error);
        });
    });
    return disks;
  }

  /** The disks that are followed, by their paths in xenstore. */
  get all(): ReadonlyMap<string, XenbusDisk> {
    return this.#disks;
  }

  async end(): Promise<void> {
    await this.#unwatch?.();
    await this.#turn;
    await Promise.all([...this.#disks.values()].map(async (disk) => disk.end()));
    this.#disks.clear();
  }

  // The watch tells of every node below; which device it is of is all that matters.
  async #look(changed: string): Promise<void> {
    const [domid, device] = changed.slice(BACKENDS.length + 1).split('/');
    if (domid === undefined || domid === '') {
      for (const found of await this.#options.store.list(BACKENDS)) await this.#look(`${BACKENDS}/${found}`);
    } else if (device === undefined) {
      for (const found of await this.#options.store.list(`${BACKENDS}/${domid}`)) {
        await this.#look(`${BACKENDS}/${domid}/${found}`);
      }
    } else {
      await this.#lookAt(`${BACKENDS}/${domid}/${device}`);
    }
  }

  async #lookAt(path: string): Promise<void> {
    const { store, open, onError } = this.#options;
    const state = await store.read(`${path}/state`);
    const known = this.#disks.get(path);
    if (state === undefined) {
      this.#disks.delete(path);
      await known?.end();
      return;
    }
    if (known !== undefined || basename((await store.read(`${path}/script`)) ?? '') !== BLOCK_SCRIPT) return;
    const disk = await XenbusDisk.follow({
      store,
      path,
      open,
      onError: (error) => {
        onError(path, error);
      },
    });
    this.#disks.set(path, disk);
    // xl runs the script when a back-end waits: where the kernel has none, nobody else says so.
    if (numberIn(state) === XenbusState.Initialising && !existsSync(KERNEL_BACKEND)) {
      await store.write(`${path}/state`, XenbusState.InitWait);
    }
  }
}
