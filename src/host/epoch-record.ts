import type { CaptureTimings } from '../native/capture.js';
import type { EpochWay } from '../native/link.js';

/** Parts of an epoch's way from its capture to its release, one after another, in microseconds; as EpochWay has them. */
export interface LinkTimings extends Omit<EpochWay, 'heardAtUs'> {
  /** From the ack, as it was heard, to the release of what the epoch covers. */
  readonly releaseUs: number;
}

/** One epoch of a protection, from its first held request to its release. Times are milliseconds since the epoch of Unix time. */
export interface EpochRecord {
  readonly epoch: string;
  /** When the oldest thing that it covers was held; undefined where it was taken for another reason. */
  readonly heldAtMs: number | undefined;
  /** When the capture was asked for. */
  readonly orderedAtMs: number;
  readonly timings: CaptureTimings;
  /** From telling the hypervisor to its word that the guest runs again, microseconds. */
  readonly pauseUs: number;
  /** For how much of the time before the guest wanted to run, in [0, 1]. */
  readonly busyShare: number;
  readonly dirtyPages: number;
  /** Before encoding. */
  readonly bytes: number;
  /** When the capture was known to be over. */
  readonly capturedAtMs: number;
  /** When the standby's word that it is safe came, and what it covers went out. */
  readonly ackedAtMs: number;
  /** Where the time went from the capture to that; undefined where the word was on a later epoch. */
  readonly link: LinkTimings | undefined;
}
