import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import test from 'ava';
import { parseArguments } from './arguments.js';
import { neverOccurred } from './expected.js';
import { MUTATIONS } from './mutations.js';
import { planOf, type Fault, type Plan } from './plan.js';
import { shrink } from './shrink.js';
import { simulate, type Outcome } from './simulation.js';
import { Tally } from './tally.js';

const SEEDS = 400;
const MAIN = 'dist/test/sim/main.js';
const run = promisify(execFile);

test(`no rule is broken in ${SEEDS} seeded runs, in which all happens that the engine knows`, (t) => {
  const tally = new Tally();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation, exception } = simulate(planOf(seed), undefined, { tally });
    t.is(violation, undefined, `npm run sim -- --seed ${seed}`);
    if (planOf(seed).hasFence) t.false(exception?.startsWith('without a fence') ?? false, `seed ${seed}`);
  }
  // Each place to die and to stand still takes more seeds than these: npm run sim counts them.
  t.deepEqual(
    neverOccurred(tally).filter((what) => !/ (dies|stands still) before: /.test(what)),
    [],
  );
});

test('a seed tells the same story every time', (t) => {
  t.deepEqual(simulate(planOf(11), undefined, { tells: true }), simulate(planOf(11), undefined, { tells: true }));
  t.notDeepEqual(planOf(11), planOf(12));
});

for (const [name, { engine, seed, rule }] of Object.entries(MUTATIONS)) {
  test(`a planted bug is found: ${name}`, (t) => {
    t.is(simulate(planOf(seed), engine).violation?.rule, rule);
    t.is(simulate(planOf(seed)).violation, undefined);
  });
}

test('each rule is broken by some planted bug', (t) => {
  const rules = [
    ...['released before its ack', 'both sides speak', 'a late write landed behind the takeover'],
    ...['not a committed epoch', 'older than what the world has seen', 'the guest reads what it did not write'],
    ...['an acknowledged write is lost', 'not sent again before anything new', 'no progress after healing'],
    ...["the operator's pause does not hold", 'assertion'],
  ];
  const broken = new Set(Object.values(MUTATIONS).map(({ rule }) => rule));
  t.deepEqual([...broken].sort(), [...rules].sort());
});

test('a failing run is shrunk to what it fails by, and its story ends with the rule that was broken', (t) => {
  const { engine, seed, rule } = MUTATIONS['a takeover does not wait for the leases']!;
  const { plan, outcome } = shrink(planOf(seed), engine);
  t.true(plan.faults.length < planOf(seed).faults.length);
  t.is(outcome.violation?.rule, rule);
  t.true(outcome.story.at(-1)?.includes(rule));
});

/** A ring thread sleeps where nothing but a fence reaches it, and the guest goes elsewhere meanwhile. */
function asleepAtSubmission(hasFence: boolean, nth: number): Outcome {
  const quiet: Plan = {
    ...planOf(1),
    faults: [],
    hasFence,
    failover: 'manual',
    loadFailures: 0,
    captureFails: undefined,
  };
  const faults: readonly Fault[] = [
    { kind: 'stall', who: 'A', moment: { step: 'gate: submit', nth }, forMs: 400, whole: false },
    { kind: 'cut', from: 'both', atMs: 100, forMs: 400 },
    { kind: 'standby', order: 'sighup', atMs: 200 },
  ];
  const options = { ...quiet.options, onSilence: 'hold', purpose: 'protect' } as const;
  return simulate({ ...quiet, options, faults, fenceFailures: 0 });
}

test('a thread that sleeps at the submission itself is stopped by a fence, and without one may send again what is replayed', (t) => {
  const outcomes = (hasFence: boolean): Outcome[] =>
    Array.from({ length: 40 }, (_, index) => asleepAtSubmission(hasFence, index + 1));
  const unfenced = outcomes(false);
  t.true(unfenced.some(({ exception }) => exception?.startsWith('without a fence: a thread stalled') === true));
  // Even then nothing leaves that was not acknowledged, and nothing that the standby does not send again.
  t.true(unfenced.every(({ violation }) => violation === undefined));
  t.true(outcomes(true).every(({ exception, violation }) => exception === undefined && violation === undefined));
});

test('arguments that mean nothing are named', (t) => {
  t.throws(() => parseArguments(['--seeds', 'many']), { message: /--seeds takes a number from 1 .*"many"/ });
  t.throws(() => parseArguments(['--seed', '4294967296']), { message: /--seed takes a number from 0 to 4294967295/ });
  t.throws(() => parseArguments(['--speed', '1']), { message: /--speed/ });
  t.like(parseArguments(['--seed', '7']), { first: 7, count: 1, tells: true });
  t.like(parseArguments(['--seed', '7', '--seeds', '5000', '--jobs', '3']), { count: 5000, jobs: 3, tells: false });
});

test('npm run sim runs the seeds it was given, on several threads, and says for programs what happened', async (t) => {
  const { stdout } = await run(process.execPath, [MAIN, '--seed', '1', '--seeds', '300', '--jobs', '2', '--json']);
  const report = JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  t.like(report, { firstSeed: 1, seeds: 300, violations: 0 });
  t.true((report['counts'] as Readonly<Record<string, number>>)['A does release']! > 0);
});

test('npm run sim ends at once when it is interrupted, and says what it had done', async (t) => {
  const child = spawn(process.execPath, [MAIN, '--seeds', '4000000000'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  child.stdout.on('data', (data: Buffer) => (printed += data.toString()));
  // It says what it is about to do once it can be interrupted.
  await once(child.stderr, 'data');
  child.kill('SIGINT');
  const [code] = (await once(child, 'close')) as [number];
  t.is(code, 130);
  t.regex(printed, /\d+ seeds from \d+: no rule was broken/);
});
