import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { forEachLine, say, type RunOptions } from './run.js';
import { readTapLine } from './tap.js';
import type { Totals } from './totals.js';

/** A test that took at least this long has its time beside it. */
const SHOWN_FROM_MS = 1000;

/** Of this many files a run tries the failed tests a second time; where more fail, it is not the machine's mood. */
const SECOND_TRIES = 2;

const TESTS = 'dist/test';

export interface AvaOptions extends RunOptions {
  readonly secondTry?: boolean;
  /** Where to say it; standard output unless told otherwise. */
  readonly say?: (text: string) => void;
}

/**
 * Runs ava over these files or globs and counts each test; what belongs to a failed one is shown below it, and beside
 * one that took long, how long. With `secondTry`, files with failures are run again by themselves: what passes then
 * counts as passed, and is listed as unsteady, to be mended.
 */
export async function runAva(
  totals: Totals,
  prefix: string,
  files: readonly string[],
  options: AvaOptions = {},
): Promise<void> {
  const ran = await runOnce(prefix, files, options);
  totals.passed += ran.passed;
  totals.skips.push(...ran.skipped);
  const again = options.secondTry === true ? filesOf(ran.failed, prefix, options.cwd) : undefined;
  if (again === undefined || again.size === 0 || totals.secondTries + again.size > SECOND_TRIES) {
    totals.failures.push(...ran.failed);
    return;
  }
  totals.secondTries += again.size;
  for (const [file, titles] of again) {
    (options.say ?? say)(`  a second try of ${file}, by itself`);
    const second = await runOnce(prefix, [file], options);
    if (second.failed.length > 0) {
      totals.failures.push(...titles);
      continue;
    }
    totals.passed += titles.length;
    totals.unsteady.push(...titles);
  }
}

interface Ran {
  readonly passed: number;
  readonly failed: readonly string[];
  readonly skipped: readonly string[];
}

async function runOnce(prefix: string, files: readonly string[], options: AvaOptions): Promise<Ran> {
  const tell = options.say ?? say;
  // A test that failed and what belongs to it are said in one piece: others speak, too.
  let lines: string[] = [];
  const flush = (): void => {
    if (lines.length > 0) tell(lines.join('\n'));
    lines = [];
  };
  const failed: string[] = [];
  const skipped: string[] = [];
  let passed = 0;
  let lastFailed = false;
  let sinceMs = performance.now();
  const status = await forEachLine(['node_modules/.bin/ava', '--tap', ...files], options, (text) => {
    const line = readTapLine(text);
    if (line.kind === 'none' || (line.kind === 'log' && !lastFailed)) return;
    if ('text' in line) {
      lines.push(`        ${line.text}`);
      return;
    }
    lastFailed = line.kind === 'failed';
    const title = prefix + line.title;
    if (line.kind === 'passed') passed += 1;
    else (line.kind === 'failed' ? failed : skipped).push(title);
    // Files run one after the other, so this is what the test took, with the start of its file.
    const tookMs = performance.now() - sinceMs;
    sinceMs += tookMs;
    const took = tookMs < SHOWN_FROM_MS ? '' : ` (${(tookMs / 1000).toFixed(0)} s)`;
    flush();
    lines.push(`  ${{ passed: 'ok  ', failed: 'FAIL', skipped: 'skip' }[line.kind]}  ${title}${took}`);
    if (!lastFailed) flush();
  });
  flush();
  if (passed + failed.length + skipped.length === 0) failed.push(`${prefix}ava ran no test (status ${status})`);
  else if (status !== 0 && failed.length === 0) {
    failed.push(`${prefix}ava ended with status ${status} though no test failed`);
  }
  return { passed, failed, skipped };
}

/** The files that the failed titles belong to: ava puts a file's path before each. Undefined where one has none. */
function filesOf(failed: readonly string[], prefix: string, cwd = '.'): Map<string, string[]> | undefined {
  const files = readdirSync(join(cwd, TESTS), { recursive: true, encoding: 'utf8' }).map((file) => `${TESTS}/${file}`);
  const found = new Map<string, string[]>();
  for (const title of failed) {
    const parts = title.slice(prefix.length).split(' › ');
    const ends = parts.map((_, n) => `/${parts.slice(0, n + 1).join('/')}.test.js`);
    const [file, other] = files.filter((name) => ends.some((end) => name.endsWith(end)));
    if (file === undefined || other !== undefined) return undefined;
    found.set(file, [...(found.get(file) ?? []), title]);
  }
  return found;
}
