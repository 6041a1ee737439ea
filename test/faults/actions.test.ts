import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { waitUntil } from '../../src/base/deadline.js';

const PROGRAM = join(import.meta.dirname, 'passing.js');
const KEMARID = join(import.meta.dirname, '../../src/cli/kemarid.js');
const TIMEOUT_MS = 60_000;
const ALL = 5;

interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** When each pass was over, by the process's own clock. */
  readonly passedAtMs: readonly number[];
  readonly said: string;
}

/** Runs a program with a fault; `whileStopped` is called once it stands. */
async function run(
  command: readonly string[],
  fault: string | undefined,
  whileStopped?: (child: ChildProcess) => void,
): Promise<Outcome> {
  const child = spawn(process.execPath, command, {
    env: { ...process.env, KEMARI_FAULT: fault },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  let out = '';
  let said = '';
  child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  if (whileStopped !== undefined && (await waitUntil(() => isStopped(child), { timeoutMs: TIMEOUT_MS }))) {
    whileStopped(child);
  }
  const [code, signal] = await closed;
  const lines = out.split('\n').filter(Boolean);
  return { code, signal, said, passedAtMs: lines.map((line) => Number(line.split(' ')[1])) };
}

function isStopped({ pid }: ChildProcess): boolean {
  const text = readFileSync(`/proc/${pid ?? 0}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).startsWith('T');
}

/** From the pass before the third to the third. */
function thirdTookMs({ passedAtMs }: Outcome): number {
  return (passedAtMs[2] ?? NaN) - (passedAtMs[1] ?? NaN);
}

test('without a fault, and with one elsewhere, a point is passed', async (t) => {
  for (const fault of [undefined, '', 'takeover.resumed', 'takeover.loaded@6']) {
    const { code, passedAtMs, said } = await run([PROGRAM], fault);
    t.is(code, 0);
    t.is(passedAtMs.length, ALL);
    t.is(said, '');
  }
});

test('kill: nothing behind the point happens, and the log says where it was', async (t) => {
  const { signal, passedAtMs, said } = await run([PROGRAM], 'takeover.loaded@3');
  t.is(signal, 'SIGKILL');
  t.is(passedAtMs.length, 2);
  const { level, msg, event, time } = JSON.parse(said) as Record<string, unknown>;
  t.deepEqual([level, msg, event], [40, 'fault at takeover.loaded', 'fault']);
  t.true(Math.abs(Date.parse(String(time)) - Date.now()) < TIMEOUT_MS);
});

test('stop: the process stands until somebody lets it go on, and then does', async (t) => {
  const { code, passedAtMs } = await run([PROGRAM], 'takeover.loaded:stop@3', (child) => child.kill('SIGCONT'));
  t.is(code, 0);
  t.is(passedAtMs.length, ALL);
});

test('stall: the whole process stands for that time and goes on by itself, once', async (t) => {
  let stood = false;
  const outcome = await run([PROGRAM], 'takeover.loaded:stall=700@3', () => (stood = true));
  t.true(stood, 'stopped, not asleep');
  t.is(outcome.code, 0);
  t.is(outcome.passedAtMs.length, ALL);
  t.true(thirdTookMs(outcome) >= 699, String(thirdTookMs(outcome)));
});

test('stall: one so short that it may be over before it began ends all the same', async (t) => {
  const { code, passedAtMs } = await run([PROGRAM], 'takeover.loaded:stall=1');
  t.is(code, 0);
  t.is(passedAtMs.length, ALL);
});

test('delay: the thread at the point sleeps', async (t) => {
  const outcome = await run([PROGRAM], 'takeover.loaded:delay=300@3');
  t.is(outcome.code, 0);
  t.true(thirdTookMs(outcome) >= 299, String(thirdTookMs(outcome)));
});

test('kemarid does not start with a fault that there is not', async (t) => {
  const { code, said } = await run([KEMARID, '--root', '/tmp/kemari-no-such-fault', '--plain'], 'ack.befor');
  t.is(code, 1);
  t.regex(said, /did you mean "ack\.before"\?.*\[KEMARI_FAULT_POINT\]/s);
});
