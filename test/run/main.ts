import { execFileSync } from 'node:child_process';
import { GUEST_MISSING } from '../fixtures/guest-image.js';
import { removeAbandonedFolders } from '../fixtures/temporary-folder.js';
import { RUN_MARK, runMark } from './leftovers.js';
import { runAva } from './ava.js';
import { endAbandoned, endLeftovers, runStage, say } from './run.js';
import { Totals } from './totals.js';

/**
 * hack/test's second half: everything is built. Arguments are test files; none means all, with every other stage. `--tsan`
 * stands alone.
 */
const files = process.argv.slice(2);
/** The same ones every time: whoever looks for what another seed finds has `npm run drill`. */
const DRILLS = ['--count', '20', '--seed', '2'] as const;
const ROOMS_WITH_GUESTS = ['bench', 'capture', 'commands/restore', 'drills', 'exhaustion', 'faults'];
const GUESTS = ROOMS_WITH_GUESTS.map((room) => `dist/test/${room}/**/*.test.js`);
/** Nested machines: as heavy as guests, and built first. */
const XEN = 'dist/test/xen/**/*.test.js';
const BESIDE = { niceness: 10 };
const long = process.env['KEMARI_LONG'] !== undefined;
const xen = process.env['KEMARI_XEN'] !== undefined;
const mark = runMark();
const totals = new Totals();
const startMs = performance.now();

process.env[RUN_MARK] = mark;
process.env['FORCE_COLOR'] = '0';

// A run that is ended takes along what it started, tests and guests.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    endLeftovers(totals, mark);
    say(`ended by ${signal}`);
    process.exit(1);
  });
}

endAbandoned();
removeAbandonedFolders();
if (files[0] === '--tsan') {
  say('rings and link under ThreadSanitizer');
  await runSanitized('thread', 'tsan: ', ['dist/test/ring/**/*.test.js', 'dist/test/link/**/*.test.js']);
} else if (files.length > 0) {
  if (xen) await buildXen();
  await runAva(totals, '', files);
} else {
  say('tests with guests, one guest at a time; beside them lint, every other test and, last, drills');
  const xenBuilt = runBeside();
  await Promise.all([runWithGuests(xenBuilt), xenBuilt.then(runLongBeside)]);
}
endLeftovers(totals, mark);
say(`\ntotal time: ${Math.round((performance.now() - startMs) / 1000)} s`);
for (const line of totals.lines()) say(line);
process.exitCode = totals.exitCode;

async function runWithGuests(xenBuilt: Promise<void>): Promise<void> {
  const fetched = long ? await runStage(totals, 'fetch the other QEMU', ['hack/qemu-versions']) : [];
  await runAva(totals, '', GUESTS, { secondTry: true });
  if (long) await runDrillsWithOtherQemu(fetched.at(-1) ?? '');
  await xenBuilt;
  await runAva(totals, '', [XEN], { secondTry: true });
}

/** They take what the guests leave of the processors: guests under emulation wait a lot. */
async function runBeside(): Promise<void> {
  await runStage(totals, 'eslint', ['node_modules/.bin/eslint', '.'], BESIDE);
  await runStage(totals, 'prettier', ['node_modules/.bin/prettier', '--check', '.'], BESIDE);
  await runStage(totals, 'clang-format', ['hack/clang-format', '--check'], BESIDE);
  const others = ['dist/test/**/*.test.js', ...[...GUESTS, XEN].map((files) => `!${files}`)];
  await runAva(totals, '', others, { ...BESIDE, secondTry: true });
  if (xen) await buildXen();
}

async function runLongBeside(): Promise<void> {
  if (!long) return;
  await runSimulator();
  await runSanitized('address', 'sanitized: ', ['dist/test/ring/**/*.test.js']);
  await runFuzzers();
  await runDrills();
}

async function buildXen(): Promise<void> {
  await runStage(totals, 'build the hypervisor', ['hack/xen-build'], BESIDE);
  await runStage(totals, 'build the image of dom0', ['hack/xen-image'], BESIDE);
}

/** By now the guests of the other lane have a processor to spare; a drill waits most of the time. */
async function runDrills(): Promise<void> {
  const name = `drills ${DRILLS.join(' ')}`;
  if (GUEST_MISSING === undefined) {
    const command = ['node', 'dist/test/drills/chain/main.js', ...DRILLS];
    await runStage(totals, name, command, { ...BESIDE, show: true });
  } else {
    totals.skips.push(`${name} [needs ${GUEST_MISSING}]`);
  }
}

/** The engine in seeded worlds: the same ones every time, and some that only this commit has. */
async function runSimulator(): Promise<void> {
  for (const [first, count] of [
    [1, 8000],
    [seedOfCommit(), 2000],
  ]) {
    const command = [process.execPath, 'dist/test/sim/main.js', '--seed', `${first}`, '--seeds', `${count}`];
    const simulated = await runStage(totals, `npm run sim, ${count} seeds from ${first}`, command, BESIDE);
    say(`        ${simulated.at(-1) ?? ''}`);
  }
}

/** Where there is no git it is always the same one. */
function seedOfCommit(): number {
  try {
    const commit = execFileSync('git', ['rev-parse', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return Number.parseInt(commit.slice(0, 7), 16);
  } catch {
    return 10_001;
  }
}

/** Builds the addon with this kind of sanitizer (hack/sanitized-tree) and runs these tests on it. */
async function runSanitized(kind: 'address' | 'thread', prefix: string, files: readonly string[]): Promise<void> {
  const printed = await runStage(totals, `build with sanitizers (${kind})`, ['hack/sanitized-tree', kind], BESIDE);
  const { TREE, ...env } = Object.fromEntries(
    printed.flatMap((line) => {
      const found = /^([A-Z_]+)=(.*)$/.exec(line);
      return found === null ? [] : [[found[1] ?? '', found[2] ?? '']];
    }),
  );
  if (TREE === undefined) return;
  await runAva(totals, prefix, files, { ...BESIDE, cwd: TREE, env });
}

/** 60 s each. */
async function runFuzzers(): Promise<void> {
  await runStage(totals, 'build the fuzz targets', ['hack/fuzz', '--build'], BESIDE);
  const targets = execFileSync('hack/fuzz', ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const target of targets) {
    await runStage(totals, `fuzz ${target}`, ['hack/fuzz', target], { ...BESIDE, env: { KEMARI_FUZZ_BUILT: '1' } });
  }
}

/** Those of every day. */
async function runDrillsWithOtherQemu(program: string): Promise<void> {
  if (!program.startsWith('/')) return;
  await runAva(totals, 'other QEMU: ', ['dist/test/drills/**/*.test.js'], {
    ...{ secondTry: true, env: { KEMARI_QEMU: program, KEMARI_LONG: undefined } },
  });
}
