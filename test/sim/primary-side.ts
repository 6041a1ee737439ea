import type { PrimaryEffect, PrimaryInput, PrimaryOptions, PrimaryState } from '../../src/engine/primary-state.js';
import type { Appointment } from './clock.js';
import { copyState } from './guest.js';
import type { Process, StepName, Task, Thread } from './host.js';
import type { Sender } from './link.js';
import type { Machine } from './machine.js';
import type { World } from './world.js';

/** How long the end of a domain waits for the standby's word (device-model/domain-protection.ts). */
const GOODBYE_TIMEOUT_MS = 10_000;

const POLL_MS = 1;
/** How long storage may take to answer what a machine that died had submitted; then the standby is not told to take over. */
const STORAGE_PATIENCE_MS = 40;

type Order = (done: () => void) => void;

/** Carries out what the primary's engine decides, as src/commands/device-model/protection.ts does, one effect a step. */
export class PrimarySide {
  state: PrimaryState = { phase: 'unprotected' };
  readonly #script: Thread;
  readonly #captureThread: Thread;
  #timer: Appointment | undefined;
  /** guest-orders.ts: one at a time. */
  readonly #orders: Order[] = [];
  #isOrderUnderWay = false;
  #isHolding = false;
  #promised = false;
  #standbyForgot = false;
  #isAskingPeer = false;
  #capturing: number | undefined;
  #earlyAck: number | undefined;
  /** Last words and the link's end, in order. */
  #farewell: Order[] = [];

  constructor(
    readonly world: World,
    readonly process: Process,
    readonly machine: Machine,
    readonly link: Sender,
  ) {
    this.#script = process.thread('script');
    this.#captureThread = process.thread('capture');
    link.onRenewed = (untilMs): void => {
      machine.gate.renewLease(untilMs);
    };
    link.listener = {
      acked: (epoch): void => {
        this.#script.post('decide', () => {
          this.#acked(epoch);
        });
      },
      word: (word): void => {
        this.#script.post('decide', () => {
          this.#standbyForgot ||= word === 'disarmed' || word === 'refused';
          this.#feed({ type: 'peer-says', word });
        });
      },
      lease: (valid): void => {
        this.input({ type: 'lease', valid });
      },
      lost: (reason): void => {
        this.input({ type: 'link-lost', reason });
      },
    };
  }

  get isFinal(): boolean {
    const { phase } = this.state;
    return phase === 'unprotected' || phase === 'handed-over' || phase === 'ended';
  }

  start(options: PrimaryOptions): void {
    this.input({ type: 'start', options, paused: false });
  }

  input(input: PrimaryInput): void {
    this.#script.post('decide', () => {
      this.#feed(input);
    });
  }

  /** The guest powers off by itself. */
  domainEnds(): void {
    this.input({ type: 'domain-ended', reason: 'the guest powered off' });
    this.world.clock.after(GOODBYE_TIMEOUT_MS, () => {
      this.input({ type: 'link-lost', reason: 'no answer to goodbye' });
    });
  }

  #feed(input: PrimaryInput, after?: () => void): void {
    const { world } = this;
    const before = this.state.phase;
    const { state, effects } = world.engine.stepPrimary(this.state, input, this.process.host.nowMs);
    this.state = state;
    world.checkers.declared(state.phase);
    const isRefused = effects.some((effect) => effect.do === 'refuse');
    if (input.type === 'guest' && !isRefused) world.checkers.wanted(input.wanted);
    if (world.tells) world.tell('A', `${input.type}${detailOf(input)}: ${stateText(before, state)}`, effects);
    const { tally } = world;
    tally?.add(`A hears ${input.type}`);
    const rest: Task[] = [];
    for (const effect of effects) {
      if (effect.do === 'log') continue;
      tally?.add(`A does ${effect.do}`);
      rest.push({
        step: `do ${effect.do}`,
        act: (): void => {
          this.#carryOut(effect);
        },
      });
    }
    if (state.phase !== before) {
      const act = (): void => {
        this.#phaseChanged();
      };
      rest.push({ step: 'end: phase', act });
    }
    if (after !== undefined) rest.push({ step: 'decide', act: after });
    this.#script.next(rest);
  }

  #phaseChanged(): void {
    const { phase } = this.state;
    if (!this.isFinal) return;
    this.#farewell.push((done) => {
      if (phase === 'handed-over' || (phase === 'ended' && this.#isHolding)) this.machine.end();
      this.link.close();
      done();
      if (phase !== 'unprotected') this.world.exits(this.process, this.machine);
    });
    this.#sayFarewell();
  }

  #carryOut(effect: PrimaryEffect): void {
    const { gate } = this.machine;
    switch (effect.do) {
      case 'capture':
        this.world.checkers.epochOrdered(Number(effect.epoch));
        this.#capture(Number(effect.epoch), effect.resume, effect.guestPaused);
        return;
      case 'release':
        gate.release(Number(effect.throughSequence));
        return;
      case 'set-timer':
        if (this.#timer !== undefined) this.#timer.act = undefined;
        this.#timer = this.process.host.at(effect.atMs, () => {
          this.input({ type: 'timer' });
        });
        return;
      case 'resume-guest':
        this.#order((done) => {
          this.#isHolding = false;
          this.machine.resume();
          done();
        });
        return;
      case 'pause-guest':
        this.#order((done) => {
          this.#isHolding = false;
          this.machine.pause();
          done();
        });
        return;
      case 'close-gate':
        this.#promised = true;
        gate.setHeldListener((output, sequence) => {
          this.input({ type: 'held', output, sequence: BigInt(sequence) });
        });
        gate.requireLease(true);
        gate.close();
        if (!this.link.leaseValid) this.input({ type: 'lease', valid: false });
        return;
      case 'open-gate':
        if (this.#promised && !this.#standbyForgot) this.process.host.wentOnAlone = true;
        gate.setHeldListener(undefined);
        gate.requireLease(false);
        gate.open();
        return;
      case 'start-tracking':
        this.world.clock.after(this.world.random.between(2, 20), () => {
          this.input({ type: 'copied', roundTripMs: 0.1 });
        });
        return;
      case 'drop-link':
        this.#farewell.push((done) => {
          this.link.close();
          done();
        });
        this.#sayFarewell();
        return;
      case 'end-lease':
        gate.endLease();
        return;
      case 'drain':
        this.#drain();
        return;
      case 'send':
        this.#send(effect.word);
        return;
      case 'ask-peer':
        this.#askPeer();
        return;
      default:
        // Part of the end (stop-tracking, end-machine), or for people.
        return;
    }
  }

  #send(word: 'go' | 'goodbye' | 'machine-died'): void {
    if (word !== 'machine-died') {
      this.link.say(word);
      return;
    }
    this.#farewell.push((done) => {
      this.machine.end();
      const givesUpAtMs = this.world.clock.nowMs + STORAGE_PATIENCE_MS;
      const look = (): void => {
        const { machine, world } = this;
        const isOver = machine.isQuiet && world.clock.nowMs >= givesUpAtMs;
        if (!machine.isDrained && !isOver) {
          world.clock.after(POLL_MS, look);
          return;
        }
        if (machine.isDrained) this.link.say(word);
        done();
      };
      look();
    });
    this.#sayFarewell();
  }

  /** Polls, as device-model/disk-drain.ts does: what is still pending then is kept back. */
  #drain(): void {
    if (this.machine.gate.writesSubmitted === 0 || this.world.engine.flaws?.doesNotDrain === true) {
      this.input({ type: 'drained' });
      return;
    }
    this.world.clock.after(POLL_MS, () => {
      if (this.state.phase === 'handing-over' && this.process.isAlive) this.#drain();
    });
  }

  #isSaying = false;
  #sayFarewell(): void {
    if (this.#isSaying) return;
    const next = this.#farewell.shift();
    if (next === undefined) return;
    this.#isSaying = true;
    next(() => {
      this.#isSaying = false;
      this.#script.post('end: farewell', () => {
        this.#sayFarewell();
      });
    });
  }

  #order(order: Order): void {
    this.#orders.push(order);
    this.#nextOrder();
  }

  #nextOrder(): void {
    if (this.#isOrderUnderWay) return;
    const order = this.#orders.shift();
    if (order === undefined) return;
    this.#isOrderUnderWay = true;
    order(() => {
      this.#isOrderUnderWay = false;
      this.#script.post('order', () => {
        this.#nextOrder();
      });
    });
  }

  /** The capture thread stops the guest, cuts, lets it go on, and tells script of it, with room for death between each two. */
  #capture(epoch: number, resume: 'at-once' | 'after-ack' | 'never', guestPaused: boolean): void {
    this.#capturing = epoch;
    this.#order((done) => {
      const { machine, world } = this;
      const { clock, random } = world;
      const later = (step: StepName, act: () => void, delayMs: number): void => {
        clock.after(delayMs, () => {
          this.#captureThread.post(step, act);
        });
      };
      later(
        'capture: stop',
        () => {
          // The hypervisor answers nothing while a capture keeps the guest.
          if (this.#isHolding)
            world.checkers.fail('assertion', `epoch ${epoch} is captured while a capture holds the guest`);
          if (!machine.isAlive || world.captureFails(epoch)) {
            if (world.random.chance(0.5)) machine.pause();
            this.#script.post('decide', () => {
              this.#capturing = undefined;
              const type = machine.isAlive ? 'capture-failed' : 'machine-died';
              this.#feed({ type, reason: 'the capture failed' });
              done();
            });
            return;
          }
          const wasRunning = machine.isRunning;
          machine.pause();
          const throughSequence = machine.gate.cut();
          const state = copyState(machine.state);
          if (world.engine.flaws?.cutsNothingPending === true) state.pending = [];
          const checkpoint = { epoch, state, guestPaused };
          world.checkers.cut(checkpoint);
          if (world.tells) world.tell('A', `cut of epoch ${epoch}, covers sequence ${throughSequence}`);
          const isHeld = resume !== 'at-once';
          const tell = (): void => {
            this.#script.post('capture: tell', () => {
              this.#isHolding = wasRunning && isHeld;
              this.#captured(epoch, throughSequence);
              done();
            });
          };
          const send = (): void => {
            this.link.submit(checkpoint);
          };
          const goOn = (): void => {
            if (wasRunning && !isHeld) machine.resume();
            later('capture: tell', tell, random.between(0, 0.5));
          };
          this.#captureThread.next([
            { step: 'capture: submit', act: send },
            { step: 'capture: go on', act: goOn },
          ]);
        },
        random.between(0.1, 0.5),
      );
    });
  }

  #captured(epoch: number, throughSequence: number): void {
    this.#capturing = undefined;
    const dirtyPages = this.world.random.integer(1, 200);
    const early = this.#earlyAck;
    this.#earlyAck = undefined;
    const heardBefore = (): void => {
      if (early !== undefined) this.#acked(early);
    };
    this.#feed(
      {
        ...{ type: 'captured', epoch: BigInt(epoch), throughSequence: BigInt(throughSequence) },
        ...{ pauseUs: 300, busyShare: 1, dirtyPages, bytes: dirtyPages * 4096 },
      },
      heardBefore,
    );
  }

  #acked(epoch: number): void {
    if (epoch === this.#capturing) this.#earlyAck = epoch;
    else this.#feed({ type: 'acked', epoch: BigInt(epoch) });
  }

  #askPeer(): void {
    if (this.#isAskingPeer) return;
    this.#isAskingPeer = true;
    this.world.askPeer(this.process, (answer) => {
      this.#script.post('decide', () => {
        this.#isAskingPeer = false;
        this.#standbyForgot ||= answer === 'gone';
        this.#feed({ type: 'peer', answer });
      });
    });
  }
}

function detailOf(input: PrimaryInput): string {
  if ('epoch' in input) return ` ${input.epoch}`;
  if ('word' in input) return ` ${input.word}`;
  if ('answer' in input) return ` ${input.answer}`;
  if ('verb' in input) return ` ${input.verb}`;
  if ('valid' in input) return input.valid ? ' valid' : ' over';
  return '';
}

function stateText(before: PrimaryState['phase'], after: PrimaryState): string {
  const phase = after.phase === 'handing-over' ? `${after.phase} (${after.handover})` : after.phase;
  return before === after.phase ? phase : `${before} -> ${phase}`;
}
