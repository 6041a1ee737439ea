/** A ratio of two things measured side by side, with the ends of its 95 % confidence interval. */
export interface Ratio {
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

const BOOTSTRAP_RESAMPLES = 4000;
const CONFIDENCE = 0.95;

/** The middle of `values`, which are not empty; the mean of the two middle ones where their number is even. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('median of nothing');
  const sorted = values.toSorted((a, b) => a - b);
  const last = sorted.length - 1;
  return (at(sorted, Math.floor(last / 2)) + at(sorted, Math.ceil(last / 2))) / 2;
}

/** The value below or at which this share of `values`, which are not empty, lies: nearest rank. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return at(sorted, Math.max(0, Math.ceil(share * sorted.length) - 1));
}

/**
 * The median of above[i] / below[i] with a percentile bootstrap interval. Pairs were measured next to each other, so that
 * what disturbs the machine for longer than one pair cancels out. The resampling is seeded: the same samples give the
 * same interval.
 */
export function pairedRatio(above: readonly number[], below: readonly number[]): Ratio {
  if (above.length !== below.length) throw new RangeError(`${above.length} samples against ${below.length}`);
  const ratios = above.map((value, index) => value / at(below, index));
  const random = seededRandom(ratios.length);
  const medians: number[] = [];
  for (let round = 0; round < BOOTSTRAP_RESAMPLES; round++) {
    medians.push(median(ratios.map(() => at(ratios, Math.floor(random() * ratios.length)))));
  }
  medians.sort((a, b) => a - b);
  const tail = (1 - CONFIDENCE) / 2;
  return {
    ratio: median(ratios),
    low: at(medians, Math.floor(tail * (BOOTSTRAP_RESAMPLES - 1))),
    high: at(medians, Math.ceil((1 - tail) * (BOOTSTRAP_RESAMPLES - 1))),
  };
}

function at(values: readonly number[], index: number): number {
  const value = values[index];
  if (value === undefined) throw new RangeError(`no value ${index} of ${values.length}`);
  return value;
}

/** Numbers in [0, 1) by mulberry32. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
