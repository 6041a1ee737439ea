import type { SyncPolicy } from '../model/protection.js';
import type { Pacing } from './pacing.js';
import { readyAtMs } from './pacing.js';
import { bytesWithin, wireTimeMs, type WirePace } from './wire-pace.js';

/** Console bytes never wait longer than this for an epoch that takes them along. */
export const CONSOLE_LATENCY_MS = 50;

/** Captured epochs that may be on their way to the standby at once, however fast the link is. */
export const MAX_UNACKED_EPOCHS = 4;

/**
 * What is captured behind epochs that the link needs longer for would mostly wait, and grow old: output that comes meanwhile
 * shares the epoch that is captured once the link is free.
 */
export const MAX_UNACKED_WIRE_MS = 20;

/** One epoch should not keep the link busy for longer: whatever is held next waits for it. */
export const MAX_EPOCH_WIRE_MS = 250;

/**
 * Checkpoints that wait for a slow link may take so much memory; beyond it nothing is captured. A guest that goes on
 * writing all the same is stopped at the dirty limit until the standby has caught up.
 */
export const MAX_UNACKED_BYTES = 192 << 20;

/** Pages that an epoch should not exceed (32 MiB): copying them is most of a pause of some ten milliseconds. */
export const DIRTY_LIMIT_PAGES = 8192;

/** And what it may have (1 MiB) on the slowest of links: a guest that writes more is not stopped for less. */
export const LEAST_DIRTY_LIMIT_PAGES = 256;

const PAGE_BYTES = 4096;

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
  readonly wire: WirePace;
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

/** Pages after which a guest that sends nothing is captured all the same: as many as the link takes within its bound. */
export function dirtyLimitPages(wire: WirePace): number {
  const pages = Math.floor(bytesWithin(wire, MAX_EPOCH_WIRE_MS) / PAGE_BYTES);
  return Math.min(DIRTY_LIMIT_PAGES, Math.max(LEAST_DIRTY_LIMIT_PAGES, pages));
}

function isFull(policy: SyncPolicy, { unackedEpochs, unackedBytes, wire }: SyncFacts): boolean {
  if (unackedEpochs === 0) return false;
  return (
    unackedBytes > MAX_UNACKED_BYTES ||
    unackedEpochs >= (resumesAtOnce(policy) ? MAX_UNACKED_EPOCHS : 1) ||
    wireTimeMs(wire, unackedBytes) > MAX_UNACKED_WIRE_MS
  );
}

function dueMs(policy: SyncPolicy, facts: SyncFacts): number {
  if (facts.dirtyLimitReached || facts.pauseUntold) return facts.lastCaptureMs;
  const byAge = facts.lastCaptureMs + facts.maxAgeMs;
  if (policy.kind === 'remus') return Math.min(byAge, facts.lastCaptureMs + policy.intervalMs);
  const byConsole = facts.consoleSinceMs === undefined ? Infinity : facts.consoleSinceMs + CONSOLE_LATENCY_MS;
  return Math.min(byAge, byConsole, facts.heldSinceMs ?? Infinity);
}
