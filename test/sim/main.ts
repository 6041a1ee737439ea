import { messageOf } from '../../src/base/errors.js';
import { parseArguments, USAGE, type Arguments } from './arguments.js';
import { neverOccurred } from './expected.js';
import { findViolation } from './find.js';
import { MUTATIONS } from './mutations.js';
import { planOf } from './plan.js';
import { runPool, type PoolResult } from './pool.js';
import { failureJson, failureText, tallyText } from './report.js';
import { simulate } from './simulation.js';

/** `npm run sim`: the engine in seeded worlds. */

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;
const MS_PER_SECOND = 1000;
/** How often progress is told where nobody watches a terminal. */
const QUIET_PROGRESS_MS = 10_000;
/** Seeds that each planted bug is looked for in. */
const PLANTED_SEEDS = 200_000;

async function main(args: Arguments): Promise<number> {
  if (args.planted) return planted(args);
  if (args.tells) return tell(args);
  const { first, count, jobs, forSeconds, json } = args;
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      interrupted.abort();
    });
  }
  const over = new AbortController();
  const endNow = (): void => {
    over.abort();
  };
  const timer = forSeconds === Infinity ? undefined : setTimeout(endNow, forSeconds * MS_PER_SECOND);
  if (!json) process.stderr.write(`seeds from ${first}, ${jobs} at a time\n`);
  const startedAtMs = performance.now();
  const signal = AbortSignal.any([interrupted.signal, over.signal]);
  const onProgress = json ? (): void => undefined : progress(args, startedAtMs);
  const result = await runPool({ first, count, jobs, signal, onProgress });
  clearTimeout(timer);
  const seconds = (performance.now() - startedAtMs) / MS_PER_SECOND;
  if (json) printJson(args, result, seconds);
  else print(args, result, seconds);
  if (result.failedSeed !== undefined) return EXIT_FAILURE;
  return interrupted.signal.aborted ? EXIT_INTERRUPTED : 0;
}

/** One line that is written over, or a line now and then. */
function progress({ count, forSeconds }: Arguments, startedAtMs: number): (seedsDone: number) => void {
  let saidAtMs = startedAtMs;
  return (seedsDone) => {
    const nowMs = performance.now();
    const { isTTY } = process.stderr;
    if (!isTTY && nowMs - saidAtMs < QUIET_PROGRESS_MS) return;
    saidAtMs = nowMs;
    const seconds = (nowMs - startedAtMs) / MS_PER_SECOND;
    const rate = seedsDone / seconds;
    const left = Math.min((count - seedsDone) / rate, forSeconds - seconds);
    const of = count === Infinity ? '' : ` of ${count}`;
    const text = `${seedsDone}${of} seeds, ${Math.round(rate)} a second, ${Math.max(0, Math.round(left))} s left`;
    process.stderr.write(isTTY ? `\r${text}\u001b[K` : `${text}\n`);
  };
}

function print({ first }: Arguments, { failedSeed, seeds, tally }: PoolResult, seconds: number): void {
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  process.stdout.write(tallyText(tally));
  if (failedSeed !== undefined) process.stdout.write(`\n${failureText(failedSeed)}`);
  const found = failedSeed === undefined ? 'no rule was broken' : `seed ${failedSeed} breaks a rule`;
  const rate = `${seconds.toFixed(0)} s, ${Math.round(seeds / seconds)} a second`;
  process.stdout.write(`\n${seeds} seeds from ${first}: ${found} (${rate})\n`);
}

function printJson({ first }: Arguments, { failedSeed, seeds, tally }: PoolResult, seconds: number): void {
  const failure = failedSeed === undefined ? {} : failureJson(failedSeed);
  const counts = Object.fromEntries([...tally.counts].sort(([one], [other]) => (one < other ? -1 : 1)));
  const violations = failedSeed === undefined ? 0 : 1;
  const report = {
    firstSeed: first,
    seeds,
    seconds,
    violations,
    ...failure,
    neverOccurred: neverOccurred(tally),
    counts,
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

function tell({ first, json }: Arguments): number {
  const outcome = simulate(planOf(first), undefined, { tells: true });
  if (json) process.stdout.write(`${JSON.stringify({ seed: first, ...outcome })}\n`);
  else process.stdout.write(`${outcome.story.join('\n')}\n`);
  if (outcome.violation === undefined) {
    if (!json) process.stdout.write(`\nseed ${first}: no rule was broken\n`);
    return 0;
  }
  if (!json) process.stdout.write(`\nshrunk:\n${failureText(first)}`);
  return EXIT_FAILURE;
}

function planted({ first, json }: Arguments): number {
  const found = Object.entries(MUTATIONS).map(([name, { engine }]) => {
    const caught = findViolation(first, PLANTED_SEEDS, engine);
    if (!json) process.stdout.write(`${name}: ${caught === undefined ? 'not found' : `seed ${caught.seed}`}\n`);
    return { name, seed: caught?.seed, violation: caught?.outcome.violation };
  });
  if (json) process.stdout.write(`${JSON.stringify(found)}\n`);
  return found.every(({ seed }) => seed !== undefined) ? 0 : EXIT_FAILURE;
}

function parsed(): Arguments | undefined {
  try {
    return parseArguments(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n${USAGE}\n`);
    return undefined;
  }
}

const args = parsed();
process.exitCode = args === undefined ? EXIT_USAGE : await main(args);
