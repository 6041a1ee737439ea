import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { KemariError, messageOf } from '../../../src/base/errors.js';
import { planned } from './plan.js';
import { appendRecord, readRecords, type DrillRecord } from './record.js';
import { run } from './run.js';
import { summarize, summarizeTraffic, tableText, trafficTableText } from './table.js';

/** `npm run drill`: real guests, real faults, and what their clients saw. */

const USAGE = `usage: npm run drill -- [--count N] [--seed S] [--from N] [--long] [--resume] [--json]
  --count N   drills (20; with --long 300)
  --seed S    which faults, when, and in which order (at random, and printed)
  --from N    begins with drill number N of the seed (0)
  --resume    passes over what the ledger has as survived, for this commit and seed
  --json      the table, and every drill, for programs`;
const LEDGER = '.cache/drills/ledger.jsonl';
const LOGS = '.cache/drills/failed';
const COUNT = 20;
const LONG_COUNT = 300;
const SEED_LIMIT = 1_000_000;
const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

interface Arguments {
  readonly count: number;
  readonly seed: number;
  readonly from: number;
  readonly resume: boolean;
  readonly json: boolean;
}

function parse(argv: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      count: { type: 'string' },
      seed: { type: 'string' },
      from: { type: 'string' },
      long: { type: 'boolean', default: false },
      resume: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const number = (name: 'count' | 'seed' | 'from', otherwise: number): number => {
    const text = values[name];
    if (text !== undefined && !/^\d{1,9}$/.test(text)) throw new Error(`--${name} takes a number, found "${text}"`);
    return text === undefined ? otherwise : Number(text);
  };
  return {
    count: number('count', values.long ? LONG_COUNT : COUNT),
    seed: number('seed', randomInt(SEED_LIMIT)),
    from: number('from', 0),
    resume: values.resume,
    json: values.json,
  };
}

/** What the drills are of; `+` where files differ from it, `unknown` in a copy without its history. */
function commitNow(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    return `${git('rev-parse', '--short=12', 'HEAD')}${git('status', '--porcelain') === '' ? '' : '+'}`;
  } catch {
    return 'unknown';
  }
}

async function main({ count, seed, from, resume, json }: Arguments): Promise<number> {
  const print = (line: string): void => {
    if (!json) process.stdout.write(`${line}\n`);
  };
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      interrupt.abort(new KemariError('KEMARI_INTERRUPTED', 'interrupted; nothing is left'));
    });
  }
  const commit = commitNow();
  const done = readRecords(LEDGER).filter(
    (record) => record.commit === commit && record.seed === seed && record.survived,
  );
  const isDone = (index: number): boolean => resume && done.some((record) => record.index === index);
  const plan = Array.from({ length: count }, (_, index) => planned(seed, from + index)).filter(
    (one) => !isDone(one.index),
  );
  print(`${plan.length} drills of seed ${seed}, commit ${commit}`);
  const records: DrillRecord[] = [];
  const onRecord = (record: DrillRecord): void => {
    records.push(record);
    appendRecord(LEDGER, record);
  };
  let broken: string | undefined;
  try {
    await run(plan, { commit, logFolder: LOGS, print, onRecord, signal: interrupt.signal });
  } catch (error) {
    broken = messageOf(error);
    if (error instanceof KemariError && error.code === 'KEMARI_INTERRUPTED') {
      process.stderr.write(`drill: ${broken}\n`);
      return EXIT_INTERRUPTED;
    }
    process.stderr.write(`drill: seed ${seed}: ${broken}\n`);
  }
  const table = summarize(records);
  const survived = records.filter((record) => record.survived).length;
  const traffic = summarizeTraffic(records);
  if (json) process.stdout.write(`${JSON.stringify({ commit, seed, table, traffic, drills: records, broken })}\n`);
  else {
    const tables = [tableText(table), trafficTableText(traffic)].join('\n\n');
    print(`\n${tables}\n\n${survived} of ${plan.length} survived, seed ${seed}`);
  }
  return broken === undefined && survived === plan.length ? 0 : EXIT_FAILURE;
}

let values: Arguments | undefined;
try {
  values = parse(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`drill: ${messageOf(error)}\n${USAGE}\n`);
}
const code =
  values === undefined
    ? EXIT_USAGE
    : await main(values).catch((error: unknown) => {
        process.stderr.write(`drill: ${messageOf(error)}\n`);
        return EXIT_FAILURE;
      });
// What was interrupted may still be waiting for a guest that is gone.
if (code === EXIT_INTERRUPTED) process.exit(code);
process.exitCode = code;
