import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import test from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import { removeAbandonedFolders, temporaryFolder } from '../fixtures/temporary-folder.js';
import { findAbandoned, findLeftovers, RUN_MARK, runMark } from './leftovers.js';

/** Larger than any process id (proc(5), pid_max). */
const NO_PROCESS = 4194305;
const TIMEOUT_MS = 20_000;

test('a process that carries the mark of a run is found while the run lives, and known as abandoned afterwards', async (t) => {
  const run = spawn('sleep', ['1000'], { stdio: 'ignore' });
  const mark = runMark(run.pid);
  const child = spawn('sleep', ['1000'], { stdio: 'ignore', env: { ...process.env, [RUN_MARK]: mark } });
  t.teardown(() => child.kill('SIGKILL'));
  const isAmong = (found: readonly { readonly pid: number }[]): boolean => found.some(({ pid }) => pid === child.pid);
  t.true(await waitUntil(() => isAmong(findLeftovers(mark)), { timeoutMs: TIMEOUT_MS }));
  t.false(isAmong(findAbandoned()));
  const ended = once(run, 'exit');
  run.kill('SIGKILL');
  await ended;
  t.true(isAmong(findAbandoned()));
});

test('a folder for large things is removed once its process is gone, and not before', (t) => {
  const own = temporaryFolder('test');
  const others = `/tmp/kemari-test-${NO_PROCESS}.1-abcdef`;
  mkdirSync(others);
  removeAbandonedFolders();
  t.false(existsSync(others));
  t.true(existsSync(own));
  rmSync(own, { recursive: true });
});
