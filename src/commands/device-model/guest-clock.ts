import { messageOf } from '../../base/errors.js';
import type { GuestAgent } from './guest-agent.js';

/** Time that a guest has lost is given back when it is so much, or, if it is less, every so often. */
const AT_ONCE_MS = 250;
const AT_LEAST_MS = 20;
const EVERY_MS = 10_000;

/** How often is looked what there is to give back. */
const LOOK_EVERY_MS = 500;

/** An agent that does not answer is not there: a guest that boots, or has none. It is asked again so much later. */
const ASK_TIMEOUT_MS = 2_000;
const ASK_AGAIN_MS = 10_000;
const ANSWER_TIMEOUT_MS = 5_000;

/** The clock is read so often; the quickest reading counts, as in NTP. */
const READINGS = 3;

const NS_PER_MS = 1_000_000;

export interface GuestClockOptions {
  readonly agent: Pick<GuestAgent, 'isThere' | 'execute'>;
  /** Milliseconds of this host's Unix time, with fractions. */
  readonly nowMs: () => number;
  readonly log: (level: 'info' | 'warn', text: string) => void;
}

/**
 * Gives a guest's wall clock the time back that its pauses took, by the guest agent. Never more than was lost, and only as far
 * as the clock is behind where it was to this host's when it was read first: what the guest corrected itself (NTP) is not
 * corrected again, and a guest that lives in another time stays there.
 */
export class GuestClock {
  readonly #options: GuestClockOptions;
  readonly #timer: NodeJS.Timeout;
  #stoppedAtMs: number | undefined;
  /** Lost since the clock was last set right. */
  #lostMs = 0;
  /** How far it is behind this host's clock when it is right; undefined until it was read. */
  #behindMs: number | undefined;
  #lastMs: number;
  #notBeforeMs = 0;
  #working: Promise<void> | undefined;

  constructor(options: GuestClockOptions) {
    this.#options = options;
    this.#lastMs = options.nowMs();
    this.#timer = setInterval(() => {
      this.look();
    }, LOOK_EVERY_MS).unref();
  }

  /** The vCPUs stood still from `stopped` to `resumed`. */
  stopped(): void {
    this.#stoppedAtMs ??= this.#options.nowMs();
  }

  resumed(): void {
    if (this.#stoppedAtMs !== undefined) this.#lostMs += this.#options.nowMs() - this.#stoppedAtMs;
    this.#stoppedAtMs = undefined;
  }

  /** The guest starts over, with a clock of its own making. */
  restarted(): void {
    this.#lostMs = 0;
    this.#behindMs = undefined;
  }

  /** The guest was carried on here after so long: it is set right at once, by this host's clock. */
  tookOver(lostMs: number): void {
    this.#lostMs += lostMs;
    this.#behindMs ??= 0;
    this.look();
  }

  /** Begins to set the clock right if there is enough to give back; it does so by itself, too. */
  look(): void {
    const nowMs = this.#options.nowMs();
    const due = this.#lostMs >= AT_ONCE_MS || (this.#lostMs >= AT_LEAST_MS && nowMs - this.#lastMs >= EVERY_MS);
    const wanted = due || this.#behindMs === undefined;
    if (!wanted || this.#working !== undefined || this.#stoppedAtMs !== undefined || nowMs < this.#notBeforeMs) return;
    this.#working = this.#correct().finally(() => {
      this.#working = undefined;
    });
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #correct(): Promise<void> {
    const { agent, nowMs, log } = this.#options;
    try {
      if (!(await agent.isThere(ASK_TIMEOUT_MS))) {
        this.#notBeforeMs = nowMs() + ASK_AGAIN_MS;
        return;
      }
      const lostMs = this.#lostMs;
      const { behindMs, answerMs } = await this.#read();
      if (this.#behindMs === undefined) {
        this.#behindMs = behindMs - lostMs;
        if (lostMs < AT_LEAST_MS) return;
      }
      const stepMs = Math.min(behindMs - this.#behindMs, lostMs);
      this.#lostMs -= lostMs;
      this.#lastMs = nowMs();
      if (stepMs < AT_LEAST_MS) return;
      const timeNs = BigInt(Math.round((nowMs() + answerMs / 2 - behindMs + stepMs) * 1000)) * 1000n;
      await agent.execute('guest-set-time', `{"time":${timeNs}}`, ANSWER_TIMEOUT_MS);
      log('info', `the guest's clock was ${stepMs.toFixed(0)} ms behind by its pauses, and was set right`);
    } catch (error) {
      this.#notBeforeMs = nowMs() + ASK_AGAIN_MS;
      log('warn', `the guest's clock cannot be set right: ${messageOf(error)}`);
    }
  }

  async #read(): Promise<{ behindMs: number; answerMs: number }> {
    const { agent, nowMs } = this.#options;
    let best = { behindMs: 0, answerMs: Infinity };
    for (let reading = 0; reading < READINGS; reading += 1) {
      const askedAtMs = nowMs();
      const guestNs = Number(await agent.execute('guest-get-time', '{}', ANSWER_TIMEOUT_MS));
      const answerMs = nowMs() - askedAtMs;
      if (answerMs < best.answerMs) best = { behindMs: askedAtMs + answerMs / 2 - guestNs / NS_PER_MS, answerMs };
    }
    return best;
  }
}
