import { statSync } from 'node:fs';
import { processUse } from '../fixtures/process-use.js';
import { fittedGrowth, type Sample } from './growth.js';

/** What may grow, and by how much over a whole run: what a leak would exceed, whatever it leaks, and an allocator does not. */
export const GROWTH_LIMITS = {
  /** MiB of a process's own memory. QEMU's includes translated code, Node's what it has not collected yet. */
  anonMib: 8,
  fds: 1,
  threads: 1,
  /** MiB of a host's logs: nothing is logged for each epoch. */
  logMib: 1,
} as const;

type Measure = keyof typeof GROWTH_LIMITS;

/** One thing that was watched all along. */
export interface Watched {
  readonly who: string;
  readonly what: Measure;
  readonly first: number;
  readonly last: number;
  readonly growth: number;
  readonly limit: number;
  readonly flat: boolean;
}

const KIB_PER_MIB = 1024;
const BYTES_PER_MIB = 1 << 20;

/** What processes and logs take over time. */
export class Watch {
  readonly #series = new Map<string, { readonly who: string; readonly what: Measure; readonly samples: Sample[] }>();

  process(who: string, pid: number, atMs: number): void {
    const { anonKib, fds, threads } = processUse(pid);
    this.#add(who, 'anonMib', atMs, anonKib / KIB_PER_MIB);
    this.#add(who, 'fds', atMs, fds);
    this.#add(who, 'threads', atMs, threads);
  }

  log(who: string, path: string, atMs: number): void {
    this.#add(who, 'logMib', atMs, statSync(path).size / BYTES_PER_MIB);
  }

  /** `fromMs`: what was before is not counted, as things settle first. */
  results(fromMs: number): Watched[] {
    return [...this.#series.values()].map(({ who, what, samples }) => {
      const counted = samples.filter(({ atMs }) => atMs >= fromMs);
      const growth = fittedGrowth(counted);
      const limit = GROWTH_LIMITS[what];
      return {
        ...{ who, what, growth, limit, flat: growth <= limit },
        ...{ first: counted[0]?.value ?? NaN, last: counted.at(-1)?.value ?? NaN },
      };
    });
  }

  #add(who: string, what: Measure, atMs: number, value: number): void {
    const key = `${who} ${what}`;
    const series = this.#series.get(key) ?? { who, what, samples: [] };
    this.#series.set(key, series);
    series.samples.push({ atMs, value });
  }
}
