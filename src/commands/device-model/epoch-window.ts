/** What one epoch took. Times in microseconds. */
export interface EpochSample {
  readonly atMs: number;
  readonly pauseUs: number;
  readonly dirtyPages: number;
  /** Of its whole checkpoint, before encoding. */
  readonly bytes: number;
}

/** Counters look back so far. */
export const WINDOW_MS = 10_000;
/** Epochs that are kept at most; a thousand a second would be a lot. */
const WINDOW_EPOCHS = 8192;

export interface EpochCounters {
  readonly epochsPerSecond: number;
  /** Median. */
  readonly dirtyPages: number;
  readonly checkpointBytes: number;
  readonly pauseUs: Quantiles;
  /** From the moment that something is held to its release. */
  readonly releaseUs: Quantiles;
  /** Of the time between holding and releasing, in [0, 1]: what JavaScript took. */
  readonly scriptShare: number;
  /** Of the time, in [0, 1]: how long the guest stood still. */
  readonly pauseShare: number;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

interface ReleaseSample {
  readonly atMs: number;
  readonly latencyUs: number;
  readonly scriptUs: number;
}

/** The epochs of the last WINDOW_MS, for `info` and `top`. Exact: quantiles are taken when they are asked for. */
export class EpochWindow {
  readonly #startedAtMs: number;
  readonly #epochs: EpochSample[] = [];
  readonly #releases: ReleaseSample[] = [];

  constructor(nowMs: number) {
    this.#startedAtMs = nowMs;
  }

  addEpoch(sample: EpochSample): void {
    add(this.#epochs, sample);
  }

  addRelease(atMs: number, latencyUs: number, scriptUs: number): void {
    add(this.#releases, { atMs, latencyUs, scriptUs });
  }

  read(nowMs: number): EpochCounters {
    const epochs = within(this.#epochs, nowMs);
    const releases = within(this.#releases, nowMs);
    const spanMs = Math.max(1, Math.min(WINDOW_MS, nowMs - this.#startedAtMs));
    const latencyUs = sum(releases, ({ latencyUs: us }) => us);
    return {
      epochsPerSecond: (epochs.length * 1000) / spanMs,
      dirtyPages: quantiles(epochs.map(({ dirtyPages }) => dirtyPages)).p50,
      checkpointBytes: quantiles(epochs.map(({ bytes }) => bytes)).p50,
      pauseUs: quantiles(epochs.map(({ pauseUs }) => pauseUs)),
      releaseUs: quantiles(releases.map(({ latencyUs: us }) => us)),
      scriptShare: latencyUs === 0 ? 0 : sum(releases, ({ scriptUs }) => scriptUs) / latencyUs,
      pauseShare: sum(epochs, ({ pauseUs }) => pauseUs) / (spanMs * 1000),
    };
  }
}

function add<T extends { readonly atMs: number }>(samples: T[], sample: T): void {
  samples.push(sample);
  // Now and then, not one by one: removing from the front costs with the length.
  if (samples.length < 2 * WINDOW_EPOCHS) return;
  samples.splice(0, samples.length - WINDOW_EPOCHS);
}

function within<T extends { readonly atMs: number }>(samples: T[], nowMs: number): T[] {
  const first = samples.findIndex(({ atMs }) => nowMs - atMs < WINDOW_MS);
  samples.splice(0, first < 0 ? samples.length : first);
  return samples;
}

function sum<T>(samples: readonly T[], of: (sample: T) => number): number {
  return samples.reduce((total, sample) => total + of(sample), 0);
}

/** Nearest rank; zeroes without samples. */
function quantiles(values: number[]): Quantiles {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
