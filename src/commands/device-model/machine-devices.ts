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
import { GuestAgent } from './guest-agent.js';
import { StorageWatch } from './storage-watch.js';
import { XenBackEnds } from './xen-back-ends.js';
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
    this.#xen ??= await XenBackEnds.open();
    const domainUuid = this.#config.uuid;
    const deferred = this.#standby?.[index];
    await this.#xen.serveDisk({
      ...{ domid, vdev: disk.vdev, nodes: this.#standbyNodes?.[index] },
      // The guest's driver may start over, and then has another.
      open: (onEvent) =>
        (this.#disks[index] = attachDisk({
          ...{ domainUuid, index, disk, driver: { xen: { domid } }, gate: this.#gate, deferred, onEvent },
        })),
      onEvent: (event) => {
        this.#owner.onDeviceEvent(`disk ${disk.vdev}`, event);
      },
    });
  }

  /** What a standby is to know of devices of a guest of Xen's. */
  async xenNodes(): Promise<readonly DeviceNodes[]> {
    return (await this.#xen?.nodes()) ?? [];
  }

  /** Once the guest is in place: what only then finds its driver. */
  connect(): void {
    this.#xen?.connect();
  }

  vif(index: number, socketFd: number): void {
    const vif = this.#config.vifs[index];
    assert(vif !== undefined, 'a hypervisor connects only vifs of the configuration');
    const onEvent = (event: DeviceEvent): void => {
      this.#owner.onDeviceEvent(`vif ${vif.mac}`, event);
    };
    const deferred = this.#standby !== undefined;
    this.#vifs[index] = attachVif({ domid: this.#domid, index, vif, socketFd, gate: this.#gate, deferred, onEvent });
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
      const vif = this.#config.vifs[index];
      return vif === undefined ? [] : [{ mac: vif.mac, device }];
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
      const vif = this.#config.vifs[index];
      return vif === undefined ? [] : [{ mac: vif.mac, tap, bridge: vif.bridge, ...device.stats() }];
    });
  }
}
