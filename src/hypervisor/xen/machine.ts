import { assert } from '../../base/assert.js';
import { KemariError } from '../../base/errors.js';
import type { MachineDescription } from '../../model/machine-description.js';
import { addon } from '../../native/addon.js';
import type { XenSource } from '../../native/capture.js';
import type { StandbyMemory } from '../../native/link.js';
import type { XenDomain } from '../../native/xen.js';
import type { Machine, MachineEvent } from '../contract.js';
import { writeBlueprint } from './blueprint.js';
import { xl, type ToolstackConfig } from './toolstack.js';

/** The interface version that the addon speaks; every other Xen refuses it. */
const VERSION = '4.17';
const PAGE_BYTES = 4096;

/** How often a domain is looked at: Xen tells only its toolstack of its end. */
const WATCH_INTERVAL_MS = 1_000;

export interface XenMachineParts {
  readonly domid: number;
  readonly config: ToolstackConfig;
  readonly vcpus: number;
  /** Of the guest's address space, here or where it comes from. */
  readonly frameCount: number;
  /** It was made to wait for another's state, and is nobody's but kemari's. */
  readonly waits: boolean;
  readonly onEvent: (event: MachineEvent) => void;
}

/** A domain of this host's Xen. */
export class XenMachine implements Machine {
  readonly pid = undefined;
  readonly version = VERSION;
  readonly accel = 'xen';
  readonly addressSpaceBytes: number;
  readonly #parts: XenMachineParts;
  readonly #domain: XenDomain;
  readonly #watch: NodeJS.Timeout;
  /** Stopped by us, or made so by the toolstack: pauses are counted. */
  #stopped: boolean;
  /** It ended by itself. */
  #over = false;
  /** Its memory may not be the guest's any more. */
  #loading = false;
  #cpuSeconds = 0;

  constructor(parts: XenMachineParts) {
    this.#parts = parts;
    this.#stopped = parts.waits;
    this.#domain = new addon.XenDomain({ domid: parts.domid });
    this.addressSpaceBytes = parts.frameCount * PAGE_BYTES;
    this.#watch = setInterval(() => {
      this.#look();
    }, WATCH_INTERVAL_MS);
  }

  get holdsCopy(): boolean {
    return this.#parts.waits && !this.#loading && this.#isThere();
  }

  /** Another takes its place: it is not heard of any more. */
  succeededBy(onEvent: XenMachineParts['onEvent']): XenMachine {
    clearInterval(this.#watch);
    return new XenMachine({ ...this.#parts, onEvent });
  }

  get domid(): number {
    return this.#parts.domid;
  }

  pause(): Promise<void> {
    if (!this.#stopped) this.#domain.pause();
    this.#stopped = true;
    this.#parts.onEvent({ type: 'stopped' });
    return Promise.resolve();
  }

  resume(): Promise<void> {
    if (this.#stopped) this.#domain.unpause();
    this.#stopped = false;
    this.#parts.onEvent({ type: 'resumed' });
    return Promise.resolve();
  }

  async requestPowerOff(): Promise<void> {
    await xl('shutdown', String(this.#parts.domid));
  }

  reset(): Promise<void> {
    return Promise.reject(new KemariError('KEMARI_WRONG_STATE', "a guest of Xen's is reset by its toolstack"));
  }

  captureSource(): XenSource {
    return { xenDomid: this.#parts.domid };
  }

  standbyMemory(): StandbyMemory {
    return { xen: { domid: this.#parts.domid, frames: this.addressSpaceBytes / PAGE_BYTES } };
  }

  async blueprint(): Promise<Buffer> {
    const { domid, config } = this.#parts;
    return writeBlueprint({ domid, config, shape: await this.#domain.shape() });
  }

  async load(state: Buffer): Promise<void> {
    assert(this.#parts.waits, 'only a domain that waits for a state is given one');
    this.#loading = true;
    await Promise.resolve();
    this.#domain.restore(state);
  }

  describe(): Promise<MachineDescription> {
    const { config, vcpus } = this.#parts;
    return Promise.resolve({
      ...{ hypervisor: 'xen', version: this.version, machine: config.c_info.type, accel: this.accel },
      // Xen itself refuses a processor that has less than the guest has seen.
      ...{ cpuModel: 'host', cpuFeatures: [], vcpus, blocks: [] },
      memoryBytes: this.#domain.info().memoryBytes,
    });
  }

  /** A guest that ended by itself is its toolstack's, which may have it start over. */
  async kill(): Promise<void> {
    clearInterval(this.#watch);
    if (this.#over && !this.#parts.waits) return;
    if (!this.#isThere()) return;
    await xl('destroy', String(this.#parts.domid));
  }

  cpuSeconds(): number {
    try {
      this.#cpuSeconds = this.#domain.info().cpuSeconds;
    } catch {
      // It has ended meanwhile.
    }
    return this.#cpuSeconds;
  }

  #isThere(): boolean {
    try {
      return !this.#domain.info().dying;
    } catch {
      return false;
    }
  }

  #look(): void {
    try {
      if (!this.#domain.info().shutDown) return;
    } catch {
      // It has gone.
    }
    clearInterval(this.#watch);
    this.#over = true;
    this.#parts.onEvent({ type: 'powered-off' });
  }
}
