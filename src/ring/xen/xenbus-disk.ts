import { KemariError, messageOf } from '../../base/errors.js';
import type { DeviceEvent, Disk } from '../../native/ring.js';
import { numberIn, XenbusState } from './xenbus.js';
import type { XenStore } from './xenstore.js';

/** Data pages of one indirect request (addon/ring/xen/blkif_queue.h). */
const MAX_INDIRECT_SEGMENTS = 256;
const SECTOR_BYTES = 512;
const VDISK_READONLY = 4;
const PROTOCOL = 'x86_64-abi';

/** What xl has written of a disk for its back-end. */
export interface XenDiskEntry {
  readonly domid: number;
  /** xl's `target`. */
  readonly target: string;
  readonly readOnly: boolean;
  readonly discard: boolean;
}

export interface XenbusDiskOptions {
  readonly store: XenStore;
  /** `/local/domain/0/backend/vbd/DOMID/DEVICE`. */
  readonly path: string;
  /** Opens the disk; its events go to `onEvent`. Called again when the guest's driver starts over. */
  readonly open: (entry: XenDiskEntry, onEvent: (event: DeviceEvent) => void) => Promise<Disk> | Disk;
  /** What went wrong with this disk; it is closed then, and the guest finds it gone. */
  readonly onError: (error: Error) => void;
}

/**
 * The back-end's end of one disk of a Xen guest: follows the states that xl and the guest's driver write (xenbus.h), tells
 * the driver what the disk is, and the disk where the driver's ring is. The hot-plug script asks for it in `kemari-status`,
 * and finds there `ready` or `error ...`.
 */
export class XenbusDisk {
  readonly #options: XenbusDiskOptions;
  readonly #unwatch: (() => Promise<void>)[] = [];
  #frontend = '';
  #disk: Disk | undefined;
  #connected = false;
  #watchedFrontend = false;
  #turn: Promise<void> = Promise.resolve();
  #ended = false;

  private constructor(options: XenbusDiskOptions) {
    this.#options = options;
  }

  /** Follows the device at `path` until `end`, or until xl has removed it. */
  static async follow(options: XenbusDiskOptions): Promise<XenbusDisk> {
    const disk = new XenbusDisk(options);
    disk.#unwatch.push(await options.store.watch(options.path, disk.#changed));
    return disk;
  }

  /** Closes the disk; what the guest's driver sees of it is left to xl. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#turn;
    await Promise.all(this.#unwatch.splice(0).map(async (unwatch) => unwatch()));
    await this.#close();
  }

  /** The disk while it is open. */
  get disk(): Disk | undefined {
    return this.#disk;
  }

  // One step after the other, however many watches fire.
  readonly #changed = (): void => {
    this.#turn = this.#turn.then(async () => {
      if (this.#ended) return;
      try {
        await this.#step();
      } catch (error) {
        await this.#failed(error instanceof Error ? error : new Error(messageOf(error)));
      }
    });
  };

  async #step(): Promise<void> {
    const { store, path } = this.#options;
    const state = numberIn(await store.read(`${path}/state`));
    if (state === XenbusState.Unknown) return this.#close(); // xl has removed it
    if (state === XenbusState.Closed) return;
    this.#frontend ||= (await store.read(`${path}/frontend`)) ?? '';
    if (this.#frontend !== '' && !this.#watchedFrontend) {
      this.#watchedFrontend = true;
      this.#unwatch.push(await store.watch(`${this.#frontend}/state`, this.#changed));
    }
    const frontend = numberIn(await store.read(`${this.#frontend}/state`));
    const online = (await store.read(`${path}/online`)) !== '0';
    if (state === XenbusState.Closing || !online || this.#isLeaving(frontend)) return this.#leave();
    this.#disk ??= await this.#open();
    if (this.#disk === undefined || this.#connected) return;
    if (frontend === XenbusState.Initialised || frontend === XenbusState.Connected) await this.#connect(this.#disk);
  }

  #isLeaving(frontend: number): boolean {
    const gone = frontend === XenbusState.Unknown || frontend === XenbusState.Closed;
    return frontend === XenbusState.Closing || (gone && this.#connected);
  }

  // Whoever came before us here, the kernel's back-end, has let go once the script asks for us.
  async #open(): Promise<Disk | undefined> {
    const { store, path, open } = this.#options;
    if ((await store.read(`${path}/kemari-status`)) === undefined) return undefined;
    const entry: XenDiskEntry = {
      domid: numberIn(await store.read(`${path}/frontend-id`)),
      target: (await store.read(`${path}/params`)) ?? '',
      readOnly: (await store.read(`${path}/mode`)) === 'r',
      discard: (await store.read(`${path}/discard-enable`)) === '1',
    };
    const disk = await open(entry, this.#heard);
    try {
      await this.#describe(disk);
      if (numberIn(await store.read(`${path}/state`)) < XenbusState.InitWait)
        await this.#setState(XenbusState.InitWait);
      await store.write(`${path}/kemari-status`, 'ready');
    } catch (error) {
      await disk.close();
      throw error;
    }
    return disk;
  }

  async #describe({ geometry }: Disk): Promise<void> {
    const values = {
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
    for (const [name, value] of Object.entries(values)) {
      await this.#options.store.write(`${this.#options.path}/${name}`, value);
    }
  }

  async #connect(disk: Disk): Promise<void> {
    const { store, path } = this.#options;
    const protocol = (await store.read(`${this.#frontend}/protocol`)) ?? PROTOCOL;
    const ring = await store.read(`${this.#frontend}/ring-ref`);
    const port = await store.read(`${this.#frontend}/event-channel`);
    if (protocol !== PROTOCOL || ring === undefined || numberIn(port) === 0) {
      throw new KemariError(
        'KEMARI_XEN_RING',
        `${path}: the guest's driver speaks ${protocol} with ring ${ring ?? 'none'} and port ${port ?? 'none'}; ` +
          `expected ${PROTOCOL}, a ring of one page and a port`,
      );
    }
    disk.connectRing({ ringRefs: [numberIn(ring)], port: numberIn(port) });
    this.#connected = true;
    await this.#setState(XenbusState.Connected);
  }

  async #leave(): Promise<void> {
    await this.#close();
    await this.#setState(XenbusState.Closed);
  }

  async #close(): Promise<void> {
    this.#connected = false;
    const disk = this.#disk;
    this.#disk = undefined;
    await disk?.close();
  }

  async #setState(state: number): Promise<void> {
    await this.#options.store.write(`${this.#options.path}/state`, state);
  }

  readonly #heard = (event: DeviceEvent): void => {
    if (event.type !== 'protocol-error') return;
    this.#turn = this.#turn.then(async () => this.#failed(new KemariError(codeOf(event), event.text)));
  };

  async #failed(error: Error): Promise<void> {
    const { store, path, onError } = this.#options;
    onError(error);
    await this.#close();
    // The script may wait for an answer; the store itself may be what failed.
    await store.write(`${path}/kemari-status`, `error ${error.message}`).catch(() => undefined);
    if (await store.read(`${path}/state`).catch(() => undefined)) {
      await this.#setState(XenbusState.Closed).catch(() => undefined);
    }
  }
}

function codeOf(event: DeviceEvent): `KEMARI_${string}` {
  return event.code.startsWith('KEMARI_') ? (event.code as `KEMARI_${string}`) : 'KEMARI_INTERNAL';
}
