import { KemariError, messageOf } from '../../base/errors.js';
import type { DeviceEvent, RingDevice } from '../../native/ring.js';
import type { ReadNode, SplitDevice } from './split-device.js';
import { numberIn, XenbusState } from './xenbus.js';
import type { XenStore } from './xenstore.js';

export interface XenbusDeviceOptions<Entry, Device extends RingDevice> {
  readonly kind: SplitDevice<Entry, Device>;
  readonly store: XenStore;
  /** `/local/domain/0/backend/TYPE/DOMID/DEVICE`. */
  readonly path: string;
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
  #watchedFrontend = false;
  #turn: Promise<void> = Promise.resolve();
  #ended = false;

  private constructor(options: XenbusDeviceOptions<Entry, Device>) {
    this.#options = options;
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
    this.#frontend ||= (await store.read(`${path}/frontend`)) ?? '';
    if (this.#frontend !== '' && !this.#watchedFrontend) {
      this.#watchedFrontend = true;
      this.#unwatch.push(await store.watch(`${this.#frontend}/state`, this.#changed));
    }
    const frontend = numberIn(await store.read(`${this.#frontend}/state`));
    const online = (await store.read(`${path}/online`)) !== '0';
    if (state === XenbusState.Closing || !online || this.#isLeaving(frontend)) return this.#leave();
    this.#device ??= await this.#open();
    if (this.#device === undefined || this.#connected) return;
    if (frontend === XenbusState.Initialised || frontend === XenbusState.Connected) await this.#connect(this.#device);
  }

  #isLeaving(frontend: number): boolean {
    const gone = frontend === XenbusState.Unknown || frontend === XenbusState.Closed;
    return frontend === XenbusState.Closing || (gone && this.#connected);
  }

  // Whoever came before us here, the kernel's back-end, has let go once the script asks for us.
  async #open(): Promise<Device | undefined> {
    const { kind, store, path, open } = this.#options;
    if ((await store.read(`${path}/kemari-status`)) === undefined) return undefined;
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

  async #connect(device: Device): Promise<void> {
    device.connectRings(await this.#options.kind.rings(this.#readerOf(this.#frontend)));
    this.#connected = true;
    await this.#setState(XenbusState.Connected);
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
    const device = this.#device;
    this.#device = undefined;
    await device?.close();
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
