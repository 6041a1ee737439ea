import type { PrimaryEffect, PrimaryInput } from '../../engine/primary-state.js';
import type { CaptureResult } from '../../native/capture.js';
import type { EpochWay } from '../../native/link.js';
import { EpochClock } from './epoch-clock.js';
import { EpochTrace } from './epoch-trace.js';
import { EpochWindow } from './epoch-window.js';
import type { GuestOrders } from './guest-orders.js';

const US_PER_MS = 1000;
const PAGE_BYTES = 4096;

type CaptureEffect = PrimaryEffect & { readonly do: 'capture' };
type EpochInput = PrimaryInput & { readonly type: 'captured' | 'acked' };

/** Takes the epochs that the engine orders and tells it of each, its capture before its ack; counts and times them. */
export class Epochs {
  readonly window = new EpochWindow(performance.now());
  readonly trace = new EpochTrace();
  readonly clock = new EpochClock(this.window, this.trace);
  readonly #orders: GuestOrders;
  readonly #tell: (input: EpochInput) => void;
  readonly #onFailure: (error: unknown) => void;
  #capturing: bigint | undefined;
  #earlyAck: { readonly epoch: bigint; readonly way: EpochWay | undefined } | undefined;
  #lostGuestUs = 0;

  constructor(orders: GuestOrders, tell: (input: EpochInput) => void, onFailure: (error: unknown) => void) {
    this.#orders = orders;
    this.#tell = tell;
    this.#onFailure = onFailure;
  }

  /** For how long the guest has stood still since the beginning, milliseconds. */
  get lostGuestMs(): number {
    return this.#lostGuestUs / US_PER_MS;
  }

  take({ epoch, resume, guestPaused }: CaptureEffect): void {
    const startedAtMs = performance.now();
    this.clock.ordered(epoch);
    this.#capturing = epoch;
    this.#orders.capture(epoch, resume, guestPaused).then(
      (result) => {
        this.#captured(result, startedAtMs);
      },
      (error: unknown) => {
        this.#capturing = undefined;
        this.#onFailure(error);
      },
    );
  }

  /** Lets a guest go on that a capture holds. Errors: the hypervisor's. */
  async resume(): Promise<void> {
    this.#lostGuestUs += (await this.#orders.resume()) ?? 0;
  }

  /** The standby may have a whole epoch before the guest runs again here: its ack means something once its cut is known. */
  acked(epoch: bigint, way?: EpochWay): void {
    if (epoch === this.#capturing) {
      this.#earlyAck = { epoch, way };
      return;
    }
    this.#tell({ type: 'acked', epoch });
    this.clock.acked(epoch, way);
  }

  #captured(result: CaptureResult, startedAtMs: number): void {
    const { epoch, throughSequence, pauseUs, busyShare, dirtyPages } = result;
    const bytes = dirtyPages * PAGE_BYTES + result.stateBytes;
    // A guest that is held stands longer: its pause is known when it is let go.
    if (!this.#orders.holding) this.#lostGuestUs += pauseUs;
    this.clock.captured(result, bytes, startedAtMs);
    this.#capturing = undefined;
    this.#tell({ type: 'captured', epoch, throughSequence, pauseUs, busyShare, dirtyPages, bytes });
    this.window.addEpoch({ atMs: performance.now(), pauseUs, dirtyPages, bytes });
    const early = this.#earlyAck;
    this.#earlyAck = undefined;
    if (early !== undefined) this.acked(early.epoch, early.way);
  }
}
