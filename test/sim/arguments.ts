import { randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

export const USAGE = `usage: npm run sim -- [--seeds N] [--seed S] [--for SECONDS] [--jobs N] [--planted] [--json]
  --seeds N       runs (1000; with --seed alone one, whose whole story is told)
  --seed S        the first of them, and each after it (at random, and printed)
  --for SECONDS   as many as fit into this time
  --jobs N        at a time (one for each CPU)
  --planted       looks for a seed that finds each bug that is planted on purpose
  --json          what was found and how often each thing happened, for programs`;

/** Seeds are 32-bit numbers: the generator knows no more. */
export const SEED_LIMIT = 2 ** 32;
const SEEDS = 1000;
const MAX_JOBS = 256;
const RANDOM_LIMIT = 1_000_000;

export interface Arguments {
  readonly first: number;
  /** Infinity: as many as `forSeconds` allows. */
  readonly count: number;
  readonly forSeconds: number;
  readonly jobs: number;
  readonly tells: boolean;
  readonly planted: boolean;
  readonly json: boolean;
}

/** Errors: what is wrong with the arguments, by name. */
export function parseArguments(argv: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      seeds: { type: 'string' },
      seed: { type: 'string' },
      for: { type: 'string' },
      jobs: { type: 'string' },
      planted: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const number = (name: 'seeds' | 'seed' | 'for' | 'jobs', low: number, high: number): number | undefined => {
    const text = values[name];
    if (text === undefined) return undefined;
    if (/^\d{1,10}$/.test(text) && Number(text) >= low && Number(text) <= high) return Number(text);
    throw new Error(`--${name} takes a number from ${low} to ${high}, found "${text}"`);
  };
  const seed = number('seed', 0, SEED_LIMIT - 1);
  const seeds = number('seeds', 1, SEED_LIMIT);
  const forSeconds = number('for', 1, 1_000_000) ?? Infinity;
  const tells = seed !== undefined && seeds === undefined && forSeconds === Infinity && !values.planted;
  const count = seeds ?? (tells ? 1 : forSeconds === Infinity ? SEEDS : Infinity);
  return {
    ...{ first: seed ?? randomInt(RANDOM_LIMIT), count, forSeconds, tells },
    jobs: Math.min(number('jobs', 1, MAX_JOBS) ?? availableParallelism(), Math.ceil(count / CHUNK_SEEDS)),
    ...{ planted: values.planted, json: values.json },
  };
}

/** Handed out at a time to one who runs seeds. */
export const CHUNK_SEEDS = 250;
