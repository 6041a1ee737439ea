import type { DomainConfig } from '../../model/domain-config.js';
import type { BackEnds } from '../../hypervisor/contract.js';
import type { DiskInfo, DomainInfo, VifInfo } from '../../host/contract.js';
import { assert } from '../../base/assert.js';
import { addon, type Console, type DeviceEvent, type Disk, type OutputGate } from '../../native/addon.js';
import type { AttachedVif } from '../../ring/contract.js';
import { attachVif } from '../../ring/vif.js';
import { attachDisk } from '../../storage/disk.js';

export interface DeviceOwner {
  /** Our end of the console's outlet; it belongs to the callee. */
  attachConsole(outletFd: number): void;
  onDeviceEvent(device: string, event: DeviceEvent): void;
}

/** The back-ends of one machine: made as its hypervisor connects them, closed together. */
export class MachineDevices implements BackEnds {
  readonly #gate: OutputGate = new addon.OutputGate();
  readonly #domid: number;
  readonly #config: DomainConfig;
  readonly #owner: DeviceOwner;
  readonly #disks: Disk[] = [];
  readonly #vifs: AttachedVif[] = [];
  #console: Console | undefined;

  constructor(domid: number, config: DomainConfig, owner: DeviceOwner) {
    this.#domid = domid;
    this.#config = config;
    this.#owner = owner;
    this.#gate.open();
  }

  disk(index: number, socketFd: number): void {
    const disk = this.#config.disks[index];
    assert(disk !== undefined, 'a hypervisor connects only disks of the configuration');
    const onEvent = (event: DeviceEvent): void => {
      this.#owner.onDeviceEvent(`disk ${disk.vdev}`, event);
    };
    this.#disks.push(attachDisk({ domainUuid: this.#config.uuid, index, disk, socketFd, gate: this.#gate, onEvent }));
  }

  vif(index: number, socketFd: number): void {
    const vif = this.#config.vifs[index];
    assert(vif !== undefined, 'a hypervisor connects only vifs of the configuration');
    const onEvent = (event: DeviceEvent): void => {
      this.#owner.onDeviceEvent(`vif ${vif.mac}`, event);
    };
    this.#vifs[index] = attachVif({ domid: this.#domid, index, vif, socketFd, gate: this.#gate, onEvent });
  }

  console(guestFd: number): void {
    const [ours, theirs] = addon.socketPair();
    this.#owner.attachConsole(ours);
    this.#console = new addon.Console({ guestFd, outletFd: theirs, gate: this.#gate });
  }

  /** After the machine is gone: what is in flight is completed or abandoned, taps and files are let go. */
  async close(): Promise<void> {
    const devices = [...this.#disks, ...this.#vifs.map(({ device }) => device)];
    await Promise.all(devices.map((device) => device.close()));
    await this.#console?.close();
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
      return { vdev: disk.vdev, target, readOnly: disk.readOnly, ...device.stats() };
    });
  }

  vifInfo(): VifInfo[] {
    return this.#vifs.flatMap(({ tap, device }, index) => {
      const vif = this.#config.vifs[index];
      return vif === undefined ? [] : [{ mac: vif.mac, tap, bridge: vif.bridge, ...device.stats() }];
    });
  }
}
