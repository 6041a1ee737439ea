import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { runAva } from './ava.js';
import { Totals } from './totals.js';

/** A project whose test files are these. */
function makeProject(t: ExecutionContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync('/tmp/kemari-run-');
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
  mkdirSync(join(folder, 'dist/test'), { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module', ava: { files: ['dist/test/**'] } }));
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(folder, 'dist/test', `${name}.test.js`), `import test from 'ava';\n${text}`);
  }
  return folder;
}

/** What it says is no word of the run that this test is part of. */
const say = (): void => undefined;

const PASSES = "test('passes', (t) => t.pass());";
const FAILS = "test('fails', (t) => t.fail());";
const FAILS_ONCE = `
  import { existsSync, writeFileSync } from 'node:fs';
  test('fails once', (t) => {
    const mark = new URL('tried', import.meta.url);
    const tried = existsSync(mark);
    writeFileSync(mark, '');
    t.true(tried);
  });`;

test.serial('what passes the second time counts as passed, and is named', async (t) => {
  const totals = new Totals();
  const cwd = makeProject(t, { steady: PASSES, moody: FAILS_ONCE });
  await runAva(totals, '', [], { cwd, secondTry: true, say });
  t.is(totals.exitCode, 0);
  t.deepEqual(totals.lines(), ['unsteady, passed the second time: moody › fails once', '2 passed, 0 failed']);
});

test.serial('what fails twice has failed', async (t) => {
  const totals = new Totals();
  await runAva(totals, 'other: ', [], { cwd: makeProject(t, { steady: PASSES, broken: FAILS }), secondTry: true, say });
  t.is(totals.exitCode, 1);
  t.deepEqual(totals.lines(), ['failed: other: broken › fails', '1 passed, 1 failed']);
});

test.serial('where more fails than a machine could be blamed for, nothing is tried again', async (t) => {
  const totals = new Totals();
  const cwd = makeProject(t, { one: FAILS_ONCE, two: FAILS, three: FAILS });
  await runAva(totals, '', [], { cwd, secondTry: true, say });
  t.is(totals.failures.length, 3);
  t.is(totals.secondTries, 0);
});

test.serial('without a second try the first one counts', async (t) => {
  const totals = new Totals();
  await runAva(totals, '', [], { cwd: makeProject(t, { steady: PASSES, moody: FAILS_ONCE }), say });
  t.deepEqual(totals.failures, ['moody › fails once']);
});
