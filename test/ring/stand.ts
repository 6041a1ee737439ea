import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { addon, type DeviceEvent, type Disk, type DiskOptions, type OutputGate } from '../../src/native/addon.js';
import { DiskGuest } from './disk-guest.js';
import { SplitDriver } from './driver.js';
import { FrontEnd } from './front-end.js';
import { GuestRam } from './guest-ram.js';
import { until } from './until.js';

/** Feature bits of virtio-blk that the guest takes (virtio 1.2 section 5.2.3). */
export const BLK_FEATURES = [1, 2, 5, 6, 9, 10, 11, 12, 13, 14].reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);

/** A device with the front-end that set it up and what it has told its owner. */
export interface Connected<Device> {
  readonly device: Device;
  readonly frontEnd: FrontEnd;
  readonly events: readonly DeviceEvent[];
}

/** What a test stands on: guest memory, a gate, a folder, and the devices it opened. `close` takes all of it down. */
export class Stand {
  readonly ram: GuestRam;
  readonly #ownsRam: boolean;
  readonly gate: OutputGate = new addon.OutputGate();
  readonly folder = mkdtempSync(path.join(tmpdir(), 'kemari-ring-'));
  readonly #closers: (() => void | Promise<void>)[] = [];

  /** On guest memory of its own, or on that of another stand, which then stays open. */
  constructor(ram?: GuestRam) {
    this.ram = ram ?? new GuestRam();
    this.#ownsRam = ram === undefined;
  }

  file(name: string): string {
    return path.join(this.folder, name);
  }

  /** Runs at the end, newest first. */
  onClose(closer: () => void | Promise<void>): void {
    this.#closers.push(closer);
  }

  /** A disk whose front-end has said nothing yet. */
  connectDisk(options: Partial<DiskOptions> & Pick<DiskOptions, 'target'>): Connected<Disk> {
    return this.connect(
      (socketFd, onEvent) =>
        new addon.Disk({
          name: 'disk',
          socketFd,
          gate: this.gate,
          readOnly: false,
          direct: false,
          discard: true,
          queues: 1,
          serial: 'kemari-test',
          engine: 'auto',
          onEvent,
          ...options,
        }),
    );
  }

  connect<Device extends { close(): Promise<void> }>(
    create: (socketFd: number, onEvent: (event: DeviceEvent) => void) => Device,
  ): Connected<Device> {
    const [ours, theirs] = addon.socketPair();
    const events: DeviceEvent[] = [];
    const device = create(theirs, (event) => events.push(event));
    const frontEnd = new FrontEnd(ours, this.ram);
    this.onClose(async () => {
      frontEnd.close();
      await device.close();
    });
    return { device, frontEnd, events };
  }

  /** A disk that runs, with a guest's driver on its first queue. */
  openDisk(
    options: Partial<DiskOptions> & Pick<DiskOptions, 'target'>,
    ring: { size?: number; indirect?: boolean; eventIdx?: boolean; base?: number; slots?: number } = {},
  ): Connected<Disk> & { readonly guest: DiskGuest; readonly driver: SplitDriver } {
    const connected = this.connectDisk(options);
    connected.frontEnd.negotiate(BLK_FEATURES, withoutFeatures(ring));
    connected.frontEnd.setMemory();
    const driver = this.driver(0, ring);
    connected.frontEnd.startQueue(driver, ring.base ?? 0);
    return { ...connected, driver, guest: new DiskGuest(driver, ring.slots ?? 32) };
  }

  driver(
    index: number,
    ring: { size?: number; indirect?: boolean; eventIdx?: boolean; base?: number } = {},
  ): SplitDriver {
    const driver = new SplitDriver(this.ram, index, ring.size ?? 128, { indirect: true, eventIdx: true, ...ring });
    this.onClose(() => {
      driver.close();
    });
    return driver;
  }

  async close(): Promise<void> {
    for (const closer of this.#closers.splice(0).reverse()) await closer();
    if (this.#ownsRam) this.ram.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A test body on a stand of its own, which is taken down whatever happens. */
export function onStand(
  body: (t: ExecutionContext, stand: Stand) => Promise<void> | void,
): (t: ExecutionContext) => Promise<void> {
  return async (t) => {
    const stand = new Stand();
    try {
      await body(t, stand);
    } finally {
      await stand.close();
    }
  };
}

/** Ring features that a guest with this ring does not take. */
function withoutFeatures(ring: { indirect?: boolean; eventIdx?: boolean }): bigint {
  return (ring.indirect === false ? 1n << 28n : 0n) | (ring.eventIdx === false ? 1n << 29n : 0n);
}

/** Waits for an event of one of these types and returns it. */
export async function eventOf(events: readonly DeviceEvent[], ...types: DeviceEvent['type'][]): Promise<DeviceEvent> {
  const find = (): DeviceEvent | undefined => events.find((event) => types.includes(event.type));
  await until(() => find() !== undefined, `an event ${types.join(' or ')}; there were ${JSON.stringify(events)}`);
  return find()!;
}

/** What the process holds: to see that a device gave everything back. */
export function holdings(): { fds: number; threads: number; ramMaps: number; rssBytes: number } {
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    fds: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    ramMaps: readFileSync('/proc/self/maps', 'utf8')
      .split('\n')
      .filter((line) => line.includes('memfd:')).length,
    rssBytes: Number(/VmRSS:\s+(\d+)/.exec(status)![1]) * 1024,
  };
}
