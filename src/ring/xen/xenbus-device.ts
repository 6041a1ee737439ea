import { KemariError, messageOf } from '../../base/errors.js';
import type { DeviceEvent, RingDevice, XenRings } from '../../native/ring.js';
import type { ReadNode, SplitDevice } from './split-device.js';
import { numberIn, SERVER_NODE, XenbusState } from './xenbus.js';
import type { XenStore } from './xenstore.js';

export interface XenbusDeviceOptions<Entry, Device extends RingDevice> {
  readonly kind: SplitDevice<Entry, Device>;
  readonly store: XenStore;
  /** `/local/domain/0/backend/TYPE/DOMID/DEVICE`. */
  readonly path: string;
  /** Who serves it: as `SERVER_NODE` names it; undefined: nobody is named there. */
  readonly server?: string;
  /** A standby's: where the rings are becomes known, but they are connected by `connectNow`. */
  readonly isHeld?: boolean | undefined;
  /** Opens the device; its events go to `onEvent`. Called again when the guest's driver starts over. */
  readonly open: (entry: Entry, onEvent: (event: DeviceEvent) => void) => Promise<Device> | Device;
  /** What went wrong with this device; it is closed then, and the guest finds it gone. */
  readonly onError: (error: Error) => void;
}

/**
 * The back-end's end of one device of a Xen guest: follows the states that xl and the guest's driver write (xenbus.h), tells
 * the driver what the device is, and the device where the driver's rings are. The hot-plug script asks for it in `kemari-status`,
 * and finds there `ready` or `error ...`.
 */
export class XenbusDevice<Entry, Device extends RingDevice> {
  readonly #options: XenbusDeviceOptions<Entry, Device>;
  readonly #unwatch: (() => Promise<void>)[] = [];
  #frontend = '';
  #device: Device | undefined;
  #connected = false;
  /** Its rings have been served by us. */
  #hasServed = false;
  #rings: XenRings | undefined;
  #watchedFrontend = false;
  #turn: Promise<void> = Promise.resolve();
  #ended = false;

  #done: () => void = () => undefined;
  #refused: (error: Error) => void = () => undefined;
  /** Fulfilled when the driver's rings are served; of a device that is held, when it is known where they are. */
  readonly ready: Promise<void>;

  private constructor(options: XenbusDeviceOptions<Entry, Device>) {
    this.#options = options;
    this.ready = this.#outcome();
    this.ready.catch(() => undefined); // not everybody waits for it
  }

  /** Follows the device at `path` until `end`, or until xl has removed it. */
  static async follow<Entry, Device extends RingDevice>(
    options: XenbusDeviceOptions<Entry, Device>,
  ): Promise<XenbusDevice<Entry, Device>> {
    const device = new XenbusDevice(options);
    device.#unwatch.push(await options.store.watch(options.path, device.#changed));
    return device;
  }

  /** Closes the device; what the guest's driver sees of it is left to xl. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#turn;
    await Promise.all(this.#unwatch.splice(0).map(async (unwatch) => unwatch()));
    await this.#close();
  }

  /** The device while it is open. */
  get device(): Device | undefined {
    return this.#device;
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
    if ((await store.read(`${path}/${SERVER_NODE}`)) !== this.#options.server) return this.#letGo();
    this.#frontend ||= (await store.read(`${path}/frontend`)) ?? '';
    if (this.#frontend !== '' && !this.#watchedFrontend) {
      this.#watchedFrontend = true;
      this.#unwatch.push(await store.watch(`${this.#frontend}/state`, this.#changed));
    }
    const frontend = numberIn(await store.read(`${this.#frontend}/state`));
    const online = (await store.read(`${path}/online`)) !== '0';
    if (state === XenbusState.Closing || !online || this.#isLeaving(frontend)) return this.#leave();
    this.#device ??= await this.#open();
    if (this.#device === undefined || this.#rings !== undefined) return;
    if (frontend === XenbusState.Initialised || frontend === XenbusState.Connected) await this.#connect();
  }

  #isLeaving(frontend: number): boolean {
    const gone = frontend === XenbusState.Unknown || frontend === XenbusState.Closed;
    return frontend === XenbusState.Closing || (gone && this.#connected);
  }

  // Whoever came before us here, the kernel's back-end, has let go once the script asks for us.
  async #open(): Promise<Device | undefined> {
    const { kind, store, path, open } = this.#options;
    const status = await store.read(`${path}/kemari-status`);
    const isOthers = status === 'ready' && this.#options.server !== undefined && this.#options.isHeld !== true;
    if (status === undefined || isOthers) return undefined;
    const device = await open(await kind.entry(this.#readerOf(path)), this.#heard);
    try {
      for (const [name, value] of Object.entries(kind.describe(device))) await store.write(`${path}/${name}`, value);
      if (numberIn(await store.read(`${path}/state`)) < XenbusState.InitWait) {
        await this.#setState(XenbusState.InitWait);
      }
      await store.write(`${path}/kemari-status`, 'ready');
    } catch (error) {
      await device.close();
      throw error;
    }
    return device;
  }

  async #connect(): Promise<void> {
    this.#rings = await this.#options.kind.rings(this.#readerOf(this.#frontend));
    if (this.#options.isHeld === true) {
      this.#done();
      return;
    }
    this.#connectRings();
    await this.#setState(XenbusState.Connected);
  }

  /**
   * Connects the rings of a device that is held; fulfilled when they are served. Errors: `KEMARI_XEN_RING` for one that was lost
   * while it waited; what is wrong with the rings.
   */
  connectNow(): Promise<void> {
    const served = this.#outcome();
    if (!this.#connectRings()) {
      this.#refused(new KemariError('KEMARI_XEN_RING', `${this.#options.path}: the device that waited has been lost`));
    }
    return served;
  }

  /** False where they are not known. */
  #connectRings(): boolean {
    if (this.#rings === undefined || this.#device === undefined) return false;
    this.#connected = true;
    this.#device.connectRings(this.#rings);
    return true;
  }

  /** What comes next: settled by `#done` or `#refused`. */
  #outcome(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#done = resolve;
      this.#refused = reject;
    });
  }

  /** Another process is named to serve it: what was begun is done, then it may. */
  async #letGo(): Promise<void> {
    if (this.#device === undefined) return;
    await this.#close();
    await this.#options.store.write(`${this.#options.path}/kemari-status`, 'released');
  }

  #readerOf(end: string): ReadNode {
    return async (name) => this.#options.store.read(`${end}/${name}`);
  }

  async #leave(): Promise<void> {
    await this.#close();
    await this.#setState(XenbusState.Closed);
  }

  async #close(): Promise<void> {
    this.#connected = false;
    this.#rings = undefined;
    const device = this.#device;
    this.#device = undefined;
    await device?.close();
  }

  async #setState(state: number): Promise<void> {
    await this.#options.store.write(`${this.#options.path}/state`, state);
  }

  readonly #heard = (event: DeviceEvent): void => {
    if (event.type === 'started') {
      this.#hasServed = true;
      this.#done();
    }
    if (event.type !== 'protocol-error') return;
    this.#turn = this.#turn.then(async () => this.#failed(new KemariError(codeOf(event), event.text)));
  };

  async #failed(error: Error): Promise<void> {
    const { store, path, onError, server } = this.#options;
    // Rings that another process has served so far stay as they are: it goes on with them.
    const isOthers = server !== undefined && !this.#hasServed;
    this.#refused(error);
    onError(error);
    await this.#close();
    if (isOthers) return;
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
