import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { CHUNK_SEEDS } from './arguments.js';
import { Tally } from './tally.js';

/** So many seeds from `first` on. */
export interface Chunk {
  readonly first: number;
  readonly count: number;
}

/** What a worker says of a chunk. */
export interface ChunkResult {
  readonly chunk: Chunk;
  /** The first that broke a rule; those after it were not run. */
  readonly failedSeed: number | undefined;
  readonly counts: readonly (readonly [what: string, count: number])[];
}

export interface PoolOptions {
  readonly first: number;
  readonly count: number;
  readonly jobs: number;
  /** No chunk is begun once it is aborted. */
  readonly signal: AbortSignal;
  readonly onProgress: (seedsDone: number) => void;
}

/** What a pool came to: the lowest seed that failed, all that were run and what happened in them. */
export interface PoolResult {
  readonly failedSeed: number | undefined;
  readonly seeds: number;
  readonly tally: Tally;
}

/** Runs seeds on several threads, in chunks; after a failure nothing new is begun. */
export async function runPool({ first, count, jobs, signal, onProgress }: PoolOptions): Promise<PoolResult> {
  const tally = new Tally();
  let failedSeed: number | undefined;
  let seeds = 0;
  let next = first;
  const nextChunk = (): Chunk | undefined => {
    const left = first + count - next;
    if (left <= 0 || signal.aborted || failedSeed !== undefined) return undefined;
    const chunk = { first: next, count: Math.min(CHUNK_SEEDS, left) };
    next += chunk.count;
    return chunk;
  };
  const work = async (): Promise<void> => {
    const worker = new Worker(new URL('./worker.js', import.meta.url));
    try {
      for (let chunk = nextChunk(); chunk !== undefined; chunk = nextChunk()) {
        const result = await ask(worker, chunk);
        tally.addAll(result.counts);
        const failed = result.failedSeed;
        seeds += failed === undefined ? chunk.count : failed - chunk.first + 1;
        if (failed !== undefined) failedSeed = Math.min(failed, failedSeed ?? Infinity);
        onProgress(seeds);
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return { failedSeed, seeds, tally };
}

/** Errors: the worker's own, which is a fault of the simulator. */
async function ask(worker: Worker, chunk: Chunk): Promise<ChunkResult> {
  worker.postMessage(chunk);
  // A worker that fails rejects this.
  const [result] = (await once(worker, 'message')) as [ChunkResult];
  return result;
}
