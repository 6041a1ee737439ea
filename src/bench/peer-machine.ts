import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { KemariError } from '../base/errors.js';
import type { QemuBinary } from '../hypervisor/qemu/binary.js';
import { machineArguments } from '../hypervisor/qemu/machine-arguments.js';
import { timeStopCont } from '../hypervisor/stop-cont.js';
import { QmpClient, type QmpEvent } from '../hypervisor/qemu/qmp-client.js';
import { measureTscKhz } from '../hypervisor/qemu/tsc.js';
import type { DomainConfig } from '../model/domain-config.js';
import { addon } from '../native/addon.js';
import type { Undo } from './undo.js';
import type { Accel } from '../model/machine-description.js';

export interface PeerMachineOptions {
  readonly qemu: QemuBinary;
  readonly accel: Accel;
  /** The machine as kemari would start it; its disks and NICs are left to `deviceArguments`. */
  readonly config: DomainConfig;
  readonly deviceArguments: readonly string[];
  /** Makes the command line that runs another one where the machine is to live; here when absent. */
  readonly inside?: (command: readonly string[]) => readonly string[];
  /** The machine waits for the state of another one instead of running. */
  readonly incoming?: boolean;
  readonly onEvent?: (event: QmpEvent) => void;
}

const QMP_GREETING_TIMEOUT_MS = 20_000;

/** Where the child finds what it inherits. */
const FDS = { ram: 3, qmp: 4, console: 5, kernel: 6, ramdisk: 7 } as const;

/**
 * QEMU with the very arguments that kemari starts it with, except that other than kemari serves its devices. Its control
 * connection is driven by the same client as kemari's, so that the client's own time cancels out.
 */
export class PeerMachine {
  readonly #child: ChildProcess;
  readonly #qmp: QmpClient;
  readonly #exited: Promise<void>;
  #console = '';

  /** Starts a guest and lets it run, if it does not wait for another's state. */
  static async start(options: PeerMachineOptions, undo: Undo): Promise<PeerMachine> {
    const { boot } = options.config;
    if (boot.from !== 'kernel' || boot.ramdisk === undefined)
      throw new TypeError('the benchmark boots a kernel directly');
    const [qmpOurs, qmpTheirs] = addon.socketPair();
    const [consoleOurs, consoleTheirs] = addon.socketPair();
    const ram = addon.createRam('bench-ram', options.config.memoryBytes);
    const inherited = [ram, qmpTheirs, consoleTheirs, openSync(boot.kernel, 'r'), openSync(boot.ramdisk, 'r')];
    const config: DomainConfig = { ...options.config, disks: [], vifs: [] };
    const fds = { ...FDS, disks: [], vifDirectory: undefined };
    if (options.accel === 'xen') throw new TypeError("a peer of QEMU's is measured");
    const engine = { accel: options.accel, version: options.qemu.version, tscKhz: await measureTscKhz() };
    const own = [
      ...options.qemu.command,
      ...machineArguments(config, engine, fds, options.incoming),
      ...options.deviceArguments,
    ];
    const [program = '', ...args] = options.inside?.(own) ?? own;
    const child = spawn(program, args, {
      stdio: ['ignore', 'inherit', 'inherit', ...inherited],
    });
    for (const fd of inherited) closeSync(fd);
    const machine = new PeerMachine(child, new Socket({ fd: qmpOurs }), new Socket({ fd: consoleOurs }), options);
    undo.defer(`QEMU ${options.config.name}`, () => machine.close());
    await machine.#qmp.negotiate(QMP_GREETING_TIMEOUT_MS);
    if (options.incoming !== true) await machine.resume();
    return machine;
  }

  private constructor(child: ChildProcess, qmp: Socket, console: Socket, { onEvent }: PeerMachineOptions) {
    this.#child = child;
    this.#exited = new Promise((resolve) =>
      child.once('exit', () => {
        resolve();
      }),
    );
    this.#qmp = new QmpClient(qmp, { onEvent: onEvent ?? (() => undefined), onBroken: () => undefined });
    console.on('data', (chunk: Buffer) => {
      this.#console += chunk.toString('latin1');
    });
    console.on('error', () => undefined); // It ends with QEMU.
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new KemariError('KEMARI_BENCH_QEMU', 'QEMU did not start');
    return this.#child.pid;
  }

  get processes(): readonly number[] {
    return [this.pid];
  }

  /** What the guest has printed so far. */
  get consoleText(): string {
    return this.#console;
  }

  /** A QMP command; returns what QEMU answers. Errors: those of QMP. */
  execute(name: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return this.#qmp.execute(name, args);
  }

  async pause(): Promise<void> {
    await this.#qmp.execute('stop');
  }

  async resume(): Promise<void> {
    await this.#qmp.execute('cont');
  }

  async stopCont(count: number): Promise<number[]> {
    return timeStopCont(this, count);
  }

  async close(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
