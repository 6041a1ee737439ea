/**
 * Keeps what pauses of captures, and the write-protect faults that follow them, take from the guest under a share of its
 * time. Time earns credit; a capture spends what it cost. A pause costs a guest as much as it had to do: one that waits for
 * the answer to what it sent is synchronized at once, each time; under sustained output of a busy one the credit runs out, and
 * epochs are spaced.
 */
export interface Pacing {
  /** Of the guest's time, in (0, 1]. */
  readonly maxPauseShare: number;
  /** Microseconds that may be taken from the guest now; negative: overdrawn. */
  readonly creditUs: number;
  /** When `creditUs` was true. */
  readonly atMs: number;
}

/** Credit is saved up to this: what a burst after a quiet time may cost at once. */
export const PACING_BURST_US = 10_000;
/** What the first write to a page costs after a capture protected it. */
export const PROTECT_FAULT_US = 1.5;

export function startPacing(maxPauseShare: number, nowMs: number): Pacing {
  return { maxPauseShare, creditUs: PACING_BURST_US, atMs: nowMs };
}

/** What a capture took from a guest that had something to do for `busyShare` of the time, in microseconds. */
export function captureCostUs(pauseUs: number, busyShare: number, dirtyPages: number): number {
  return pauseUs * busyShare + dirtyPages * PROTECT_FAULT_US;
}

export function spend(pacing: Pacing, costUs: number, nowMs: number): Pacing {
  const earned = Math.max(0, nowMs - pacing.atMs) * 1000 * pacing.maxPauseShare;
  return { ...pacing, creditUs: Math.min(PACING_BURST_US, pacing.creditUs + earned) - costUs, atMs: nowMs };
}

/** From when on a capture may be taken: as soon as nothing is overdrawn. */
export function readyAtMs(pacing: Pacing): number {
  if (pacing.creditUs >= 0) return pacing.atMs;
  return pacing.atMs - pacing.creditUs / (1000 * pacing.maxPauseShare);
}

/** What `top` calls the regime: whether spacing holds captures back. */
export function regime(pacing: Pacing, nowMs: number): 'at-once' | 'paced' {
  return readyAtMs(pacing) > nowMs ? 'paced' : 'at-once';
}
