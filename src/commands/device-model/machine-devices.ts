import { randomInt } from 'node:crypto';
import type { DomainConfig } from '../../model/domain-config.js';
import type { BackEnds } from '../../hypervisor/contract.js';
import type { DiskInfo, DomainInfo, VifInfo } from '../../host/contract.js';
import { assert } from '../../base/assert.js';
import { KemariError } from '../../base/errors.js';
import {
  addon,
  type Console,
  type DeviceEvent,
  type Disk,
  type DiskGeometry,
  type OutputGate,
  type RingDevice,
  type Nic,
} from '../../native/addon.js';
import type { DeviceNodes } from '../../ring/xen/device-nodes.js';
import type { SplitDevice } from '../../ring/xen/split-device.js';
import { vbd } from '../../ring/xen/vbd.js';
import { vif } from '../../ring/xen/vif.js';
import { GuestAgent } from './guest-agent.js';
import { StorageWatch } from './storage-watch.js';
import { XenBackEnds, type XenDeviceOptions } from './xen-back-ends.js';
import type { AttachedVif } from '../../ring/contract.js';
import { attachVif } from '../../ring/vif.js';
import { attachDisk } from '../../storage/disk.js';

export interface DeviceOwner {
  /** Our end of the console's outlet; it belongs to the callee. */
  attachConsole(outletFd: number): void;
  onDeviceEvent(device: string, event: DeviceEvent): void;
}

/** An agent's sync takes a number; the first of each connection is at random, below this. */
const FIRST_ID_LIMIT = 2 ** 30;

/** The back-ends of one machine: made as its hypervisor connects them, closed together. */
export class MachineDevices implements BackEnds {
  readonly #gate: OutputGate = new addon.OutputGate();
  readonly #domid: number;
  readonly #config: DomainConfig;
  readonly #owner: DeviceOwner;
  readonly #disks: Disk[] = [];
  readonly #vifs: AttachedVif[] = [];
  readonly #storageWatch: StorageWatch;
  #console: Console | undefined;
  #agent: GuestAgent | undefined;

  #xen: XenBackEnds | undefined;
  #standby: readonly DiskGeometry[] | undefined;
  #standbyNodes: readonly DeviceNodes[] | undefined;

  constructor(domid: number, config: DomainConfig, owner: DeviceOwner) {
    this.#domid = domid;
    this.#config = config;
    this.#owner = owner;
    this.#storageWatch = new StorageWatch(this.#disks, (index, event) => {
      owner.onDeviceEvent(`disk ${config.disks[index]?.vdev ?? index}`, event);
    });
    this.#gate.open();
  }

  /** Before the machine starts: its devices are a standby's, closed until `open`. */
  defer(geometries: readonly DiskGeometry[], nodes: readonly DeviceNodes[]): void {
    assert(this.#disks.length === 0, 'devices are deferred before there are any');
    this.#standby = geometries;
    this.#standbyNodes = nodes;
  }

  disk(index: number, socketFd: number): void {
    const disk = this.#config.disks[index];
    assert(disk !== undefined, 'a hypervisor connects only disks of the configuration');
    const onEvent = (event: DeviceEvent): void => {
      this.#owner.onDeviceEvent(`disk ${disk.vdev}`, event);
    };
    const deferred = this.#standby?.[index];
    assert(this.#standby === undefined || deferred !== undefined, 'a standby knows the geometry of every disk');
    const domainUuid = this.#config.uuid;
    const driver = { socketFd };
    this.#disks.push(attachDisk({ domainUuid, index, disk, driver, gate: this.#gate, deferred, onEvent }));
  }

  async xenDisk(index: number, domid: number): Promise<void> {
    const disk = this.#config.disks[index];
    assert(disk !== undefined, 'a hypervisor connects only disks of the configuration');
    const domainUuid = this.#config.uuid;
    const deferred = this.#standby?.[index];
    const driver = { xen: { domid } };
    await this.#serveXen(vbd, index, {
      ...{ domid, name: disk.vdev },
      // The guest's driver may start over, and then has another.
      open: (_, onEvent) =>
        (this.#disks[index] = attachDisk({ domainUuid, index, disk, driver, gate: this.#gate, deferred, onEvent })),
    });
  }

  async xenVif(index: number, domid: number): Promise<void> {
    const nic = this.#config.vifs[index];
    assert(nic !== undefined, 'a hypervisor connects only vifs of the configuration');
    const deferred = this.#standby !== undefined;
    const driver = { xen: { domid } };
    await this.#serveXen(vif, this.#config.disks.length + index, {
      ...{ domid, name: nic.mac },
      open: ({ index: handle, bridge, vifname }, onEvent) => {
        // As xl has written it down, which knows its own defaults; the tap is called after the number on the bus.
        const entry = { ...nic, bridge, vifname };
        const request = { domid, index: handle, vif: entry, driver, gate: this.#gate, deferred, onEvent };
        return (this.#vifs[index] = attachVif(request)).device;
      },
    });
  }

  /** `place`: in a checkpoint. */
  async #serveXen<Entry, Device extends RingDevice>(
    kind: SplitDevice<Entry, Device>,
    place: number,
    options: Pick<XenDeviceOptions<Entry, Device>, 'domid' | 'name' | 'open'>,
  ): Promise<void> {
    this.#xen ??= await XenBackEnds.open();
    await this.#xen.serve(kind, {
      ...options,
      nodes: this.#standbyNodes?.[place],
      onEvent: (event) => {
        this.#owner.onDeviceEvent(`${kind.noun} ${options.name}`, event);
      },
    });
  }

  /** What a standby is to know of devices of a guest of Xen's. */
  async xenNodes(): Promise<readonly DeviceNodes[]> {
    return (await this.#xen?.nodes()) ?? [];
  }

  /** Once the guest is in place, and before it runs: what only then finds its driver. Errors: those of `XenBackEnds.connect`. */
  async connect(): Promise<void> {
    await this.#xen?.connect();
  }

  vif(index: number, socketFd: number): void {
    const nic = this.#config.vifs[index];
    assert(nic !== undefined, 'a hypervisor connects only vifs of the configuration');
    const onEvent = (event: DeviceEvent): void => {
      this.#owner.onDeviceEvent(`vif ${nic.mac}`, event);
    };
    const deferred = this.#standby !== undefined;
    const [domid, driver] = [this.#domid, { socketFd }];
    this.#vifs[index] = attachVif({ domid, index, vif: nic, driver, gate: this.#gate, deferred, onEvent });
  }

  /** The vhost-user devices in the order of a checkpoint: disks, then vifs. */
  get all(): readonly RingDevice[] {
    return [...this.#disks, ...this.#vifs.map(({ device }) => device)];
  }

  disks(): readonly RingDevice[] {
    return this.#disks;
  }

  /** The NICs and the guest's MAC address on each. */
  get nics(): readonly { readonly mac: string; readonly device: Nic }[] {
    return this.#vifs.flatMap(({ device }, index) => {
      const nic = this.#config.vifs[index];
      return nic === undefined ? [] : [{ mac: nic.mac, device }];
    });
  }

  get gate(): OutputGate {
    return this.#gate;
  }

  /** undefined where the hypervisor serves it itself. */
  get consoleDevice(): Console | undefined {
    return this.#console;
  }

  /** What a standby's disks are to show the guest, in the order of the configuration. */
  diskGeometries(): DiskGeometry[] {
    return this.#disks.map(({ geometry }) => geometry);
  }

  /** Opens what a standby leaves closed: its disks and its taps. Errors: those of the devices. */
  async open(steal: boolean): Promise<void> {
    const opened = this.#disks.map((disk) => disk.open({ steal }));
    try {
      for (const { device } of this.#vifs) device.open();
    } finally {
      await Promise.all(opened);
    }
  }

  /**
   * Puts a checkpoint's part in place, before the guest runs. Errors: `KEMARI_RING_STATE`, also for another number of
   * devices.
   */
  restore(devices: readonly Buffer[], console: Buffer): void {
    const all = this.all;
    if (devices.length !== all.length) {
      const text = `the checkpoint has ${devices.length} devices, the machine ${all.length}`;
      throw new KemariError('KEMARI_RING_STATE', text);
    }
    for (const [index, device] of all.entries()) device.restore(devices[index] ?? Buffer.alloc(0));
    this.#console?.restore(console);
  }

  console(guestFd: number): void {
    const [ours, theirs] = addon.socketPair();
    this.#owner.attachConsole(ours);
    this.#console = new addon.Console({ guestFd, outletFd: theirs, gate: this.#gate });
  }

  agent(guestFd: number): void {
    this.#agent = new GuestAgent(guestFd, randomInt(FIRST_ID_LIMIT));
  }

  /** undefined for a guest that is to have none. */
  get guestAgent(): GuestAgent | undefined {
    return this.#agent;
  }

  /** Once closed: whether storage had answered all that it was asked to write. What it had not may land at any later time. */
  get writesAnswered(): boolean {
    return this.#disks.every((disk) => disk.stats().unansweredWrites === 0);
  }

  /** After the machine is gone: what is in flight is completed or abandoned, taps and files are let go. */
  async close(): Promise<void> {
    this.#storageWatch.close();
    await this.#xen?.end();
    await Promise.all(this.all.map((device) => device.close()));
    await this.#console?.close();
    this.#agent?.close();
  }

  gateInfo(): DomainInfo['gate'] {
    const { passed, held } = this.#gate.counters();
    return { open: this.#gate.isOpen, passed, held };
  }

  diskInfo(): DiskInfo[] {
    return this.#disks.map((device, index) => {
      const disk = this.#config.disks[index];
      assert(disk !== undefined, 'disks are attached in the order of the configuration');
      const target = disk.target.kind === 'path' ? disk.target.path : disk.target.uri;
      const silentMs = this.#storageWatch.silentMs(device, performance.now());
      return { vdev: disk.vdev, target, readOnly: disk.readOnly, ...device.stats(), silentMs };
    });
  }

  vifInfo(): VifInfo[] {
    return this.#vifs.flatMap(({ tap, device }, index) => {
      const nic = this.#config.vifs[index];
      return nic === undefined ? [] : [{ mac: nic.mac, tap, bridge: nic.bridge, ...device.stats() }];
    });
  }
}
