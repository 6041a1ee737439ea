import test from 'ava';
import { statusText } from '../../src/cli/protection-text.js';
import { StatusLine } from '../../src/cli/status-line.js';
import { topScreen } from '../../src/cli/top-screen.js';
import type { ProtectionInfo } from '../../src/host/contract.js';
import { TestHost } from './running.js';

const info: ProtectionInfo = {
  ...{ role: 'primary', state: 'protected', policy: 'kemari, pipelined', failover: 'manual', onSilence: 'hold' },
  ...{ host: 'b', port: 8002, standby: 'hostb', encrypted: true, sinceMs: 0, copying: undefined },
  ...{ epoch: '42', ackedEpoch: '41', epochsPerSecond: 12.34, dirtyPages: 60, checkpointBytes: 300_000 },
  ...{ pauseUs: { p50: 1500, p99: 3000, max: 4000 }, releaseUs: { p50: 2000, p99: 4000, max: 5000 } },
  ...{ scriptShare: 0.05, pauseShare: 0.02, held: 3, lagMs: 2.4, unackedBytes: 4096, linkBytesPerSecond: 12_345_678 },
  ...{
    sentBytes: 1e8,
    rawBytes: 2e8,
    sentPages: 48_000,
    linkCpuMs: 700,
    ackUs: 900,
    leaseValid: true,
    lostGuestMs: 1234,
    regime: 'at-once',
  },
};

function written(isTTY: boolean, columns?: number) {
  const said: string[] = [];
  let nowMs = 0;
  const output = { isTTY, write: (text: string) => said.push(text), ...(columns === undefined ? {} : { columns }) };
  return { said, line: new StatusLine(output, () => nowMs), pass: (ms: number) => (nowMs += ms) };
}

test('a protected domain is told on one line', (t) => {
  t.is(
    statusText(info),
    'protected: epoch 42, 12.3/s, 60 pages, pause 1.50 ms (p99 3.00), held 3, lag 2 ms, 12.3 MB/s, at-once',
  );
  const copying = { round: 2, pagesLeft: 25_600, bytesPerSecond: 1e8, secondsLeft: 1.05 };
  t.is(statusText({ ...info, copying }), 'copying memory, round 2: 25600 pages (100 MiB) left, 100.0 MB/s, about 1 s');
});

test('on a terminal the line is replaced, fits, and what stays is written above it', (t) => {
  const { said, line } = written(true, 10);
  line.show('0123456789abc');
  line.tell('kept');
  line.end();
  t.deepEqual(said, ['\r\u001b[K012345678', '\r\u001b[Kkept\n012345678', '\r\u001b[K']);
});

test('without a terminal the line is written now and then', (t) => {
  const { said, line, pass } = written(false);
  line.show('one');
  pass(5_000);
  line.show('two');
  pass(5_000);
  line.show('three');
  line.tell('kept');
  t.deepEqual(said, ['one\n', 'three\n', 'kept\n']);
});

test('top shows xentop letters, and a guest that waits for its standby as such', (t) => {
  const row = {
    domid: 1,
    name: 'web',
    state: 'running',
    cpuShare: 0.5,
    memoryBytes: 512 << 20,
    vcpus: 1,
    storageSilent: false,
  } as const;
  const states = (['protected', 'handing-over', 'silent'] as const).map((state) => {
    const screen = topScreen([{ ...row, protection: { ...info, state } }], undefined, new Date(0));
    return /web +(\S+)/.exec(screen)![1];
  });
  t.deepEqual(states, ['r-----', '--p---', '-b----']);
  const small = topScreen([{ ...row, protection: info }], { rows: 4, columns: 20 }, new Date(0));
  t.deepEqual(
    small.split('\n').map((text) => text.length <= 20),
    [true, true, true, true],
  );
  t.true(small.endsWith('q quits'));
});

test.serial('migrate names what is wrong with its options, and does nothing', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('web')]);
  for (const [args, text] of [
    [[], /one of --kemari, --remus and --live; found none/],
    [['--kemari', '--live'], /found 2/],
    [['--remus', '--strict'], /--strict belongs to --kemari/],
    [['--kemari', '--interval', '50'], /--interval belongs to --remus/],
    [['--remus', '--interval', '1'], /--interval takes a number from 5 to 10000; found 1/],
    [['--kemari', '--compress', 'much'], /compress/],
    [['--kemari', '--max-pause-share', '0'], /--max-pause-share takes a number from 1 to 100; found 0/],
    [['--live', '--detach'], /--live ends by itself/],
    [['--kemari', '--plain', '--key', '/k'], /exclude each other/],
    [
      ['--kemari', '--on-silence', 'continue', '--failover', 'auto'],
      /--on-silence continue and --failover auto contradict each other/,
    ],
  ] as const) {
    const { code, stderr } = await host.run(['migrate', 'web', 'hostb', ...args]);
    t.is(code, 2, args.join(' '));
    t.regex(stderr, text);
  }
});

test.serial('migrate shows what kemari-dm tells, and ends with it', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('web')]);
  const text = await host.run(['migrate', 'web', 'hostb:9', '--kemari', '--plain']);
  t.like(text, { code: 0, stdout: 'Domain "web" (domid 1): ended: played\n' });
  t.regex(text.stderr, /asking hostb:9 to stand by/);
  const json = await host.run(['migrate', 'web', 'hostb', '--remus', '--plain', '--json']);
  const lines = json.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  t.like(lines[0], { type: 'connecting' });
  t.like(lines.at(-1), { outcome: 'ended', name: 'web' });
  const detached = await host.run(['migrate', 'web', 'stays', '--kemari', '--plain', '--detach']);
  t.like(detached, { code: 0, stdout: 'Domain "web" (domid 1): detached: it stays protected on stays\n' });
});

test.serial('top --once prints every domain, for people and for programs', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('web')]);
  t.regex((await host.run(['top', '--once', '-d', '0.1'])).stdout, /^web +r-----/m);
  const rows = JSON.parse((await host.run(['top', '--once', '--json', '-d', '0.1'])).stdout) as unknown[];
  t.like(rows[0], { name: 'web', state: 'running' });
});
