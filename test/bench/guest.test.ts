import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { execa } from 'execa';
import type { Anatomy } from '../../src/bench/anatomy-figures.js';
import { Ledger } from '../../src/bench/ledger.js';
import { DATABASE_IMAGE, missingImageFile } from '../../src/stage/demo-image.js';
import { stageNames } from '../../src/stage/names.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';

const KEMARI = join(import.meta.dirname, '../../src/cli/kemari.js');
const CHOICE = [
  ...['--protections', 'none,kemari,kemari-zero-plain', '--workloads', 'tcp-rr,idle', '--links', '1ms'],
  ...['--repeats', '1', '--seconds', '1'],
];

interface Told {
  readonly rows: readonly {
    readonly entries: readonly {
      readonly protection: string;
      readonly ratio?: { readonly ratio: number };
      readonly wire?: { readonly bytesPerPage: number; readonly cpuNsPerByte: number };
    }[];
  }[];
}

longGuestTest(`bench goes on where Ctrl-C ended it, and leaves nothing but its report${missing}`, async (t) => {
  t.timeout(600_000);
  const out = mkdtempSync(join(tmpdir(), 'kemari-bench-'));
  t.teardown(() => {
    rmSync(out, { recursive: true, force: true });
  });
  const command = [KEMARI, 'bench', ...CHOICE, '--out', out];

  const first = spawn(process.execPath, command, { stdio: ['ignore', 'ignore', 'pipe'] });
  t.teardown(() => first.kill('SIGKILL'));
  let said = '';
  first.stderr.setEncoding('utf8').on('data', (text: string) => {
    const before = said;
    said += text;
    // The first one is measured, the second under way.
    if (said.includes('[2/') && !before.includes('[2/')) first.kill('SIGINT');
  });
  const [status] = (await once(first, 'exit')) as [number | null];
  t.is(status, 1, said);
  t.true(said.includes('the same command goes on'), said);
  const stage = stageNames(`bench-${first.pid}`);
  t.false(existsSync(stage.directory) || existsSync(stage.disks), said);
  t.false((await execa('ip', ['netns', 'list'])).stdout.includes(stage.name));
  const kept = Ledger.read(join(out, 'samples.jsonl')).samples;
  t.true(kept.length > 0 && kept.length < 6, said);

  const { stdout, stderr } = await execa(process.execPath, [...command, '--json']);
  t.notRegex(stderr, /failed/);
  t.regex(stderr, new RegExp(`\\[1/${6 - kept.length}`));
  const { samples } = Ledger.read(join(out, 'samples.jsonl'));
  t.is(samples.length, 6);
  t.deepEqual(samples.slice(0, kept.length), kept);
  t.true(samples.every(({ value }) => value !== undefined && value > 0));
  const { rows } = JSON.parse(stdout) as Told;
  t.is(rows.length, 2);
  for (const { entries } of rows) {
    t.deepEqual(
      entries.map(({ protection }) => protection),
      ['none', 'kemari', 'kemari-zero-plain'],
    );
    t.true(entries.every(({ ratio }) => ratio !== undefined && ratio.ratio > 0));
    const [, kemari, zero] = entries.map(({ wire }) => wire);
    t.true(kemari!.cpuNsPerByte > 0 && zero!.cpuNsPerByte > 0);
    t.true(zero!.bytesPerPage > 2 * kemari!.bytesPerPage, `${zero!.bytesPerPage} ${kemari!.bytesPerPage}`);
  }
  const epochs = samples.filter(({ protection }) => protection === 'kemari').map((sample) => sample.epochs);
  t.true(epochs.every((figures) => figures !== undefined && figures.pauseP50Us > 0 && figures.perSecond > 0));
  t.true(readFileSync(join(out, 'report.html'), 'utf8').includes('<svg'));
});

longGuestTest(`an epoch is taken apart, guest by guest, and its trace is kept${missing}`, async (t) => {
  t.timeout(300_000);
  const out = mkdtempSync(join(tmpdir(), 'kemari-anatomy-'));
  t.teardown(() => {
    rmSync(out, { recursive: true, force: true });
  });
  const reach = ['--memory', '512', '--vcpus', '1', '--pages', '0,2500', '--seconds', '1', '--repeats', '1'];
  const { stdout, stderr } = await execa(process.execPath, [
    KEMARI,
    'bench',
    '--anatomy',
    ...reach,
    '--out',
    out,
    '--json',
  ]);
  const { anatomy } = JSON.parse(stdout) as { anatomy: Anatomy };
  t.deepEqual(anatomy.gaps, [], stderr);
  t.deepEqual(
    anatomy.rows.map(({ pages }) => pages),
    [0, 2500],
  );
  const [idle, busy] = anatomy.rows;
  // On a busy machine it may not get to write all of them between two epochs.
  t.true(busy!.dirtyPages > idle!.dirtyPages + 500, `${idle!.dirtyPages} ${busy!.dirtyPages}`);
  for (const { parts, trace } of anatomy.rows) {
    const measured = ['stop', 'scan', 'copy', 'encode', 'send', 'ack', 'release', 'apply'] as const;
    t.true(
      measured.every((part) => (parts[part] ?? -1) >= 0),
      JSON.stringify(parts),
    );
    const { traceEvents } = JSON.parse(readFileSync(join(out, trace), 'utf8')) as { traceEvents: { name: string }[] };
    t.true(['stands still', 'encode', 'release'].every((name) => traceEvents.some((event) => event.name === name)));
  }
  t.true(anatomy.growth.some(({ axis, parts }) => axis === 'pages' && parts.copy !== undefined));
  t.true(readFileSync(join(out, 'report.html'), 'utf8').includes('Anatomy of an epoch'));
});

const missingDatabase = missingImageFile(DATABASE_IMAGE);
const databaseTest = missingDatabase === undefined ? longGuestTest : test.serial.skip;

databaseTest(
  `a database is measured${missingDatabase === undefined ? missing : ' [needs hack/bench-image]'}`,
  async (t) => {
    t.timeout(300_000);
    const out = mkdtempSync(join(tmpdir(), 'kemari-bench-database-'));
    t.teardown(() => {
      rmSync(out, { recursive: true, force: true });
    });
    const choice = ['--protections', 'none,kemari', '--workloads', 'pgbench', '--repeats', '1', '--seconds', '2'];
    const { stderr } = await execa(process.execPath, [KEMARI, 'bench', ...choice, '--out', out]);
    const { samples } = Ledger.read(join(out, 'samples.jsonl'));
    t.is(samples.length, 2);
    t.true(
      samples.every(({ value }) => value !== undefined && value > 0),
      stderr,
    );
  },
);
