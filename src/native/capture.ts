import type { Console, OutputGate, RingDevice } from './addon.js';
import type { LinkSender } from './link.js';

/** What of the domain is kemari's own, whatever runs it. */
export interface CaptureOutputs {
  readonly gate: OutputGate;
  /** Every ring device of the domain: disks, then NICs, in the order of its configuration. */
  readonly devices: readonly RingDevice[];
  readonly console: Console | undefined;
  /** Takes the checkpoints. */
  readonly link: LinkSender;
}

/** A guest of QEMU's. */
export interface QemuSource {
  /** The hypervisor's process. */
  readonly pid: number;
  /** Its threads that run vCPUs. */
  readonly vcpuThreads: readonly number[];
  /** A connected QMP socket of it, on which nothing was said yet. Belongs to the capture from here on, also when it cannot be made. */
  readonly monitorFd: number;
  /** The memfd of guest memory; stays the caller's. */
  readonly ramFd: number;
}

/**
 * A guest of Xen's, seen from dom0. Pages of its checkpoints are frames of the guest's address space. `attach` and every later
 * call also fail with `KEMARI_XEN_GONE` where the domain is no more, `KEMARI_XEN_REFUSED`, and `attach` with
 * `KEMARI_XEN_MISSING`, `KEMARI_XEN_VERSION`, `KEMARI_XEN_UNPATCHED`, `KEMARI_XEN_GUEST` and `KEMARI_XEN_MEMORY`.
 */
export interface XenSource {
  readonly xenDomid: number;
}

export type CaptureSource = QemuSource | XenSource;
export type CaptureOptions = CaptureOutputs & CaptureSource;

/**
 * When the guest goes on: by itself once its state is copied; when `resume()` is called; or, which differs from the second
 * in nothing but the intent, when `resume()` is called after all because a handover came to nothing.
 */
export type CaptureResume = 'at-once' | 'after-ack' | 'never';

/** Parts of a pause, in microseconds of CLOCK_MONOTONIC. Copying overlaps with serializing. */
export interface CaptureTimings {
  /** From the call in JavaScript until QEMU had stopped its vCPUs. The guest runs meanwhile. */
  readonly triggerUs: number;
  /** Until no ring ran either. */
  readonly stopUs: number;
  /** Finding the pages that were written. */
  readonly scanUs: number;
  /** Rings, console and pages into the checkpoint. */
  readonly copyUs: number;
  /** From the stop until QEMU had written its whole state. */
  readonly serializeUs: number;
  /** From letting QEMU go to its word that the guest runs; 0 where it was not let go. */
  readonly resumeUs: number;
}

export interface CaptureResult {
  readonly epoch: bigint;
  /** Everything that was admitted at the gate up to this sequence is in the checkpoint. */
  readonly throughSequence: bigint;
  /**
   * From the first ring that QEMU stops, its vCPUs being stopped, to its word that the guest runs again, microseconds; where
   * the guest is held, until the checkpoint was whole.
   */
  readonly pauseUs: number;
  /**
   * Of the time since the guest went on after the capture before, in [0, 1]: for how much of it the busiest vCPU wanted to run.
   * A guest that waits for an answer loses nothing by a pause. 1 where it is not known.
   */
  readonly busyShare: number;
  readonly dirtyPages: number;
  readonly stateBytes: number;
  /** The guest ran before the capture. A guest that was paused, or had powered off, stays so. */
  readonly wasRunning: boolean;
  /** The guest runs now. */
  readonly resumed: boolean;
  readonly timings: CaptureTimings;
}

export interface CopyRound {
  readonly pages: number;
  readonly bytes: number;
  /** Pages written since the round began, and not sent yet. */
  readonly dirtyLeft: number;
}

/**
 * Takes checkpoints of a running domain, on a thread of its own: calls are carried out one after the other, and nothing of a
 * capture waits for JavaScript. What cannot be done now is refused (`KEMARI_CAPTURE_STATE`). Every call fails with `KEMARI_CAPTURE_GONE` once the hypervisor's process is gone, and with
 * `KEMARI_CAPTURE_CLOSED` after `close`.
 */
export interface Capture {
  /**
   * Begins to track written pages, and keeps rings suspended, not drained, while the guest is stopped. Leaves the guest
   * running. Errors: `KEMARI_CAPTURE_ATTACH`, `KEMARI_CAPTURE_STATE_FILE`, `KEMARI_CAPTURE_REFUSED`.
   */
  attach(): Promise<void>;
  /**
   * Sends the pages that were written since the last round or capture, ahead of an epoch, while the guest runs; the first time
   * all of guest memory that is not a hole. Waits for the link. Errors: `KEMARI_CAPTURE_ABORTED` when `detach` or
   * `close` was called meanwhile, or the link was lost.
   */
  copyRound(): Promise<CopyRound>;
  /** Pages written since the last round or capture; forgets nothing. Before the first: all that are no hole. */
  countDirty(): Promise<number>;
  /**
   * Takes one checkpoint and submits it. `guestPaused`: the guest's operator has paused it, and its standby is to know.
   * Resolves when the guest runs again or, where it does not, when the checkpoint was
   * submitted. When it is rejected nothing was submitted, and the guest goes on if it lives. The standby may acknowledge the
   * epoch before this resolves.
   */
  capture(epoch: bigint, resume: CaptureResume, guestPaused?: boolean): Promise<CaptureResult>;
  /** Lets a guest go on that a capture holds; resolves when it runs. `pauseUs` is the whole pause. */
  resume(): Promise<{ readonly pauseUs: number; readonly resumed: boolean }>;
  /**
   * Ends the tracking: nothing of it is left in the hypervisor's process, and nothing slows the guest. A guest that a
   * capture holds goes on. What runs is given up. `attach` may follow. Idempotent.
   */
  detach(): Promise<void>;
  /** Detaches, closes the monitor, ends the thread. Idempotent. */
  close(): Promise<void>;
}
