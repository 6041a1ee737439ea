import { performance } from 'node:perf_hooks';
import { asKemariError, KemariError, messageOf } from '../../base/errors.js';
import { DIRTY_LIMIT_PAGES, dirtyLimitPages } from '../../engine/policy.js';
import { stepPrimary } from '../../engine/primary.js';
import { standbyKnowsPause } from '../../engine/primary-steps.js';
import type { PrimaryEffect, PrimaryInput, PrimaryState } from '../../engine/primary-state.js';
import type { Capture } from '../../native/capture.js';
import type { LinkSender, PrimaryWord, SenderEvent } from '../../native/link.js';
import type { ProtectionOutcome, ProtectionParts } from './protection-parts.js';
import { diskDrain } from './disk-drain.js';
import { DirtyWatch } from './dirty-watch.js';
import { Epochs } from './epochs.js';
import { GuestOrders } from './guest-orders.js';
import { copyMemory } from './memory-copy.js';

/** How long an operator's pause waits until the standby knows of it. */
const PAUSE_TOLD_TIMEOUT_MS = 5_000;

const US_PER_MS = 1000;

/**
 * One protection of one machine, from the connected link to its end: the engine decides (stepPrimary), this carries out, in
 * the tick in which something was heard. Between a held request and its capture nothing else runs.
 */
export class Protection {
  /** Fulfilled when nothing of it is left: no tracking, no link, and the guest runs, is another's or is gone. */
  readonly ended: Promise<ProtectionOutcome>;
  readonly epochs: Epochs;
  readonly #parts: ProtectionParts;
  readonly #link: LinkSender;
  readonly #capture: Capture;
  readonly #orders: GuestOrders;
  readonly #dirtyWatch: DirtyWatch;
  readonly #abortCopy = new AbortController();
  #state: PrimaryState = { phase: 'unprotected' };
  #timer: NodeJS.Timeout | undefined;
  #askingPeer = false;
  #lastFinding = '';
  #lastText = '';
  #standbyForgot = false;
  #promised = false;
  #machineDied = false;
  /** Last words and the link's end, in order. */
  #farewell: Promise<void> = Promise.resolve();
  #endWith: (outcome: ProtectionOutcome) => void = () => undefined;
  #connected: { resolve: () => void; reject: (error: KemariError) => void } | undefined;
  readonly #stateWaiters = new Set<() => void>();

  constructor(parts: ProtectionParts) {
    this.#parts = parts;
    this.#link = parts.openLink((event) => {
      this.#linkEvent(event);
    });
    this.#capture = parts.openCapture(this.#link);
    this.#orders = new GuestOrders(this.#capture, parts.machine);
    this.epochs = new Epochs(
      this.#orders,
      (input) => this.#feed(input),
      (error) => {
        this.#captureFailed(error);
      },
    );
    this.#dirtyWatch = new DirtyWatch(
      this.#orders,
      () => ('core' in this.#state ? dirtyLimitPages(this.#state.core.wire) : DIRTY_LIMIT_PAGES),
      () => {
        this.#feed({ type: 'dirty-limit' });
      },
    );
    this.ended = new Promise((resolve) => {
      this.#endWith = resolve;
    });
  }

  /**
   * Waits for the link, then begins. Errors: the link's, when the peer has another key, say; nothing is left then, and
   * `ended` is fulfilled.
   */
  async start(): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#connected = { resolve, reject };
      });
    } catch (error) {
      this.#lastText = messageOf(error);
      this.#settle('unprotected');
      await this.ended;
      throw error;
    }
    const { options, paused } = this.#parts;
    this.#feed({ type: 'start', options, paused });
  }

  get state(): PrimaryState {
    return this.#state;
  }

  /** The last thing that was said about it, for people. */
  get lastText(): string {
    return this.#lastText;
  }

  get link(): LinkSender {
    return this.#link;
  }

  /** A capture keeps the guest, and with it the hypervisor, from going on. */
  get standing(): boolean {
    return this.#orders.holding;
  }

  /** Errors: the engine's refusals. */
  input(input: PrimaryInput): void {
    const refusal = this.#feed(input);
    if (refusal !== undefined) throw refusal;
  }

  /**
   * Pauses the guest or lets it go on; fulfilled once it was told. A pause that is not `forReset` holds at the standby, too:
   * who answers there is waited for. Errors: the engine's refusals.
   */
  async steer(wanted: 'paused' | 'running', forReset = false): Promise<void> {
    this.input({ type: 'guest', wanted, forReset });
    await this.#orders.idle();
    if (wanted === 'running' || forReset) return;
    const told = (state: PrimaryState): boolean => state.phase !== 'protected' || standbyKnowsPause(state.core);
    if (told(await this.until(told, AbortSignal.timeout(PAUSE_TOLD_TIMEOUT_MS)))) return;
    this.#say('warn', 'the guest is paused; the standby is too far behind to know of it yet');
  }

  /**
   * Waits until the state is such. Fulfilled with it, or when the protection has ended or the signal is aborted, whatever the
   * state is then.
   */
  async until(condition: (state: PrimaryState) => boolean, signal?: AbortSignal): Promise<PrimaryState> {
    const wake = (): void => {
      this.#wake();
    };
    signal?.addEventListener('abort', wake);
    while (!condition(this.#state) && !isFinal(this.#state) && signal?.aborted !== true) {
      await new Promise<void>((resolve) => this.#stateWaiters.add(resolve));
    }
    signal?.removeEventListener('abort', wake);
    return this.#state;
  }

  #wake(): void {
    for (const wake of this.#stateWaiters) wake();
    this.#stateWaiters.clear();
  }

  /** For those who watch it, and the log. */
  complain(text: string): void {
    this.#say('warn', text);
  }

  #linkEvent(event: SenderEvent): void {
    switch (event.type) {
      case 'connected':
        this.#connected?.resolve();
        return;
      case 'acked':
        this.epochs.acked(event.epoch, event.way);
        return;
      case 'word':
        if (event.text !== '') this.#say('info', `the standby: ${event.text}`);
        this.#standbyForgot ||= event.word === 'disarmed' || event.word === 'refused';
        this.#feed({ type: 'peer-says', word: event.word });
        return;
      case 'lease':
        this.#feed({ type: 'lease', valid: event.valid });
        return;
      case 'lost':
        this.#connected?.reject(new KemariError(event.code, event.text));
        this.#feed({ type: 'link-lost', reason: `the link to the standby is lost: ${event.code}: ${event.text}` });
        return;
    }
  }

  /** Lets the engine decide and carries it out. Returns the refusal, if that is what it decided. */
  #feed(input: PrimaryInput): KemariError | undefined {
    const startedAtMs = performance.now();
    if (input.type === 'held') this.epochs.clock.held(startedAtMs);
    const before = this.#state;
    const { state, effects } = stepPrimary(before, input, startedAtMs);
    this.#state = state;
    let refusal: KemariError | undefined;
    for (const effect of effects) refusal = this.#carryOut(effect) ?? refusal;
    this.epochs.clock.addScript(startedAtMs);
    if (state.phase !== before.phase) this.#phaseChanged(before, state);
    else if (ackedEpoch(before) === 0n && ackedEpoch(state) > 0n) this.#parts.onState(state);
    if (state !== before && this.#stateWaiters.size > 0) this.#wake();
    return refusal;
  }

  #phaseChanged(before: PrimaryState, state: PrimaryState): void {
    if (before.phase === 'copying') this.#abortCopy.abort(new Error('copying has ended'));
    this.#parts.logger.info(
      { event: 'protection', from: before.phase, to: state.phase },
      `${before.phase} -> ${state.phase}`,
    );
    this.#dirtyWatch.run(state.phase === 'protected');
    this.#parts.onState(state);
    if (state.phase === 'unprotected' || state.phase === 'handed-over' || state.phase === 'ended')
      this.#settle(state.phase);
  }

  #carryOut(effect: PrimaryEffect): KemariError | undefined {
    const { gate } = this.#parts;
    switch (effect.do) {
      case 'capture':
        this.#dirtyWatch.noteCapture(performance.now());
        this.epochs.take(effect);
        return undefined;
      case 'release':
        gate.release(effect.throughSequence);
        return undefined;
      case 'set-timer':
        this.#setTimer(effect.atMs);
        return undefined;
      case 'resume-guest':
        this.epochs.resume().catch(this.#orderFailed);
        return undefined;
      case 'pause-guest':
        this.#orders.pause().catch(this.#orderFailed);
        return undefined;
      case 'close-gate':
        this.#promised = true;
        gate.setHeldListener(({ output, sequence }) => {
          this.#feed({ type: 'held', output, sequence });
        });
        gate.requireLease(true);
        gate.close();
        // Said while nobody asked: an event that the lease ran out came too early to mean anything.
        if (!this.#link.stats().leaseValid) setImmediate(() => this.#feed({ type: 'lease', valid: false }));
        return undefined;
      case 'open-gate':
        if (this.#promised && !this.#standbyForgot) this.#noteAlone();
        gate.setHeldListener(undefined);
        gate.requireLease(false);
        gate.open();
        return undefined;
      case 'start-tracking':
        void this.#copy();
        return undefined;
      case 'drop-link':
        this.#farewell = this.#farewell.then(() => this.#link.close());
        return undefined;
      case 'end-lease':
        gate.endLease();
        return undefined;
      case 'drain':
        void this.#drain();
        return undefined;
      case 'send':
        this.#send(effect.word);
        return undefined;
      case 'ask-peer':
        void this.#askPeer();
        return undefined;
      case 'stop-tracking':
      case 'end-machine':
        // Part of the end, in its order (#settle).
        return undefined;
      case 'log':
        this.#say(effect.level, effect.text);
        return undefined;
      case 'refuse':
        return new KemariError(effect.code, effect.text);
    }
  }

  /** Should this process end one day, nobody may conclude from it that the standby's last epoch is the newest. */
  #noteAlone(): void {
    try {
      this.#parts.goesOnAlone();
    } catch (error) {
      this.#say('error', `it could not be noted that the guest goes on alone: ${messageOf(error)}`);
    }
  }

  async #copy(): Promise<void> {
    try {
      await this.#capture.attach();
      const { onCopying } = this.#parts;
      const report = await copyMemory(this.#capture, this.#link, onCopying, this.#abortCopy.signal);
      this.#parts.logger.info({ event: 'memory-copied', ...report }, `memory was copied in ${report.rounds} rounds`);
      this.#feed({ type: 'copied', roundTripMs: this.#link.stats().rttUs / US_PER_MS });
    } catch (error) {
      // When copying was given up this is how it ends.
      if (this.#state.phase === 'copying') this.#feed({ type: 'capture-failed', reason: messageOf(error) });
    }
  }

  /** A capture that fails because the machine died is the machine's death: the standby is to take over, not to forget. */
  #captureFailed(error: unknown): void {
    const gone = asKemariError(error).code === 'KEMARI_CAPTURE_GONE' || !this.#parts.machineRuns();
    const reason = messageOf(error);
    this.#feed({ type: gone ? 'machine-died' : 'capture-failed', reason });
  }

  readonly #orderFailed = (error: unknown): void => {
    this.#feed({ type: 'machine-died', reason: `the machine does not do as it is told: ${messageOf(error)}` });
  };

  #send(word: PrimaryWord): void {
    if (word !== 'machine-died') {
      this.#link.send(word);
      return;
    }
    this.#machineDied = true;
    // What it had submitted to storage must land before the standby writes. Where storage does not answer, the standby is not
    // told to take over: it finds this process gone and writes pending in its last epoch, which asks for a fence.
    this.#farewell = this.#farewell
      .then(() => this.#parts.endMachine())
      .then((answered) => {
        if (answered) this.#link.send(word);
        else this.#say('error', 'storage has not answered all writes: the standby needs its fence, or its operator');
      });
  }

  async #drain(): Promise<void> {
    const isWanted = (): boolean => this.#state.phase === 'handing-over';
    if (await diskDrain(this.#parts.disks, isWanted)) this.#feed({ type: 'drained' });
  }

  async #askPeer(): Promise<void> {
    if (this.#askingPeer) return;
    this.#askingPeer = true;
    const { answer, text } = await this.#parts.askPeer();
    if (text !== this.#lastFinding) this.#say('info', `asked for the standby: ${text}`);
    this.#lastFinding = text;
    this.#askingPeer = false;
    this.#standbyForgot ||= answer === 'gone';
    this.#feed({ type: 'peer', answer });
  }

  #setTimer(atMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#feed({ type: 'timer' });
      },
      Math.max(0, atMs - performance.now()),
    );
  }

  #say(level: 'info' | 'warn' | 'error', text: string): void {
    this.#lastText = text;
    this.#parts.logger[level]({ event: 'protection' }, text);
    this.#parts.onLog(level, text);
  }

  #settle(outcome: ProtectionOutcome['outcome']): void {
    clearTimeout(this.#timer);
    this.#dirtyWatch.run(false);
    const end = { outcome, text: this.#lastText, standbyForgot: this.#standbyForgot, machineDied: this.#machineDied };
    void this.#takeDown(outcome).then(
      () => {
        this.#endWith(end);
      },
      (error: unknown) => {
        this.#parts.logger.error({ event: 'protection-end', err: error }, messageOf(error));
        this.#endWith(end);
      },
    );
  }

  async #takeDown(outcome: ProtectionOutcome['outcome']): Promise<void> {
    await this.#farewell;
    // A capture that ends lets the guest go: where another runs it, or may, it must be gone before.
    if (outcome === 'handed-over' || (outcome === 'ended' && this.#orders.holding)) await this.#parts.endMachine();
    if (outcome === 'unprotected') await this.#orders.idle();
    await this.#capture.close();
    await this.#link.close();
  }
}

function ackedEpoch(state: PrimaryState): bigint {
  return 'core' in state ? state.core.ackedEpoch : 0n;
}

function isFinal(state: PrimaryState): boolean {
  return state.phase === 'unprotected' || state.phase === 'handed-over' || state.phase === 'ended';
}
