import { readFileSync, rmSync } from 'node:fs';
import { assert } from '../../base/assert.js';
import { KemariError, messageOf } from '../../base/errors.js';
import type { DomainConfig } from '../../model/domain-config.js';
import { addon } from '../../native/addon.js';
import type { QemuSource } from '../../native/capture.js';
import type { StandbyMemory } from '../../native/link.js';
import type { MachineDescription } from '../../model/machine-description.js';
import type { Machine, MachineEvent } from '../contract.js';
import { describeMachine } from './describe.js';
import type { IncomingState } from './incoming-state.js';
import type { QmpClient, QmpEvent } from './qmp-client.js';
import type { QemuProcess } from './spawn.js';

/** Ticks a second of the times in /proc/PID/stat (proc(5)); fixed on Linux. */
const CLOCK_TICKS_PER_SECOND = 100;

export interface QemuMachineParts {
  readonly process: QemuProcess;
  readonly qmp: QmpClient;
  readonly version: string;
  readonly accel: 'kvm' | 'tcg';
  readonly vcpuThreads: readonly number[];
  /** undefined: QEMU's own. */
  readonly ramFd: number | undefined;
  readonly config: DomainConfig;
  /** Where the second monitor listens; the name goes with the machine. */
  readonly capturePath: string;
  /** What the machine starts from. */
  readonly firmware: Buffer;
  /** Of a machine that waits for a state. */
  readonly incoming: IncomingState | undefined;
  /** What QEMU printed last, as the end of a sentence. */
  readonly lastWords: () => string;
}

/** A QEMU that has started, driven over QMP. */
export class QemuMachine implements Machine {
  /** Guest memory is a file. */
  readonly holdsCopy = false;
  readonly version: string;
  readonly accel: 'kvm' | 'tcg';
  readonly #parts: QemuMachineParts;
  readonly #process: QemuProcess;
  readonly #qmp: QmpClient;

  constructor(parts: QemuMachineParts) {
    this.#parts = parts;
    this.#process = parts.process;
    this.#qmp = parts.qmp;
    this.version = parts.version;
    this.accel = parts.accel;
  }

  get pid(): number {
    return this.#process.pid;
  }

  async pause(): Promise<void> {
    await this.#qmp.execute('stop');
  }

  async resume(): Promise<void> {
    await this.#qmp.execute('cont');
  }

  async requestPowerOff(): Promise<void> {
    await this.#qmp.execute('system_powerdown');
  }

  async reset(): Promise<void> {
    await this.#qmp.execute('stop');
    await Promise.all([this.#qmp.nextEvent('RESET'), this.#qmp.execute('system_reset')]);
  }

  get addressSpaceBytes(): number {
    return this.#parts.config.memoryBytes;
  }

  /** A second QMP monitor, on which nothing was read or said yet; when it is closed the next one may be taken. */
  captureSource(): QemuSource {
    const { capturePath, vcpuThreads } = this.#parts;
    return { pid: this.pid, vcpuThreads, ramFd: this.#ramFd, monitorFd: addon.connectUnix(capturePath) };
  }

  standbyMemory(): StandbyMemory {
    return { ramFd: this.#ramFd };
  }

  /** The configuration says all. */
  blueprint(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  get #ramFd(): number {
    const { ramFd } = this.#parts;
    assert(ramFd !== undefined, 'a machine whose memory is looked at was given a file for it');
    return ramFd;
  }

  async load(state: Buffer): Promise<void> {
    const { incoming, lastWords } = this.#parts;
    assert(incoming !== undefined, 'only a machine that waits for a state loads one');
    try {
      await incoming.send(state, this.#qmp);
    } catch (error) {
      // It ends by itself, after its last words.
      this.#process.child.kill('SIGTERM');
      await this.#process.exited;
      const text = `${messageOf(error)}; ${lastWords()} (do both hosts run the same QEMU, machine and devices?)`;
      throw new KemariError('KEMARI_MACHINE_STATE', text, { cause: error });
    }
  }

  describe(): Promise<MachineDescription> {
    const { config, firmware } = this.#parts;
    return describeMachine(this.#qmp, { config, firmware, version: this.version, accel: this.accel });
  }

  async kill(): Promise<void> {
    rmSync(this.#parts.capturePath, { force: true });
    this.#parts.incoming?.close();
    this.#qmp.close();
    this.#process.child.kill('SIGKILL');
    await this.#process.exited;
  }

  cpuSeconds(): number {
    try {
      const stat = readFileSync(`/proc/${this.pid}/stat`, 'latin1');
      // After the command in parentheses, which may itself hold any character: state is field 3, utime and stime 14 and 15.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
    } catch {
      // The process has ended meanwhile.
      return 0;
    }
  }
}

/** What an event of QEMU means to a domain; undefined for those that mean nothing. Pure. */
export function machineEvent(event: QmpEvent): MachineEvent | undefined {
  switch (event.name) {
    case 'STOP':
      return { type: 'stopped' };
    case 'RESUME':
      return { type: 'resumed' };
    case 'RESET':
      return { type: event.data['guest'] === true ? 'rebooted' : 'reset' };
    case 'GUEST_PANICKED':
      return { type: 'panicked' };
    case 'SHUTDOWN':
      return shutdownEvent(event.data['reason']);
    default:
      return undefined;
  }
}

/** ShutdownCause of QEMU (qapi/run-state.json). */
function shutdownEvent(reason: unknown): MachineEvent | undefined {
  if (reason === 'guest-shutdown') return { type: 'powered-off' };
  if (reason === 'guest-reset') return { type: 'rebooted' };
  return undefined;
}
