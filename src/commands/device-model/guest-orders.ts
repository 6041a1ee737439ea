import type { Machine } from '../../hypervisor/contract.js';
import type { Capture, CaptureResult, CaptureResume } from '../../native/capture.js';

/**
 * What stops a guest and lets it go on, one order at a time in the order in which they are given. An order is carried out
 * within the call where nothing is under way: a capture is taken in the tick that decided on it.
 */
export class GuestOrders {
  readonly #capture: Capture;
  readonly #machine: Pick<Machine, 'pause' | 'resume'>;
  #last: Promise<unknown> | undefined;
  /** A capture keeps the guest from going on; the hypervisor answers nothing else until it is let go. */
  #holding = false;

  constructor(capture: Capture, machine: Pick<Machine, 'pause' | 'resume'>) {
    this.#capture = capture;
    this.#machine = machine;
  }

  get holding(): boolean {
    return this.#holding;
  }

  /** Fulfilled once nothing is under way; never rejected. */
  async idle(): Promise<void> {
    while (this.#last !== undefined) await this.#last;
  }

  /** Errors: those of the order. */
  capture(epoch: bigint, resume: CaptureResume, guestPaused: boolean): Promise<CaptureResult> {
    return this.#run(async () => {
      const result = await this.#capture.capture(epoch, resume, guestPaused);
      this.#holding = result.wasRunning && !result.resumed && resume !== 'at-once';
      return result;
    });
  }

  countDirty(): Promise<number> {
    return this.#run(() => this.#capture.countDirty());
  }

  /** Lets the guest go on, whatever keeps it. Returns the whole pause in microseconds where a capture did. */
  resume(): Promise<number | undefined> {
    return this.#run(async () => {
      if (this.#holding) return this.#letGo();
      await this.#machine.resume();
      return undefined;
    });
  }

  pause(): Promise<void> {
    return this.#run(async () => {
      // The order waits in the hypervisor until the capture lets go; the guest then runs for that moment, gate closed.
      const paused = this.#machine.pause();
      if (this.#holding) await this.#letGo();
      await paused;
    });
  }

  async #letGo(): Promise<number> {
    const { pauseUs } = await this.#capture.resume();
    this.#holding = false;
    return pauseUs;
  }

  #run<T>(order: () => Promise<T>): Promise<T> {
    const running = this.#last === undefined ? order() : this.#last.then(order);
    const settled: Promise<unknown> = running.then(ignore, ignore).then(() => {
      if (this.#last === settled) this.#last = undefined;
    });
    this.#last = settled;
    return running;
  }
}

function ignore(): void {
  // Whoever gave the order hears of its failure.
}
