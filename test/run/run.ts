import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { findAbandoned, findLeftovers, type Leftover } from './leftovers.js';
import type { Totals } from './totals.js';

/** Lines of a failed stage that are shown. */
const SHOWN_LINES = 60;

export interface RunOptions {
  readonly cwd?: string;
  /** How far it stands back for others. */
  readonly niceness?: number;
  /** Added to ours; undefined takes one away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Says each line that the command prints, also when it succeeds. */
  readonly show?: boolean;
}

/** Runs one command that counts as one; its output is shown only when it fails, unless told otherwise. Returns what it printed. */
export async function runStage(
  totals: Totals,
  name: string,
  command: readonly string[],
  options: RunOptions = {},
): Promise<string[]> {
  const startMs = performance.now();
  const printed: string[] = [];
  const status = await forEachLine(command, options, (line) => {
    printed.push(line);
    if (options.show === true) say(`        ${line}`);
  });
  const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
  if (status === 0) {
    totals.passed += 1;
    say(`  ok    ${name} (${seconds} s)`);
  } else {
    totals.failures.push(name);
    const shown = options.show === true ? [] : printed.slice(-SHOWN_LINES);
    // In one piece: others speak, too.
    say([`  FAIL  ${name} (${seconds} s, status ${status})`, ...shown.map((line) => `        ${line}`)].join('\n'));
  }
  return printed;
}

/** A process that outlived the tests that started it is a failure, and is ended. */
export function endLeftovers(totals: Totals, mark: string): void {
  const found = findLeftovers(mark);
  kill(found, 'still running');
  if (found.length === 0) totals.passed += 1;
  else totals.failures.push(`no process outlives the tests: found ${found.length}`);
  say(`  ${found.length === 0 ? 'ok  ' : 'FAIL'}  no process outlives the tests`);
}

/** What a run left that was killed itself. */
export function endAbandoned(): void {
  kill(findAbandoned(), 'left by a run that was killed');
}

function kill(found: readonly Leftover[], what: string): void {
  for (const { pid, command } of found) {
    say(`        ${what}, ended now: ${pid} ${command}`);
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Runs one command and hears it line by line. Returns how it ended: 0 is success. */
export async function forEachLine(
  command: readonly string[],
  options: RunOptions,
  onLine: (line: string) => void,
): Promise<number | string> {
  const child = spawn('nice', ['-n', String(options.niceness ?? 0), ...command], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const read = [child.stdout, child.stderr].map((stream) =>
    once(createInterface({ input: stream }).on('line', onLine), 'close'),
  );
  const [code, signal] = await ended;
  // A leftover that holds the pipe must not hold the run: what it still prints is not waited for.
  await Promise.race([Promise.all(read), pipeGrace()]);
  return code ?? signal ?? 'unknown';
}

/** How long output is awaited after the program has ended. */
const PIPE_GRACE_MS = 2000;

async function pipeGrace(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, PIPE_GRACE_MS).unref());
}
