import type { Logger } from 'pino';
import { asKemariError, KemariError, messageOf } from '../../base/errors.js';
import { faultPoint } from '../../base/fault.js';
import type { FenceOutcome, PeerFinding } from '../../cluster/contract.js';
import { knownOfPrimary, startStandby, stepStandby } from '../../engine/standby.js';
import type { StandbyEffect, StandbyInput, StandbyOptions, StandbyState } from '../../engine/standby-state.js';
import type { StandbyInfo, TakeoverFailure, TakeoverInfo } from '../../host/standby-info.js';
import type { LinkReceiver, ReceiverEvent, TakenCheckpoint } from '../../native/link.js';

/** What of a link's end is this host's own doing, or damage that the next record would not mend. */
const FAILED_HERE: ReadonlySet<string> = new Set([
  'KEMARI_LINK_CHECKSUM',
  'KEMARI_LINK_DELTA',
  'KEMARI_LINK_MEMORY',
  'KEMARI_LINK_PROTOCOL',
]);

/** What a standby has carried out for it. */
export interface StandbyHands {
  askPeer(): Promise<PeerFinding>;
  fence(): Promise<FenceOutcome>;
  /** Has the guest run here, from this checkpoint. Calls `onLoaded` before anything can let it run, or speak. */
  takeOver(checkpoint: TakenCheckpoint, onLoaded: () => void): Promise<void>;
  announce(): void;
  /** Has another machine wait in the place of the one there was. */
  prepareMachine(): Promise<void>;
  /** Whether the last epoch is still whole, whatever has become of the machine. */
  keepsCopy(): boolean;
}

export interface StandbyDriverOptions {
  readonly engine: StandbyOptions;
  readonly policy: string;
  /** For people: where the guest runs. */
  readonly primary: string;
  readonly hands: StandbyHands;
  readonly logger: Logger;
}

/**
 * A domain that another host runs and this one could: the engine decides (stepStandby), this carries out. Decisions are made at
 * once, in the order in which things happen; what takes time comes back as an input.
 */
export class Standby {
  /** How it ended: `running` is a domain of this host now, `ended` is nothing any more. */
  readonly outcome: Promise<'running' | 'ended'>;
  readonly #options: StandbyDriverOptions;
  readonly #startedAtMs = Date.now();
  #state: StandbyState;
  #link: LinkReceiver | undefined;
  #timer: NodeJS.Timeout | undefined;
  #committedAtMs = performance.now();
  #settle: (outcome: 'running' | 'ended') => void = () => undefined;
  /** The last committed epoch says that its operator paused the guest. */
  #guestPaused = false;
  #decidedAtMs: number | undefined;
  #askedAtMs: number | undefined;
  #takeover: TakeoverInfo | undefined;
  /** The machine has the guest's state, and may have been told to let it run. */
  #mayHaveRun = false;
  /** Fulfilled once a machine waits. */
  #machineWaits: Promise<void> = Promise.resolve();
  /** Fulfilled once no attempt at a takeover is under way: one may go on for a while after it was given up. */
  #attempts: Promise<void> = Promise.resolve();
  #attempt = 0;
  /** Once it was taken from the link. */
  #checkpoint: TakenCheckpoint | undefined;
  #failure: TakeoverFailure | undefined;
  /** What asking for the primary's process last came to: only news is logged. */
  #lastFinding = '';
  /** Of those who wait for an order to be carried out. */
  #refuse: ((error: KemariError) => void)[] = [];

  constructor(options: StandbyDriverOptions) {
    this.#options = options;
    this.#state = startStandby(options.engine);
    this.outcome = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** What the link's events go to. It must be attached before they are of use. */
  readonly onLink = (event: ReceiverEvent): void => {
    switch (event.type) {
      case 'connected':
        this.#options.logger.info({ event: 'connected' }, 'the primary is connected');
        return;
      case 'committed':
        // A guest that its operator paused is as old as its pause.
        if (!(this.#guestPaused && event.guestPaused)) this.#committedAtMs = performance.now();
        this.#guestPaused = event.guestPaused;
        this.#input({ type: 'committed', epoch: event.epoch, writesPending: event.writesPending });
        return;
      case 'word':
        this.#options.logger.info(
          { event: 'word', word: event.word, text: event.text },
          `the primary says ${event.word}`,
        );
        this.#input({ type: 'peer-says', word: event.word });
        return;
      case 'silent':
      case 'heard':
        this.#input({ type: event.type });
        return;
      case 'lost': {
        const type = FAILED_HERE.has(event.code) ? 'link-failed' : 'link-lost';
        this.#input({ type, reason: `the link is lost: ${event.text} [${event.code}]` });
      }
    }
  };

  attach(link: LinkReceiver): void {
    this.#link = link;
  }

  sighup(): void {
    this.#askedAtMs = performance.now();
    this.#input({ type: 'sighup' });
  }

  terminate(): void {
    this.#input({ type: 'terminate' });
  }

  machineFailed(reason: string): void {
    this.#input({ type: 'machine-failed', reason, ...this.#loss() });
  }

  /**
   * An operator's order; fulfilled when it was carried out: the guest runs here, or never will. Errors: what the engine refuses
   * it with; `KEMARI_TAKEOVER_FAILED`.
   */
  order(input: StandbyInput & { type: 'sighup' | 'primary-is-dead' | 'disarm' }): Promise<null> {
    this.#options.logger.warn({ event: 'order', order: input.type }, `the operator orders: ${input.type}`);
    this.#askedAtMs = performance.now();
    const refused = new Promise<never>((_, reject) => {
      this.#refuse.push(reject);
    });
    this.#input(input);
    const wanted = input.type === 'disarm' ? 'ended' : 'running';
    const done = this.outcome.then((outcome) => {
      if (outcome === wanted) return null;
      throw new KemariError('KEMARI_TAKEOVER_FAILED', `the standby is ${outcome} now; "kemari log" says why`);
    });
    return Promise.race([done, refused]);
  }

  /** How old the state is that a takeover would resume: what the guest's clock loses by it. */
  get epochAgeMs(): number {
    return performance.now() - this.#committedAtMs;
  }

  get phase(): StandbyState['phase'] {
    return this.#state.phase;
  }

  info(): StandbyInfo {
    const stats = this.#link?.stats();
    return {
      phase: this.#state.phase,
      primary: this.#options.primary,
      policy: this.#options.policy,
      failover: this.#options.engine.failover,
      known: knownOfPrimary(this.#state),
      epoch: 'epoch' in this.#state ? Number(this.#state.epoch) : 0,
      guestPaused: this.#guestPaused,
      failure: this.#failure,
      sinceMs: this.#startedAtMs,
      receivedBytes: stats?.receivedBytes ?? 0,
      pagesReceived: stats?.pagesReceived ?? 0,
      stagedBytesPeak: stats?.stagedBytesPeak ?? 0,
      applyUs: stats?.applyUs ?? 0,
    };
  }

  /** Once the guest runs here: how it came to that. */
  get takeover(): TakeoverInfo | undefined {
    return this.#takeover;
  }

  #input(input: StandbyInput): void {
    const before = this.#state.phase;
    const { state, effects } = stepStandby(this.#state, input, performance.now());
    this.#state = state;
    if (state.phase !== before) {
      const epoch = 'epoch' in state ? state.epoch.toString() : undefined;
      this.#options.logger.info(
        { event: 'standby', from: before, to: state.phase, by: input.type, epoch },
        `${before} -> ${state.phase}`,
      );
    }
    for (const effect of effects) this.#carryOut(effect);
    if (isDecided(before) && state.phase === 'silent' && 'reason' in input) this.#noteFailure(input.reason);
  }

  /** The takeover failed and the epoch is kept: who ordered it is told. */
  #noteFailure(text: string): void {
    this.#failure = { text, atMs: Date.now(), attempts: (this.#failure?.attempts ?? 0) + 1 };
    this.#reject(new KemariError('KEMARI_TAKEOVER_FAILED', `the takeover failed, the last epoch is kept: ${text}`));
  }

  #reject(error: KemariError): void {
    for (const reject of this.#refuse) reject(error);
    this.#refuse = [];
  }

  #carryOut(effect: StandbyEffect): void {
    const { logger, hands } = this.#options;
    switch (effect.do) {
      case 'log':
        logger[effect.level]({ event: 'standby' }, effect.text);
        return;
      case 'ack':
        this.#link?.ack(effect.epoch);
        return;
      case 'send':
        if (effect.word === 'taken') faultPoint('handover.before-taken');
        this.#link?.send(effect.word, effect.text);
        if (effect.word === 'taken') faultPoint('handover.after-taken');
        return;
      case 'refuse':
        logger.warn({ event: 'refused', code: effect.code }, effect.text);
        this.#reject(new KemariError(effect.code, effect.text));
        return;
      case 'stop-granting':
        this.#stopGranting(effect.peerIsGone);
        return;
      case 'ask-peer':
        void this.#askPeer();
        return;
      case 'fence':
        void this.#fence();
        return;
      case 'prepare-machine':
        this.#prepareMachine();
        return;
      case 'take-over':
        this.#takeOverNext();
        return;
      case 'announce':
        hands.announce();
        return;
      case 'set-timer':
        clearTimeout(this.#timer);
        this.#timer = setTimeout(
          () => {
            this.#input({ type: 'timer' });
          },
          Math.max(0, effect.atMs - performance.now()),
        );
        return;
      case 'discard':
        this.#end('ended');
    }
  }

  #stopGranting(peerIsGone: boolean): void {
    this.#decidedAtMs = performance.now();
    this.#link?.stopGranting(peerIsGone).then(
      () => {
        this.#input({ type: 'leases-over' });
      },
      // Leases that nobody can say are over are not over.
      (error: unknown) => {
        this.#options.logger.error({ event: 'lease', err: error }, messageOf(error));
      },
    );
  }

  #prepareMachine(): void {
    this.#machineWaits = this.#options.hands.prepareMachine();
    this.#machineWaits.catch((error: unknown) => {
      this.#options.logger.error({ event: 'prepare', err: error }, messageOf(error));
    });
  }

  /** Where preparing a machine failed it is tried once more. Errors: those of that. */
  async #untilMachineWaits(isWanted: () => boolean): Promise<void> {
    try {
      await this.#machineWaits;
    } catch (error) {
      if (!isWanted()) throw error;
      this.#prepareMachine();
      await this.#machineWaits;
    }
  }

  async #askPeer(): Promise<void> {
    const { answer, text } = await this.#options.hands.askPeer();
    if (text !== this.#lastFinding) this.#options.logger.info({ event: 'peer', answer }, text);
    this.#lastFinding = text;
    this.#input({ type: 'peer', answer });
  }

  async #fence(): Promise<void> {
    faultPoint('takeover.before-fence');
    const { ok, text } = await this.#options.hands.fence();
    faultPoint('takeover.after-fence');
    this.#options.logger[ok ? 'warn' : 'error']({ event: 'fence', ok }, `the fence: ${text}`);
    this.#input({ type: 'fence-ended', ok, text });
  }

  /** One attempt after the other: the machine, and the record of whose the guest is, are one's alone. */
  #takeOverNext(): void {
    const attempt = ++this.#attempt;
    const isWanted = (): boolean => attempt === this.#attempt && this.#state.phase === 'taking-over';
    this.#attempts = this.#attempts.then(() => this.#takeOver(isWanted));
  }

  /** Once it is not wanted any more, its machine having died, it goes no further and its end is no news. */
  async #takeOver(isWanted: () => boolean): Promise<void> {
    const { logger, hands } = this.#options;
    const link = this.#link;
    try {
      if (!isWanted()) return;
      if (link === undefined) throw new KemariError('KEMARI_NO_EPOCH', 'there never was a link');
      const leasesOverAtMs = performance.now();
      const checkpoint = (this.#checkpoint ??= await link.take());
      await this.#untilMachineWaits(isWanted);
      if (!isWanted()) return;
      const takenAtMs = performance.now();
      await hands.takeOver(checkpoint, () => {
        this.#mayHaveRun = true;
      });
      faultPoint('takeover.resumed');
      const runsAtMs = performance.now();
      const decidedAtMs = this.#decidedAtMs ?? leasesOverAtMs;
      this.#takeover = {
        reason: 'reason' in this.#state ? this.#state.reason : 'unknown',
        epoch: Number(checkpoint.epoch),
        atMs: Math.round(Date.now() - (runsAtMs - (this.#askedAtMs ?? decidedAtMs))),
        resumedAtMs: Date.now(),
        ms: {
          asked: this.#askedAtMs === undefined ? 0 : decidedAtMs - this.#askedAtMs,
          leases: leasesOverAtMs - decidedAtMs,
          take: takenAtMs - leasesOverAtMs,
          load: runsAtMs - takenAtMs,
        },
      };
      logger.warn({ event: 'takeover', ...this.#takeover }, `the guest runs here, ${timesText(this.#takeover)}`);
      this.#input({ type: 'taken-over' });
      this.#end('running');
    } catch (error) {
      const { code, message } = asKemariError(error);
      logger.error({ event: 'takeover-failed', err: error }, message);
      if (!isWanted()) return;
      this.#input({ type: 'takeover-failed', reason: `${message} [${code}]`, ...this.#loss() });
    }
  }

  #loss(): { readonly mayHaveRun: boolean; readonly copyLost: boolean } {
    return { mayHaveRun: this.#mayHaveRun, copyLost: !this.#options.hands.keepsCopy() };
  }

  #end(outcome: 'running' | 'ended'): void {
    clearTimeout(this.#timer);
    this.#settle(outcome);
  }
}

function isDecided(phase: StandbyState['phase']): boolean {
  return phase === 'lease-running-out' || phase === 'taking-over';
}

function timesText({ ms }: TakeoverInfo): string {
  const text = (value: number): string => value.toFixed(1);
  return (
    `${text(ms.leases + ms.take + ms.load)} ms after it was decided (leases ${text(ms.leases)}, ` +
    `last epoch ${text(ms.take)}, machine ${text(ms.load)})`
  );
}
