import { parentPort } from 'node:worker_threads';
import { planOf } from './plan.js';
import type { Chunk, ChunkResult } from './pool.js';
import { simulate } from './simulation.js';
import { Tally } from './tally.js';

/** One of those who run seeds (pool.ts): a chunk comes in, what became of it goes back. */
parentPort?.on('message', (chunk: Chunk) => {
  parentPort?.postMessage(run(chunk));
});

function run(chunk: Chunk): ChunkResult {
  const tally = new Tally();
  const { first, count } = chunk;
  for (let seed = first; seed < first + count; seed++) {
    const { violation } = simulate(planOf(seed), undefined, { tally });
    if (violation !== undefined) return { chunk, failedSeed: seed, counts: [...tally.counts] };
  }
  return { chunk, failedSeed: undefined, counts: [...tally.counts] };
}
