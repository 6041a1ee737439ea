import { closeSync } from 'node:fs';
import { assert } from '../../base/assert.js';
import { KemariError } from '../../base/errors.js';
import type { DomainConfig } from '../../model/domain-config.js';
import type { Hypervisor, Machine, MachineEvent, MachineOptions } from '../../hypervisor/contract.js';
import type { DeviceEvent, DiskGeometry } from '../../native/addon.js';
import { GuestClock } from './guest-clock.js';
import { MachineDevices } from './machine-devices.js';
import { readRunBlueprint, writeRunBlueprint } from './run-blueprint.js';

/** A device whose connection ended usually means that the machine's process did, which says more: wait so long for that. */
const DISCONNECT_GRACE_MS = 1_000;

/** How a run's machine or devices failed; for people. */
export type RunEvent =
  | { readonly type: 'machine'; readonly event: MachineEvent }
  | { readonly type: 'device-failed'; readonly reason: string }
  | { readonly type: 'device-warning'; readonly device: string; readonly code: string; readonly text: string }
  | { readonly type: 'guest-clock'; readonly level: 'info' | 'warn'; readonly text: string };

export interface RunOptions {
  readonly domid: number;
  readonly config: DomainConfig;
  readonly hypervisor: Hypervisor;
  readonly cacheDirectory: string;
  readonly privateDirectory: string;
  readonly attachConsole: (outletFd: number) => void;
  readonly onProcess: (pid: number) => void;
  readonly onXenDomain: (domid: number) => void;
  readonly onOutput: (line: string) => void;
  /** Not called any more once `end` was. */
  readonly onEvent: (event: RunEvent) => void;
}

export interface StandbyOptions {
  /** Of `Hypervisor.createRam`; it stays the caller's. */
  readonly ramFd: number | undefined;
  /** The primary's machine's. */
  readonly blueprint?: Buffer | undefined;
  /** The primary's disks (`MachineDevices.diskGeometries`), in the order of the configuration. */
  readonly geometries: readonly DiskGeometry[];
  /** Of a run before (`MachineRun.endButCopy`): it is this run's, also when `prepareStandby` fails. */
  readonly waiting?: Machine | undefined;
}

/** A checkpoint without guest RAM, which is in place already. */
export interface Takeover {
  readonly machineState: Buffer;
  /** The devices' cuts: disks, then vifs. */
  readonly devices: readonly Buffer[];
  readonly console: Buffer;
  /** Disks that the old host still has locked are opened all the same: it is known not to write any more. */
  readonly steal: boolean;
  /** How long the guest stood still, or ran in vain, until it is resumed here: to be given back to its clock. */
  readonly lostMs?: number;
  /** It stays so: the clock loses what it stands still here, too. */
  readonly guestPaused?: boolean;
}

/** One machine with its devices, from its start to its end. A domain that starts anew gets another. */
export class MachineRun {
  readonly #options: RunOptions;
  readonly #devices: MachineDevices;
  readonly #abort = new AbortController();
  #machine: Machine | undefined;
  /** Of a run before, until it is this one's machine. */
  #waiting: Machine | undefined;
  #starting: Promise<Machine> | undefined;
  #ending: Promise<void> | undefined;
  #disconnected: NodeJS.Timeout | undefined;
  /** Guest RAM that belongs to the run. */
  #ownRamFd: number | undefined;
  #clock: GuestClock | undefined;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#devices = new MachineDevices(options.domid, options.config, {
      attachConsole: options.attachConsole,
      onDeviceEvent: (device, event) => {
        this.#deviceEvent(device, event);
      },
    });
  }

  get devices(): MachineDevices {
    return this.#devices;
  }

  /** undefined until it has started and after it ended. */
  get machine(): Machine | undefined {
    return this.#machine;
  }

  /** Errors: those of Hypervisor.start and of the devices; `KEMARI_INTERRUPTED` when it was ended already. */
  start(): Promise<Machine> {
    const { config, hypervisor } = this.#options;
    this.#ownRamFd = hypervisor.createRam(config);
    return this.#startMachine({ ramFd: this.#ownRamFd, incoming: false });
  }

  /**
   * Starts a machine that waits to take over: its disks are not opened and its taps are down. Errors: those of `start`.
   */
  prepareStandby({ ramFd, geometries, blueprint, waiting }: StandbyOptions): Promise<Machine> {
    this.#waiting = waiting;
    const read = blueprint === undefined ? undefined : readRunBlueprint(blueprint);
    this.#devices.defer(geometries, read?.devices ?? []);
    return this.#startMachine({ ramFd, incoming: true, blueprint: read?.machine, waiting });
  }

  /** With the machine that waits the guest's copy is lost: it stands while a takeover has not changed it. */
  get holdsCopy(): boolean {
    return (this.#machine ?? this.#waiting)?.holdsCopy === true;
  }

  /** Ends all but a machine that holds the guest's copy: that is the caller's, for another run. undefined: there is none. */
  async endButCopy(): Promise<Machine | undefined> {
    if (this.#ending === undefined) {
      this.#abort.abort();
      await this.#starting?.catch(() => undefined);
    }
    const machine = this.#machine ?? this.#waiting;
    const kept = this.#ending === undefined && machine?.holdsCopy === true ? machine : undefined;
    if (kept !== undefined) this.#machine = this.#waiting = undefined;
    await this.end();
    return kept;
  }

  /**
   * Makes the waiting machine the one that the checkpoint describes; `resume` then lets the guest run. A run that failed to
   * take over is to be ended. Errors: `KEMARI_MACHINE_STATE`, `KEMARI_RING_STATE`, `KEMARI_DISK_GEOMETRY`, those of opening
   * disks and taps.
   */
  async takeOver({ machineState, devices, console, steal, lostMs = 0, guestPaused = false }: Takeover): Promise<void> {
    const machine = this.#machine;
    assert(machine !== undefined, 'a standby that has started takes over');
    this.#devices.restore(devices, console);
    const opened = this.#devices.open(steal);
    // Storage that does not answer must not cost the guest its only copy: another attempt may find it well.
    if (machine.holdsCopy) await opened;
    if (this.#ending !== undefined) throw new KemariError('KEMARI_INTERRUPTED', 'this takeover was given up');
    const results = await Promise.allSettled([machine.load(machineState), opened]);
    for (const result of results) {
      if (result.status === 'rejected') throw result.reason;
    }
    await this.#devices.connect();
    if (guestPaused) this.#clock?.stopped();
    this.#clock?.tookOver(lostMs);
  }

  /** What another host needs beside the configuration to have a machine wait for this one's state; undefined: nothing. */
  async blueprint(): Promise<Buffer | undefined> {
    assert(this.#machine !== undefined, 'only a machine that runs is copied');
    const machine = await this.#machine.blueprint();
    if (machine === undefined) return undefined;
    return writeRunBlueprint({ machine, devices: await this.#devices.xenNodes() });
  }

  async #startMachine(memory: Pick<MachineOptions, 'ramFd' | 'incoming' | 'blueprint' | 'waiting'>): Promise<Machine> {
    if (this.#ending !== undefined) throw new KemariError('KEMARI_INTERRUPTED', 'the domain ended before it started');
    const { domid, config, hypervisor, cacheDirectory, privateDirectory } = this.#options;
    const { onProcess, onXenDomain, onOutput } = this.#options;
    this.#starting = hypervisor.start({
      ...{ domid, config, cacheDirectory, privateDirectory, onProcess, onXenDomain, onOutput, ...memory },
      backEnds: this.#devices,
      signal: this.#abort.signal,
      onEvent: (event) => {
        if (event.type === 'exited') clearTimeout(this.#disconnected);
        if (event.type === 'stopped') this.#clock?.stopped();
        if (event.type === 'resumed') this.#clock?.resumed();
        if (event.type === 'rebooted') this.#clock?.restarted();
        // Until it has started, its end is what `start` fails with.
        if (this.#machine !== undefined) this.#emit({ type: 'machine', event });
      },
    });
    this.#machine = await this.#starting;
    this.#waiting = undefined;
    this.#startClock();
    return this.#machine;
  }

  /** Ends the machine, or its start, then the devices. Idempotent. */
  end(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<void> {
    clearTimeout(this.#disconnected);
    this.#abort.abort();
    this.#clock?.close();
    // Whoever started it hears of a failure.
    await this.#starting?.catch(() => undefined);
    await (this.#machine ?? this.#waiting)?.kill();
    this.#machine = this.#waiting = undefined;
    await this.#devices.close();
    if (this.#ownRamFd !== undefined) closeSync(this.#ownRamFd);
    this.#ownRamFd = undefined;
  }

  #startClock(): void {
    const agent = this.#devices.guestAgent;
    if (agent === undefined) return;
    this.#clock = new GuestClock({
      agent,
      nowMs: () => performance.timeOrigin + performance.now(),
      log: (level, text) => {
        this.#emit({ type: 'guest-clock', level, text });
      },
    });
  }

  #emit(event: RunEvent): void {
    if (this.#ending === undefined) this.#options.onEvent(event);
  }

  #deviceEvent(device: string, event: DeviceEvent): void {
    const { code, text } = event;
    switch (event.type) {
      case 'started':
        return;
      // The guest's or the storage's fault: the guest sees it, too.
      case 'queue-broken':
      case 'io-error':
        this.#emit({ type: 'device-warning', device, code, text });
        return;
      case 'protocol-error':
        this.#emit({ type: 'device-failed', reason: `${device}: ${code}: ${text}` });
        return;
      case 'disconnected':
        this.#disconnected ??= setTimeout(() => {
          this.#emit({ type: 'device-failed', reason: `${device}: the hypervisor hung up: ${text}` });
        }, DISCONNECT_GRACE_MS);
    }
  }
}
