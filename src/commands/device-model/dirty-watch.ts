import { performance } from 'node:perf_hooks';
import type { GuestOrders } from './guest-orders.js';

/** How often written pages are counted between captures. */
const COUNT_INTERVAL_MS = 100;

/** Counting costs with the guest's size: it may take this share of the time, no more. */
const COUNT_SHARE = 0.005;

/** Tells when a guest that sends nothing has written more than one epoch should carry. */
export class DirtyWatch {
  readonly #orders: Pick<GuestOrders, 'countDirty'>;
  readonly #limitPages: () => number;
  readonly #onLimit: () => void;
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #lastCaptureMs = 0;

  constructor(orders: Pick<GuestOrders, 'countDirty'>, limitPages: () => number, onLimit: () => void) {
    this.#orders = orders;
    this.#limitPages = limitPages;
    this.#onLimit = onLimit;
  }

  run(wanted: boolean): void {
    if (wanted === this.#running) return;
    this.#running = wanted;
    clearTimeout(this.#timer);
    if (wanted) this.#arm(COUNT_INTERVAL_MS);
  }

  /** An epoch was ordered: what was written before is in it. */
  noteCapture(nowMs: number): void {
    this.#lastCaptureMs = nowMs;
  }

  #arm(delayMs: number): void {
    this.#timer = setTimeout(() => {
      void this.#look();
    }, delayMs);
  }

  async #look(): Promise<void> {
    const startedAtMs = performance.now();
    let costMs = 0;
    // A guest that is captured often enough needs no counting.
    if (startedAtMs - this.#lastCaptureMs >= COUNT_INTERVAL_MS) {
      try {
        const pages = await this.#orders.countDirty();
        costMs = performance.now() - startedAtMs;
        if (this.#running && pages > this.#limitPages()) this.#onLimit();
      } catch {
        // The capture that follows fails, too, and says why.
      }
    }
    if (this.#running) this.#arm(Math.max(COUNT_INTERVAL_MS, costMs / COUNT_SHARE));
  }
}
