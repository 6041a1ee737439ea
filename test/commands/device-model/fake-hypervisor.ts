import { closeSync } from 'node:fs';
import { KemariError } from '../../../src/base/errors.js';
import type { Hypervisor, Machine, MachineEvent, MachineOptions } from '../../../src/hypervisor/contract.js';
import type { MachineDescription } from '../../../src/model/machine-description.js';
import { addon } from '../../../src/native/addon.js';

/** A machine that does nothing but remember what it was told. */
export class FakeMachine implements Machine {
  readonly pid = 1;
  readonly version = '0';
  readonly accel = 'tcg';
  readonly #options: MachineOptions;
  readonly #told: string[];
  pauseError: KemariError | undefined;

  constructor(options: MachineOptions, told: string[]) {
    this.#options = options;
    this.#told = told;
  }

  emit(event: MachineEvent): void {
    this.#options.onEvent(event);
  }

  readonly addressSpaceBytes = 0;
  /** Also what it is made with. */
  holdsCopy = false;

  async pause(): Promise<void> {
    this.#told.push('pause');
    await Promise.resolve();
    if (this.pauseError !== undefined) throw this.pauseError;
  }

  resume(): Promise<void> {
    return this.#tell('resume');
  }

  requestPowerOff(): Promise<void> {
    return this.#tell('power-off');
  }

  reset(): Promise<void> {
    return this.#tell('reset');
  }

  kill(): Promise<void> {
    return this.#tell('kill');
  }

  captureSource(): never {
    throw new Error('nothing captures it');
  }

  standbyMemory(): never {
    throw new Error('nothing is sent to it');
  }

  blueprint(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  load(): Promise<void> {
    return this.#tell('load');
  }

  describe(): Promise<MachineDescription> {
    throw new Error('nobody asks');
  }

  cpuSeconds(): number {
    return 0;
  }

  #tell(what: string): Promise<void> {
    this.#told.push(what);
    return Promise.resolve();
  }
}

/** Starts such machines, with what a configuration has of disks and a console. */
export class FakeHypervisor implements Hypervisor {
  createRam(): undefined {
    return undefined;
  }

  readonly told: string[] = [];
  readonly machines: FakeMachine[] = [];
  /** What the next start does instead of succeeding: fail, or wait until it is given up. */
  next: 'succeed' | 'fail' | 'wait' = 'succeed';
  /** Its machines are of guest memory of their own. */
  holdCopies = false;

  async start(options: MachineOptions): Promise<Machine> {
    this.told.push(options.waiting === undefined ? 'start' : 'wait on');
    const theirs = [
      this.#connect((fd) => {
        options.backEnds.console(fd);
      }),
    ];
    for (const index of options.config.disks.keys()) {
      theirs.push(
        this.#connect((fd) => {
          options.backEnds.disk(index, fd);
        }),
      );
    }
    try {
      if (this.next === 'fail') throw new KemariError('KEMARI_HYPERVISOR_START', 'no such machine');
      if (this.next === 'wait') await aborted(options.signal);
    } finally {
      theirs.forEach(closeSync);
    }
    const machine = new FakeMachine(options, this.told);
    machine.holdsCopy = this.holdCopies;
    this.machines.push(machine);
    return machine;
  }

  /** Returns the hypervisor's end. */
  #connect(hand: (fd: number) => void): number {
    const [ours, theirs] = addon.socketPair();
    hand(ours);
    return theirs;
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const give = (): void => {
      reject(new KemariError('KEMARI_INTERRUPTED', 'given up'));
    };
    if (signal.aborted) give();
    signal.addEventListener('abort', give);
  });
}
