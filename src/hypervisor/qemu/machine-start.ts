import { constants, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { addon } from '../../native/addon.js';
import { waitUntil } from '../../base/deadline.js';
import { KemariError, messageOf } from '../../base/errors.js';
import type { Machine, MachineOptions } from '../contract.js';
import type { QemuBinary } from './binary.js';
import { openBootFile } from './boot-files.js';
import { placeFirmware, readFirmware } from './firmware.js';
import { IncomingState } from './incoming-state.js';
import { machineArguments, qemuMachine, type MachineDescriptors } from './machine-arguments.js';
import { machineEvent, QemuMachine } from './machine.js';
import type { Privileges } from './privileges.js';
import { QmpClient } from './qmp-client.js';
import { measureTscKhz } from './tsc.js';
import { InheritedFds, spawnQemu, type QemuProcess } from './spawn.js';
import { VifSockets } from './vif-sockets.js';

/** How long QEMU may take from its start to its first QMP answer: it allocates, loads firmware and greets every device. */
export const START_TIMEOUT_MS = 60_000;

/** How often we look whether QEMU has connected to a NIC's socket. */
const ACCEPT_INTERVAL_MS = 2;

/** Lines of QEMU's output that an error about its start quotes. */
const QUOTED_LINES = 5;

/** One start of a machine: owns what is opened for it until QEMU has it. */
export class MachineStart {
  readonly #options: MachineOptions;
  readonly #qemu: QemuBinary;
  readonly #accel: 'kvm' | 'tcg';
  readonly #privileges: Privileges;
  readonly #fds = new InheritedFds();
  readonly #lastLines: string[] = [];
  #vifs: VifSockets | undefined;
  #incoming: IncomingState | undefined;

  constructor(options: MachineOptions, qemu: QemuBinary, accel: 'kvm' | 'tcg', privileges: Privileges) {
    this.#options = options;
    this.#qemu = qemu;
    this.#accel = accel;
    this.#privileges = privileges;
  }

  /** Errors: `KEMARI_HYPERVISOR_START` with QEMU's last words, and those of its parts. */
  async run(): Promise<Machine> {
    const [qmpFd, qmpChildFd] = addon.socketPair();
    const qmpSocket = new Socket({ fd: qmpFd, readable: true, writable: true });
    let process: QemuProcess | undefined;
    try {
      const firmware = await readFirmware(this.#qemu.command, qemuMachine(this.#options.config));
      process = await this.#spawn(this.#open(qmpChildFd));
      this.#fds.closeOurs();
      const qmp = this.#connect(qmpSocket, process);
      await this.#meet(qmp, process);
      await this.#incoming?.prepare(qmp);
      if (this.#incoming !== undefined) await placeFirmware(qmp, process.pid, firmware);
      const vcpuThreads = await readVcpuThreads(qmp);
      return new QemuMachine({
        ...{ process, qmp, version: this.#qemu.version, accel: this.#accel, vcpuThreads },
        ...{ config: this.#options.config, ramFd: this.#options.ramFd },
        ...{ capturePath: this.#capturePath, firmware, incoming: this.#incoming, lastWords: () => this.#lastWords() },
      });
    } catch (error) {
      qmpSocket.destroy();
      rmSync(this.#capturePath, { force: true });
      this.#incoming?.close();
      process?.child.kill('SIGKILL');
      await process?.exited;
      throw this.#explain(error);
    } finally {
      this.#fds.closeOurs();
      this.#vifs?.close();
    }
  }

  /** Opens all that QEMU inherits and gives the other ends to the back-ends. */
  #open(qmpChildFd: number): MachineDescriptors {
    const { config, backEnds, privateDirectory } = this.#options;
    const { boot, vifs } = config;
    const qmp = this.#fds.give(qmpChildFd);
    const ram = this.#fds.give(this.#ram());
    rmSync(this.#capturePath, { force: true });
    const captureQmp = this.#fds.give(addon.listenUnix(this.#capturePath));
    if (this.#options.incoming === true) {
      const number = this.#connection((fd) => {
        this.#incoming = new IncomingState(fd, () => number);
      });
    }
    const kernel = boot.from === 'kernel' ? this.#fds.give(openBootFile('kernel', boot.kernel)) : undefined;
    const hasRamdisk = boot.from === 'kernel' && boot.ramdisk !== undefined;
    const ramdisk = hasRamdisk ? this.#fds.give(openBootFile('ramdisk', boot.ramdisk)) : undefined;
    if (vifs.length > 0) this.#vifs = new VifSockets(privateDirectory, vifs.length, this.#privileges.uid);
    const vifDirectory = this.#vifs === undefined ? undefined : this.#fds.give(this.#vifs.takeFolderFd());
    const console = this.#connection(backEnds.console.bind(backEnds));
    const agent = config.guestAgent ? this.#connection(backEnds.agent.bind(backEnds)) : undefined;
    const disks = config.disks.map((_, index) =>
      this.#connection((fd) => {
        backEnds.disk(index, fd);
      }),
    );
    return { ram, qmp, captureQmp, console, agent, kernel, ramdisk, disks, vifDirectory };
  }

  /** In a folder that only its owner may enter. */
  get #capturePath(): string {
    return join(this.#options.privateDirectory, 'capture');
  }

  /** A descriptor of our own for guest RAM: ours is closed when QEMU has it, the caller's is not. */
  #ram(): number {
    const { config, ramFd } = this.#options;
    if (ramFd === undefined) return addon.createRam(`kemari-${config.name}`, config.memoryBytes);
    return openSync(`/proc/self/fd/${ramFd}`, constants.O_RDWR);
  }

  /** A socket pair: one end for the back-end, the other for QEMU; returns the number that QEMU knows it by. */
  #connection(serve: (fd: number) => void): number {
    const [ours, theirs] = addon.socketPair();
    const number = this.#fds.give(theirs);
    serve(ours);
    return number;
  }

  async #spawn(descriptors: MachineDescriptors): Promise<QemuProcess> {
    const { config, onOutput, onProcess } = this.#options;
    const engine = { accel: this.#accel, version: this.#qemu.version, tscKhz: await measureTscKhz() };
    const process = await spawnQemu({
      command: [...this.#qemu.command, ...machineArguments(config, engine, descriptors, this.#options.incoming)],
      privileges: this.#privileges,
      fds: this.#fds,
      onOutput: (line) => {
        if (isHarmless(line)) return;
        if (this.#lastLines.push(line) > QUOTED_LINES) this.#lastLines.shift();
        onOutput(line);
      },
    });
    onProcess(process.pid);
    return process;
  }

  #connect(socket: Socket, process: QemuProcess): QmpClient {
    const { onEvent, onOutput } = this.#options;
    void process.exited.then((exit) => {
      onEvent({ type: 'exited', ...exit });
    });
    return new QmpClient(socket, {
      onEvent: (event) => {
        const meaning = machineEvent(event);
        if (meaning !== undefined) onEvent(meaning);
      },
      // A QEMU that we cannot talk to any more is taken down; its end is then reported as any other.
      onBroken: (error) => {
        onOutput(error.message);
        process.child.kill('SIGKILL');
      },
    });
  }

  /** Waits until QEMU has connected to every NIC and answers; it does so once every back-end serves it. */
  async #meet(qmp: QmpClient, process: QemuProcess): Promise<void> {
    let over = false;
    const { signal } = this.#options;
    const kill = (): void => void process.child.kill('SIGKILL');
    signal.addEventListener('abort', kill);
    if (signal.aborted) kill();
    const ended = process.exited.then(() => {
      over = true;
      throw new KemariError('KEMARI_HYPERVISOR_START', 'it ended while it started');
    });
    const connected = waitUntil(() => over || this.#acceptVifs(), {
      timeoutMs: START_TIMEOUT_MS,
      everyMs: ACCEPT_INTERVAL_MS,
    });
    try {
      await Promise.race([Promise.all([connected, qmp.negotiate(START_TIMEOUT_MS)]), ended]);
    } finally {
      over = true;
      signal.removeEventListener('abort', kill);
      ended.catch(() => undefined);
      connected.catch(() => undefined);
    }
  }

  #acceptVifs(): boolean {
    const { backEnds } = this.#options;
    return this.#vifs?.acceptNew(backEnds.vif.bind(backEnds)) ?? true;
  }

  /** Adds what QEMU said to an error that is QEMU's; others stay as they are. */
  #explain(error: unknown): unknown {
    if (this.#options.signal.aborted) return new KemariError('KEMARI_INTERRUPTED', 'the start of QEMU was interrupted');
    const fromQemu = error instanceof KemariError && /^KEMARI_(QMP_|HYPERVISOR_START)/.test(error.code);
    if (error instanceof KemariError && !fromQemu) return error;
    const text = `QEMU did not start: ${messageOf(error)}; ${this.#lastWords()}`;
    return new KemariError('KEMARI_HYPERVISOR_START', text, { cause: error });
  }

  #lastWords(): string {
    return this.#lastLines.length === 0 ? 'it printed nothing' : `it printed: ${this.#lastLines.join('; ')}`;
  }
}

/** Errors: those of QMP. */
async function readVcpuThreads(qmp: QmpClient): Promise<readonly number[]> {
  const vcpus = (await qmp.execute('query-cpus-fast')) as readonly { readonly 'thread-id': number }[];
  return [...new Set(vcpus.map((vcpu) => vcpu['thread-id']))];
}

/** A state that xen-save-devices-state wrote ends without the description that a migration stream ends with. */
function isHarmless(line: string): boolean {
  return line.includes('Expected vmdescription section, but got 0');
}
