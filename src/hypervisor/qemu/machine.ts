import { readFileSync } from 'node:fs';
import type { Machine, MachineEvent } from '../contract.js';
import type { QmpClient, QmpEvent } from './qmp-client.js';
import type { QemuProcess } from './spawn.js';

/** Ticks a second of the times in /proc/PID/stat (proc(5)); fixed on Linux. */
const CLOCK_TICKS_PER_SECOND = 100;

/** A QEMU that has started, driven over QMP. */
export class QemuMachine implements Machine {
  readonly version: string;
  readonly accel: 'kvm' | 'tcg';
  readonly #process: QemuProcess;
  readonly #qmp: QmpClient;

  constructor(process: QemuProcess, qmp: QmpClient, version: string, accel: 'kvm' | 'tcg') {
    this.#process = process;
    this.#qmp = qmp;
    this.version = version;
    this.accel = accel;
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

  async kill(): Promise<void> {
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
