import { KemariError } from '../../base/errors.js';
import type { DomainConfig } from '../../model/domain-config.js';
import type { Hypervisor, Machine, MachineEvent } from '../../hypervisor/contract.js';
import type { DeviceEvent } from '../../native/addon.js';
import { MachineDevices } from './machine-devices.js';

/** A device whose connection ended usually means that the machine's process did, which says more: wait so long for that. */
const DISCONNECT_GRACE_MS = 1_000;

/** How a run's machine or devices failed; for people. */
export type RunEvent =
  | { readonly type: 'machine'; readonly event: MachineEvent }
  | { readonly type: 'device-failed'; readonly reason: string }
  | { readonly type: 'device-warning'; readonly device: string; readonly code: string; readonly text: string };

export interface RunOptions {
  readonly domid: number;
  readonly config: DomainConfig;
  readonly hypervisor: Hypervisor;
  readonly cacheDirectory: string;
  readonly privateDirectory: string;
  readonly attachConsole: (outletFd: number) => void;
  readonly onProcess: (pid: number) => void;
  readonly onOutput: (line: string) => void;
  /** Not called any more once `end` was. */
  readonly onEvent: (event: RunEvent) => void;
}

/** One machine with its devices, from its start to its end. A domain that starts anew gets another. */
export class MachineRun {
  readonly #options: RunOptions;
  readonly #devices: MachineDevices;
  readonly #abort = new AbortController();
  #machine: Machine | undefined;
  #starting: Promise<Machine> | undefined;
  #ending: Promise<void> | undefined;
  #disconnected: NodeJS.Timeout | undefined;

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
  async start(): Promise<Machine> {
    if (this.#ending !== undefined) throw new KemariError('KEMARI_INTERRUPTED', 'the domain ended before it started');
    const { domid, config, hypervisor, cacheDirectory, privateDirectory, onProcess, onOutput } = this.#options;
    this.#starting = hypervisor.start({
      ...{ domid, config, cacheDirectory, privateDirectory, onProcess, onOutput },
      backEnds: this.#devices,
      signal: this.#abort.signal,
      onEvent: (event) => {
        if (event.type === 'exited') clearTimeout(this.#disconnected);
        // Until it has started, its end is what `start` fails with.
        if (this.#machine !== undefined) this.#emit({ type: 'machine', event });
      },
    });
    this.#machine = await this.#starting;
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
    // Whoever started it hears of a failure.
    await this.#starting?.catch(() => undefined);
    await this.#machine?.kill();
    this.#machine = undefined;
    await this.#devices.close();
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
