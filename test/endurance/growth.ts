/** A value at a time. */
export interface Sample {
  readonly atMs: number;
  readonly value: number;
}

/**
 * By how much a line through the samples rises from the first to the last of them. Its slope is the median of the slopes
 * between any two samples (Theil and Sen): what stands out for a moment, as a descriptor that is open during a capture or
 * memory before a garbage collection, does not move it. 0 for fewer than two samples.
 */
export function fittedGrowth(samples: readonly Sample[]): number {
  const slopes = samples.flatMap((from, index) =>
    samples.slice(index + 1).map((to) => (to.value - from.value) / (to.atMs - from.atMs)),
  );
  if (slopes.length === 0) return 0;
  slopes.sort((a, b) => a - b);
  return slopes[Math.floor(slopes.length / 2)]! * (samples.at(-1)!.atMs - samples[0]!.atMs);
}
