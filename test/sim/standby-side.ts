import { startStandby } from '../../src/engine/standby.js';
import type { StandbyEffect, StandbyInput, StandbyOptions, StandbyState } from '../../src/engine/standby-state.js';
import type { Appointment } from './clock.js';
import { copyState } from './guest.js';
import type { Process, StepName, Task, Thread } from './host.js';
import type { Checkpoint, Receiver } from './link.js';
import { Machine } from './machine.js';
import type { World } from './world.js';

/** Carries out what the standby's engine decides, as src/commands/restore/standby.ts does, one effect a step. */
export class StandbySide {
  state: StandbyState;
  /** The guest that runs here, once it does. */
  machine: Machine | undefined;
  readonly #script: Thread;
  #timer: Appointment | undefined;
  #mayHaveRun = false;
  #checkpoint: Checkpoint | undefined;
  #loads = 0;
  /** Of takeovers: how many were decided, and which one is under way. */
  #attempts = 0;
  #attempt: number | undefined;
  /** When a machine waits here again, after one was lost or used up. */
  #machineWaitsAtMs = 0;

  constructor(
    readonly world: World,
    readonly process: Process,
    readonly link: Receiver,
    options: StandbyOptions,
  ) {
    this.state = startStandby(options);
    this.#script = process.thread('script');
    link.listener = {
      committed: (epoch, writesPending): void => {
        this.input({ type: 'committed', epoch: BigInt(epoch), writesPending });
      },
      word: (word): void => {
        this.input({ type: 'peer-says', word });
      },
      silent: (): void => {
        this.input({ type: 'silent' });
      },
      heard: (): void => {
        this.input({ type: 'heard' });
      },
      failed: (reason): void => {
        this.input({ type: 'link-failed', reason });
      },
      lost: (reason): void => {
        this.input({ type: 'link-lost', reason });
      },
    };
  }

  input(input: StandbyInput): void {
    this.#script.post('decide', () => {
      this.#feed(input);
    });
  }

  /** The machine that waits here, or runs, dies. */
  machineDies(): void {
    const { machine } = this;
    machine?.die();
    this.#script.post('decide', () => {
      this.#feed({ type: 'machine-failed', reason: 'the machine has ended', mayHaveRun: this.#mayHaveRun });
    });
  }

  #feed(input: StandbyInput): void {
    const { world } = this;
    const before = this.state.phase;
    const { state, effects } = world.engine.stepStandby(this.state, input, this.process.host.nowMs);
    this.state = state;
    if (world.tells) {
      world.tell(
        'B',
        `${input.type}${detailOf(input)}: ${before === state.phase ? '' : `${before} -> `}${state.phase}`,
        effects,
      );
    }
    const { tally } = world;
    tally?.add(`B hears ${input.type}`);
    const tasks: Task[] = [];
    for (const effect of effects) {
      if (effect.do === 'log') continue;
      tally?.add(`B does ${effect.do}`);
      tasks.push({
        step: `do ${effect.do}`,
        act: (): void => {
          this.#carryOut(effect);
        },
      });
    }
    this.#script.next(tasks);
  }

  #carryOut(effect: StandbyEffect): void {
    const { world, process } = this;
    switch (effect.do) {
      case 'ack':
        this.link.ack(Number(effect.epoch));
        return;
      case 'send':
        this.link.say(effect.word);
        return;
      case 'stop-granting':
        this.link.stopGranting(effect.peerIsGone, () => {
          this.input({ type: 'leases-over' });
        });
        return;
      case 'ask-peer':
        world.askPeer(process, (answer) => {
          this.input({ type: 'peer', answer });
        });
        return;
      case 'fence':
        world.fence(process, (ok) => {
          this.input({ type: 'fence-ended', ok, text: ok ? 'off' : 'no answer' });
        });
        return;
      case 'prepare-machine':
        this.#machineWaitsAtMs = world.clock.nowMs + world.random.between(5, 40);
        return;
      case 'take-over':
        this.#takeOver();
        return;
      case 'set-timer':
        if (this.#timer !== undefined) this.#timer.act = undefined;
        this.#timer = process.host.at(effect.atMs, () => {
          this.input({ type: 'timer' });
        });
        return;
      case 'discard':
        this.machine?.end();
        this.link.close();
        world.exits(process, this.machine);
        return;
      default:
        return;
    }
  }

  /** One attempt after the other: one that is not wanted any more ends before the next begins. */
  #takeOver(): void {
    this.#attempts++;
    if (this.#attempt === undefined) this.#attemptNext();
  }

  #attemptNext(): void {
    const attempt = (this.#attempt = this.#attempts);
    this.#attemptTakeover(
      () => attempt === this.#attempts && this.state.phase === 'taking-over',
      () => {
        this.#attempt = undefined;
        if (attempt !== this.#attempts) this.#attemptNext();
      },
    );
  }

  /** take, load, note for good that the guest goes on here, let it run, start the rings, tell. */
  #attemptTakeover(isWanted: () => boolean, end: () => void): void {
    const { world, process } = this;
    const checkpoint = (this.#checkpoint ??= this.link.take());
    const waitsMs = Math.max(0, this.#machineWaitsAtMs - world.clock.nowMs);
    const load = (): void => {
      if (!isWanted()) process.host.wentOnAlone = false;
      else if (checkpoint !== undefined && ++this.#loads > world.plan.loadFailures) this.#load(checkpoint);
      else {
        process.host.wentOnAlone = false;
        this.#feed({ type: 'takeover-failed', reason: 'the machine refused the state', mayHaveRun: false });
      }
      end();
    };
    const note = (): void => {
      if (!isWanted()) {
        end();
        return;
      }
      process.host.wentOnAlone = true;
      this.#later('takeover: load', load, world.random.between(5, 30));
    };
    this.#later('takeover: load', note, waitsMs);
  }

  #later(step: StepName, act: () => void, delayMs: number): void {
    this.world.clock.after(delayMs, () => {
      this.#script.post(step, act);
    });
  }

  #load(checkpoint: Checkpoint): void {
    const { world, process } = this;
    this.#mayHaveRun = true;
    const machine = new Machine(world, process, copyState(checkpoint.state, world.newLife(checkpoint.state)));
    this.machine = machine;
    const tell = (): void => {
      if (!machine.isAlive) return;
      this.#feed({ type: 'taken-over' });
      this.#script.post('end: farewell', () => {
        this.link.close();
      });
    };
    const run = (): void => {
      world.checkers.resumed(checkpoint, process.host.name);
      if ('reason' in this.state) world.tally?.add(`takeover: ${this.state.reason}`);
      if (world.tells) world.tell('B', `the guest runs here, from epoch ${checkpoint.epoch}`);
      if (world.engine.flaws?.forgetsReplay !== true) machine.replay();
      if (!checkpoint.guestPaused) machine.resume();
      if (machine.isAlive) world.checkers.goesOn(checkpoint.epoch, machine.isRunning);
      if (world.plan.faults.some((fault) => fault.kind === 'load-then-dies')) {
        world.clock.after(world.random.between(0, 6), () => {
          world.tally?.add('fault: load-then-dies');
          this.machineDies();
        });
      }
      this.#later('takeover: tell', tell, world.random.between(0.2, 3));
    };
    this.#script.next([{ step: 'takeover: run', act: run }]);
  }
}

function detailOf(input: StandbyInput): string {
  if ('epoch' in input) return ` ${input.epoch}`;
  if ('word' in input) return ` ${input.word}`;
  if ('answer' in input) return ` ${input.answer}`;
  if ('ok' in input) return input.ok ? ' ok' : ' failed';
  return '';
}
