import type { PrimaryEffect } from '../../src/engine/primary-state.js';
import type { StandbyEffect } from '../../src/engine/standby-state.js';
import type { Appointment, Clock } from './clock.js';

export type HostName = 'A' | 'B';

/** What numbers lose between two clocks: a timer is never early by it, which would set it again at once, for ever. */
const ROUNDING_MS = 1e-6;

/** A machine with a clock of its own, which runs a little faster or slower than the world's. */
export class Host {
  isUp = true;
  /** Its kemarid runs. */
  answers = true;
  /** Durably noted: the guest went on here without the other side (commands/ownership.ts, goOnAlone). */
  wentOnAlone = false;
  process: Process | undefined;

  constructor(
    readonly name: HostName,
    readonly clock: Clock,
    readonly rate: number,
    readonly offsetMs: number,
  ) {}

  get nowMs(): number {
    return this.clock.nowMs * this.rate + this.offsetMs;
  }

  /** At a time of this host's clock. */
  at(localMs: number, act: () => void): Appointment {
    return this.clock.at((localMs - this.offsetMs) / this.rate + ROUNDING_MS, act);
  }
}

/** Every place in which a process may die or stand still: what one of its threads does next. */
export type StepName =
  | 'decide'
  | `do ${PrimaryEffect['do'] | StandbyEffect['do']}`
  | `capture: ${'stop' | 'submit' | 'go on' | 'tell'}`
  | `gate: ${'admit' | 'look' | 'submit'}`
  | `link: ${'send' | 'hear' | 'commit' | 'lost'}`
  | `lease: ${'renew' | 'answered' | 'expiry' | 'grant' | 'silence'}`
  | `takeover: ${'load' | 'run' | 'tell'}`
  | `end: ${'farewell' | 'phase'}`
  | 'order';

export type ThreadName = 'script' | 'capture' | 'link' | 'lease' | 'disk ring' | 'net ring';

/** Before the n-th step of a process, or the n-th of that name. */
export interface Moment {
  readonly nth: number;
  readonly step: StepName | 'any';
}

/** What befalls a process as it is about to take a step, on whatever thread. */
export interface StepFault {
  readonly moment: Moment;
  readonly befall: (thread: Thread, step: StepName) => void;
}

/** A step of a thread, with nothing between its beginning and its end. */
export interface Task {
  readonly step: StepName;
  readonly act: () => void;
}

/** A process on a host: threads that share its death. What it submitted to storage outlives it. */
export class Process {
  isAlive = true;
  readonly threads: Thread[] = [];
  onDeath: () => void = () => undefined;
  #faults: StepFault[] = [];
  readonly #stepsTaken = new Map<StepName | 'any', number>();

  constructor(readonly host: Host) {
    host.process = this;
  }

  thread(name: ThreadName): Thread {
    const thread = new Thread(this, name);
    this.threads.push(thread);
    return thread;
  }

  arrange(fault: StepFault): void {
    this.#faults.push(fault);
  }

  /** The fault that befalls it before this step. */
  meets(step: StepName): StepFault | undefined {
    if (this.#faults.length === 0) return undefined;
    this.#count('any');
    this.#count(step);
    const index = this.#faults.findIndex(({ moment }) => (this.#stepsTaken.get(moment.step) ?? 0) >= moment.nth);
    return index < 0 ? undefined : this.#faults.splice(index, 1)[0];
  }

  #count(step: StepName | 'any'): void {
    this.#stepsTaken.set(step, (this.#stepsTaken.get(step) ?? 0) + 1);
  }

  /** SIGKILL. */
  kill(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.onDeath();
  }

  /** SIGSTOP, and SIGCONT later. */
  stall(untilMs: number): void {
    for (const thread of this.threads) thread.stall(untilMs);
  }
}

/** Takes one step after the other. Before each of them the process may die, or any of its threads stall. */
export class Thread {
  #tasks: Task[] = [];
  #stalledUntilMs = 0;
  #isBusy = false;

  constructor(
    readonly process: Process,
    readonly name: ThreadName,
  ) {}

  post(step: StepName, act: () => void): void {
    if (!this.process.isAlive) return;
    this.#tasks.push({ step, act });
    this.#drain();
  }

  /** Before everything that waits: the rest of what is being done, in steps. */
  next(tasks: readonly Task[]): void {
    this.#tasks.unshift(...tasks);
    this.#drain();
  }

  stall(untilMs: number): void {
    if (untilMs <= this.#stalledUntilMs) return;
    this.#stalledUntilMs = untilMs;
    this.process.host.clock.at(untilMs, () => {
      this.#drain();
    });
  }

  #drain(): void {
    if (this.#isBusy) return;
    const { process } = this;
    const { clock } = process.host;
    this.#isBusy = true;
    while (this.#tasks.length > 0 && process.isAlive && clock.nowMs >= this.#stalledUntilMs) {
      const { step } = this.#tasks[0]!;
      const fault = process.meets(step);
      if (fault !== undefined) {
        fault.befall(this, step);
        continue;
      }
      this.#tasks.shift()!.act();
    }
    this.#isBusy = false;
  }
}
