import type { SyncPolicy } from '../model/protection.js';
import type { Pacing } from './pacing.js';
import { readyAtMs } from './pacing.js';

/** Console bytes never wait longer than this for an epoch that takes them along. */
export const CONSOLE_LATENCY_MS = 50;

/** Captured epochs that may be on their way to the standby at once; more would only make a slow link's queue longer. */
export const MAX_UNACKED_EPOCHS = 4;

/**
 * Checkpoints that wait for a slow link may take so much memory; beyond it nothing is captured. A guest that goes on
 * writing all the same is stopped at the dirty limit until the standby has caught up.
 */
export const MAX_UNACKED_BYTES = 192 << 20;

/** Pages that an epoch should not exceed (32 MiB): copying them is most of a pause of some ten milliseconds. */
export const DIRTY_LIMIT_PAGES = 8192;

/** What the choice of the next capture rests on. Times are milliseconds of a clock that does not go back. */
export interface SyncFacts {
  /** Since when a disk request or frame is held that no capture covers; undefined: none is. */
  readonly heldSinceMs: number | undefined;
  /** The same for console bytes. */
  readonly consoleSinceMs: number | undefined;
  /** When the last capture began. */
  readonly lastCaptureMs: number;
  /** The guest wrote more pages than one epoch should carry. */
  readonly dirtyLimitReached: boolean;
  readonly unackedEpochs: number;
  /** Bytes of their checkpoints. */
  readonly unackedBytes: number;
  /** The operator paused the guest, or let it go on, and no epoch says so. */
  readonly pauseUntold: boolean;
  /** The guest stands still until an ack. */
  readonly standing: boolean;
  /** A silent guest is synchronized this often. */
  readonly maxAgeMs: number;
  readonly pacing: Pacing;
}

/** When the next capture is due; a time in the past means now, undefined means not before something else happens. */
export function nextCaptureMs(policy: SyncPolicy, facts: SyncFacts): number | undefined {
  if (facts.standing) return undefined;
  if (isFull(policy, facts) && !(facts.dirtyLimitReached && resumesAtOnce(policy))) return undefined;
  return Math.max(dueMs(policy, facts), readyAtMs(facts.pacing));
}

/** When the guest goes on after the capture that is taken now. A full link makes it wait until the standby has caught up. */
export function resumeAfter(policy: SyncPolicy, facts: SyncFacts): 'at-once' | 'after-ack' {
  return resumesAtOnce(policy) && !isFull(policy, facts) ? 'at-once' : 'after-ack';
}

/** Whether the guest goes on as soon as the local copy is made, or only after the standby's ack. */
export function resumesAtOnce(policy: SyncPolicy): boolean {
  return policy.kind === 'remus' || !policy.strict;
}

function isFull(policy: SyncPolicy, facts: SyncFacts): boolean {
  return (
    facts.unackedBytes > MAX_UNACKED_BYTES || facts.unackedEpochs >= (resumesAtOnce(policy) ? MAX_UNACKED_EPOCHS : 1)
  );
}

function dueMs(policy: SyncPolicy, facts: SyncFacts): number {
  if (facts.dirtyLimitReached || facts.pauseUntold) return facts.lastCaptureMs;
  const byAge = facts.lastCaptureMs + facts.maxAgeMs;
  if (policy.kind === 'remus') return Math.min(byAge, facts.lastCaptureMs + policy.intervalMs);
  const byConsole = facts.consoleSinceMs === undefined ? Infinity : facts.consoleSinceMs + CONSOLE_LATENCY_MS;
  return Math.min(byAge, byConsole, facts.heldSinceMs ?? Infinity);
}
