import type { Pacing } from './pacing.js';
import { readyAtMs } from './pacing.js';

/** When a domain is synchronized, and when it goes on after a capture. */
export type Policy =
  /** An outbound request is held: synchronize. `strict`: the guest goes on after the ack, as in Kemari 2008. */
  | { readonly kind: 'kemari'; readonly strict: boolean }
  /** By the clock. */
  | { readonly kind: 'remus'; readonly intervalMs: number };

export const REMUS_INTERVAL_MS = { min: 5, default: 100, max: 10_000 } as const;

/** Console bytes never wait longer than this for an epoch that takes them along. */
export const CONSOLE_LATENCY_MS = 50;

/** Captured epochs that may be on their way to the standby at once; more would only make a slow link's queue longer. */
export const MAX_UNACKED_EPOCHS = 4;

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
  /** A silent guest is synchronized this often. */
  readonly maxAgeMs: number;
  readonly pacing: Pacing;
}

/** When the next capture is due; a time in the past means now, undefined means not before something else happens. */
export function nextCaptureMs(policy: Policy, facts: SyncFacts): number | undefined {
  if (facts.unackedEpochs >= (policy.kind === 'kemari' && policy.strict ? 1 : MAX_UNACKED_EPOCHS)) return undefined;
  const due = dueMs(policy, facts);
  return Math.max(due, readyAtMs(facts.pacing));
}

function dueMs(policy: Policy, facts: SyncFacts): number {
  if (facts.dirtyLimitReached) return facts.lastCaptureMs;
  const byAge = facts.lastCaptureMs + facts.maxAgeMs;
  if (policy.kind === 'remus') return Math.min(byAge, facts.lastCaptureMs + policy.intervalMs);
  const byConsole = facts.consoleSinceMs === undefined ? Infinity : facts.consoleSinceMs + CONSOLE_LATENCY_MS;
  return Math.min(byAge, byConsole, facts.heldSinceMs ?? Infinity);
}

/** Whether the guest goes on as soon as the local copy is made, or only after the standby's ack. */
export function resumesAtOnce(policy: Policy): boolean {
  return policy.kind === 'remus' || !policy.strict;
}
