import { performance } from 'node:perf_hooks';
import type { EpochWindow } from './epoch-window.js';

const US_PER_MS = 1000;

interface Moment {
  readonly atMs: number;
  /** What JavaScript had taken by then. */
  readonly scriptMs: number;
}

/** Times an epoch on its way: from the first thing that was held to the ack that lets it out, and what script took of it. */
export class EpochClock {
  readonly #window: EpochWindow;
  /** The oldest thing that is held and not in any epoch yet. */
  #held: Moment | undefined;
  readonly #heldOf = new Map<bigint, Moment>();
  /** When the capture of what is not acknowledged began. */
  readonly #capturedAtMs = new Map<bigint, number>();
  #scriptMs = 0;

  constructor(window: EpochWindow) {
    this.#window = window;
  }

  /** JavaScript ran since then. */
  addScript(sinceMs: number): void {
    this.#scriptMs += performance.now() - sinceMs;
  }

  held(atMs: number): void {
    this.#held ??= { atMs, scriptMs: this.#scriptMs };
  }

  ordered(epoch: bigint): void {
    if (this.#held !== undefined) this.#heldOf.set(epoch, this.#held);
    this.#held = undefined;
  }

  captured(epoch: bigint, beganAtMs: number): void {
    this.#capturedAtMs.set(epoch, beganAtMs);
  }

  /** This epoch and all before it are safe. */
  acked(acked: bigint): void {
    const nowMs = performance.now();
    for (const epoch of this.#capturedAtMs.keys()) {
      if (epoch > acked) break;
      this.#capturedAtMs.delete(epoch);
      const held = this.#heldOf.get(epoch);
      if (held === undefined) continue;
      this.#heldOf.delete(epoch);
      const scriptUs = (this.#scriptMs - held.scriptMs) * US_PER_MS;
      this.#window.addRelease(nowMs, (nowMs - held.atMs) * US_PER_MS, scriptUs);
    }
  }

  /** Age of the oldest epoch that is not acknowledged; 0 without any. */
  lagMs(nowMs: number): number {
    const [oldest] = this.#capturedAtMs.values();
    return oldest === undefined ? 0 : nowMs - oldest;
  }
}
