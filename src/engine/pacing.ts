/**
 * Keeps the pauses of captures, and the write-protect faults that follow them, under a share of the guest's time. The
 * guest's running time earns credit; a capture spends what it cost. A guest that sends now and then always finds credit
 * and is synchronized at once; under sustained output the credit runs out, and epochs are spaced.
 */
export interface Pacing {
  /** Of the guest's time, in (0, 1]. */
  readonly maxPauseShare: number;
  /** Microseconds of pause that may be spent now; negative: overdrawn. */
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

/** What a capture costs the guest, in microseconds. */
export function captureCostUs(pauseUs: number, dirtyPages: number): number {
  return pauseUs + dirtyPages * PROTECT_FAULT_US;
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
