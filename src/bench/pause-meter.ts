import type { QmpEvent } from '../hypervisor/qemu/qmp-client.js';
import type { EpochFigures } from './ledger.js';
import { quantile } from './statistics.js';

const US_PER_MS = 1000;

/** How long a QEMU stands still and how often, by its own events. */
export class PauseMeter {
  readonly #now: () => number;
  #stoppedAtMs: number | undefined;
  #sinceMs: number;
  #pausesUs: number[] = [];

  /** `now`: a clock in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#sinceMs = now();
  }

  readonly onEvent = ({ name }: QmpEvent): void => {
    const nowMs = this.#now();
    if (name === 'STOP') this.#stoppedAtMs ??= nowMs;
    if (name !== 'RESUME' || this.#stoppedAtMs === undefined) return;
    this.#pausesUs.push((nowMs - this.#stoppedAtMs) * US_PER_MS);
    this.#stoppedAtMs = undefined;
  };

  /** Of the pauses that ended since the last call; undefined when none did. */
  read(): EpochFigures | undefined {
    const pausesUs = this.#pausesUs;
    const nowMs = this.#now();
    const spanMs = nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
    this.#pausesUs = [];
    if (pausesUs.length === 0) return undefined;
    const stoodUs = pausesUs.reduce((sum, us) => sum + us, 0);
    return {
      perSecond: (pausesUs.length * US_PER_MS) / spanMs,
      pauseP50Us: quantile(pausesUs, 0.5),
      pauseP99Us: quantile(pausesUs, 0.99),
      pauseShare: stoodUs / (spanMs * US_PER_MS),
    };
  }
}
