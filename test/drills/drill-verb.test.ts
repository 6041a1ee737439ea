import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { waitUntil } from '../../src/base/deadline.js';
import type { DrillResult } from '../../src/commands/drill.js';
import { MACHINE_NAMES, namespaceName, stageNames } from '../../src/stage/names.js';
import { guestTest, longGuestTest, missing } from '../fixtures/guest-test.js';

/** `kemari drill` and `npm run drill`, as at a terminal. */

const KEMARI = [join(import.meta.dirname, '../../src/cli/kemari.js'), 'drill'];
const DRILLS = [join(import.meta.dirname, 'chain/main.js')];
const TEST_TIMEOUT_MS = 300_000;
const EXIT_USAGE = 2;
const EXIT_FAILURE = 1;

function start([program = '', ...verb]: readonly string[], options: readonly string[], cwd?: string) {
  const child = spawn(process.execPath, [program, ...verb, ...options], { stdio: ['ignore', 'pipe', 'pipe'], cwd });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (bytes: Buffer) => (said[name] += bytes.toString()));
  }
  const names = stageNames(`rehearsal-${child.pid ?? 0}`);
  return {
    child,
    ended: once(child, 'close') as Promise<[number | null, string | null]>,
    said,
    /** What of a rehearsal is still there. */
    left: (): string[] =>
      [names.directory, names.disks, ...MACHINE_NAMES.map((name) => `/run/netns/${namespaceName(names, name)}`)].filter(
        (path) => existsSync(path),
      ),
  };
}

longGuestTest(
  `kemari drill tells programs what a client saw of a host's death, and leaves nothing${missing}`,
  async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    const { ended, said, left } = start(KEMARI, ['--kill-after', '1', '--strict', '--json']);
    const [code] = await ended;
    t.is(code, 0, said.stdout + said.stderr);
    const { verified, claims, figures } = JSON.parse(said.stdout) as DrillResult;
    t.true(verified);
    t.deepEqual(
      claims.filter(({ holds }) => !holds),
      [],
    );
    for (const claim of ['host B took over by itself', 'the connection is the same', 'nothing is left']) {
      t.true(
        claims.some(({ text }) => text === claim),
        claim,
      );
    }
    t.true(figures!.firstFrameMs > 0 && figures!.messages > 0 && figures!.acknowledgedWrites > 0);
    t.deepEqual(left(), []);
  },
);

guestTest(`kemari drill that is interrupted says so and leaves nothing behind${missing}`, async (t) => {
  t.timeout(TEST_TIMEOUT_MS);
  const { child, ended, said, left } = start(KEMARI, []);
  const booting = (): boolean => said.stdout.includes('host A boots a guest');
  t.true(await waitUntil(booting, { timeoutMs: TEST_TIMEOUT_MS / 2 }), said.stderr);
  t.true(left().length > 0);
  child.kill('SIGINT');
  const [code] = await ended;
  t.is(code, EXIT_FAILURE, said.stderr);
  t.regex(said.stderr, /KEMARI_INTERRUPTED/);
  t.deepEqual(left(), []);
});

longGuestTest(`drills that were survived are told to programs, and passed over by --resume${missing}`, async (t) => {
  t.timeout(TEST_TIMEOUT_MS);
  const folder = mkdtempSync(join(tmpdir(), 'kemari-drills-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  const drills = async (...options: string[]) => {
    const { ended, said } = start(DRILLS, ['--seed', '5', '--count', '1', '--json', ...options], folder);
    t.is((await ended)[0], 0, said.stdout + said.stderr);
    return JSON.parse(said.stdout) as { commit: string; drills: unknown[]; table: unknown[]; broken?: string };
  };
  const first = await drills();
  // The ledger is that of the folder, which has no history.
  t.like(first, { commit: 'unknown', broken: undefined });
  t.is(first.drills.length, 1);
  t.like(first.drills[0], { seed: 5, index: 0, survived: true });
  const again = await drills('--resume');
  t.deepEqual([again.drills, again.broken], [[], undefined]);
});

test('drills are told what is wrong with their arguments before anything is made', async (t) => {
  for (const wrong of [['--count', 'many'], ['--seed', '-1'], ['--fast']]) {
    const { ended, said } = start(DRILLS, wrong);
    t.is((await ended)[0], EXIT_USAGE);
    t.regex(said.stderr, /^drill: [\s\S]*\nusage: npm run drill/);
  }
});
