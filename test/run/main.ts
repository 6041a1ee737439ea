import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { GUEST_MISSING } from '../fixtures/guest-image.js';
import { RUN_MARK } from './leftovers.js';
import { runAva } from './ava.js';
import { endLeftovers, runStage, say } from './run.js';
import { Totals } from './totals.js';

/** hack/test's second half: everything is built. Arguments are test files; none means all, with every other stage. */
const files = process.argv.slice(2);
/** The same ones every time: whoever looks for what another seed finds has `npm run drill`. */
const DRILLS = ['--count', '20', '--seed', '2'] as const;
const long = process.env['KEMARI_LONG'] !== undefined;
const mark = randomUUID();
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

if (files.length > 0) {
  await runAva(totals, '', files);
} else {
  say('lint');
  await runStage(totals, 'eslint', ['node_modules/.bin/eslint', '.']);
  await runStage(totals, 'prettier', ['node_modules/.bin/prettier', '--check', '.']);
  await runStage(totals, 'clang-format', ['hack/clang-format', '--check']);
  say('tests');
  await runAva(totals, '', [], { secondTry: true });
  if (long) await runLongStages();
}
endLeftovers(totals, mark);
say(`\ntotal time: ${Math.round((performance.now() - startMs) / 1000)} s`);
for (const line of totals.lines()) say(line);
process.exitCode = totals.exitCode;

async function runLongStages(): Promise<void> {
  say('drills: one fault after the other on real guests');
  const drills = `drills ${DRILLS.join(' ')}`;
  if (GUEST_MISSING === undefined) {
    await runStage(totals, drills, ['node', 'dist/test/drills/chain/main.js', ...DRILLS], { show: true });
  } else {
    totals.skips.push(`${drills} [needs ${GUEST_MISSING}]`);
  }
  say('the engine in seeded worlds');
  const simulated = await runStage(totals, 'npm run sim, 10000 seeds', [
    ...[process.execPath, 'dist/test/sim/main.js', '--seed', '1', '--seeds', '10000'],
  ]);
  say(`        ${simulated.at(-1) ?? ''}`);
  say('the ring under AddressSanitizer and UndefinedBehaviorSanitizer');
  const printed = await runStage(totals, 'build with sanitizers', ['hack/sanitized-tree']);
  const env = Object.fromEntries(
    printed.flatMap((line) => {
      const found = /^([A-Z_]+)=(.*)$/.exec(line);
      return found === null ? [] : [[found[1] ?? '', found[2] ?? '']];
    }),
  );
  if (env['LD_PRELOAD'] !== undefined) {
    await runAva(totals, 'sanitized: ', ['dist/test/ring/**/*.test.js'], { cwd: '.cache/sanitized', env });
  }
  say('fuzz targets, 60 s each, two at a time; beside them the drills of every day with the other supported QEMU');
  await runStage(totals, 'build the fuzz targets', ['hack/fuzz', '--build']);
  await Promise.all([runFuzzers(), runDrillsWithOtherQemu()]);
}

/** They take what the drills leave of the processors: guests under emulation wait a lot. */
async function runFuzzers(): Promise<void> {
  const targets = execFileSync('hack/fuzz', ['--list'], { encoding: 'utf8' }).trim().split('\n');
  const fuzz = async (): Promise<void> => {
    for (let target = targets.shift(); target !== undefined; target = targets.shift()) {
      const command = ['nice', '-n', '10', 'hack/fuzz', target];
      await runStage(totals, `fuzz ${target}`, command, { env: { KEMARI_FUZZ_BUILT: '1' } });
    }
  };
  await Promise.all([fuzz(), fuzz()]);
}

async function runDrillsWithOtherQemu(): Promise<void> {
  const program = (await runStage(totals, 'fetch the other QEMU', ['hack/qemu-versions'])).at(-1) ?? '';
  if (!program.startsWith('/')) return;
  await runAva(totals, 'other QEMU: ', ['dist/test/drills/**/*.test.js'], {
    ...{ secondTry: true, env: { KEMARI_QEMU: program, KEMARI_LONG: undefined } },
  });
}
