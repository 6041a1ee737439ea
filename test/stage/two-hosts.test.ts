import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { execa } from 'execa';
import { waitUntil } from '../../src/base/deadline.js';
import { namespaceName, stageNames, stagesFolder, type MachineName } from '../../src/stage/names.js';
import { HOST_ADDRESSES } from '../../src/stage/topology.js';
import { TwoHosts } from '../../src/stage/two-hosts.js';

const missing = process.getuid?.() === 0 ? '' : ' [needs root]';
const staged = missing === '' ? test.serial : test.serial.skip;

const MAIN = new URL('../../src/stage/main.js', import.meta.url).pathname;
const TIMEOUT_MS = 10_000;

/** Prints a line for each datagram that arrives. */
const LISTENER = `
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (text) => console.log(String(text)));
socket.bind(7000, () => console.log('bound'));`;

/** Sends one datagram: ADDRESS TEXT. */
const SENDER = `
const [address, text] = process.argv.slice(1);
const socket = require('node:dgram').createSocket('udp4');
socket.send(text, 7000, address, () => socket.close());`;

/** Sends each datagram back. */
const ECHO = `
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (text, { port, address }) => socket.send(text, port, address));
socket.bind(7001, () => console.log('bound'));`;

/** Prints the shortest of five round trips of a datagram, in milliseconds: ADDRESS. */
const ASKER = `
const socket = require('node:dgram').createSocket('udp4');
const times = [];
let askedAt;
const ask = () => { askedAt = performance.now(); socket.send('?', 7001, process.argv[1]); };
socket.on('message', () => {
  times.push(performance.now() - askedAt);
  if (times.length < 5) return ask();
  console.log(Math.min(...times));
  socket.close();
});
ask();`;

async function withStage(name: string, body: (stage: TwoHosts) => Promise<void>): Promise<void> {
  const stage = await TwoHosts.up(name, { owned: true });
  try {
    await body(stage);
  } finally {
    await stage.down();
  }
}

/** A machine that hears datagrams, and what it has heard. */
async function listenOn(stage: TwoHosts, machine: MachineName): Promise<string[]> {
  const [program, ...args] = stage.machines[machine].command([process.execPath, '-e', LISTENER]);
  const heard: string[] = [];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.on('data', (chunk: Buffer) => heard.push(...chunk.toString().trim().split('\n')));
  await once(child.stdout, 'data');
  return heard;
}

async function echoOn(stage: TwoHosts, machine: MachineName): Promise<ChildProcess> {
  const [program, ...args] = stage.machines[machine].command([process.execPath, '-e', ECHO]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

async function say(stage: TwoHosts, from: MachineName, address: string, text: string): Promise<void> {
  await stage.machines[from].run([process.execPath, '-e', SENDER, address, text]);
}

function hears(heard: readonly string[], text: string): Promise<boolean> {
  return waitUntil(() => heard.includes(text), { timeoutMs: TIMEOUT_MS });
}

const namespacesOf = (name: string): string[] =>
  existsSync('/run/netns') ? readdirSync('/run/netns').filter((entry) => entry.startsWith(`kemari.${name}.`)) : [];

staged(`a cut cable loses what it is told to lose, and heals${missing}`, async (t) => {
  await withStage('test-cut', async (stage) => {
    const a = await listenOn(stage, 'A');
    const b = await listenOn(stage, 'B');
    await say(stage, 'A', HOST_ADDRESSES.B.sync, 'before');
    t.true(await hears(b, 'before'));
    await stage.cables.cut('sync', 'A');
    t.is((await stage.cables.faults()).sync, 'nothing arrives at B');
    await say(stage, 'A', HOST_ADDRESSES.B.sync, 'lost');
    // B's own words pass, those of A on another network too: so the lost one would have been there by now.
    await say(stage, 'B', HOST_ADDRESSES.A.sync, 'answer');
    await say(stage, 'A', HOST_ADDRESSES.B.client, 'detour');
    t.true(await hears(a, 'answer'));
    t.true(await hears(b, 'detour'));
    t.false(b.includes('lost'));
    await stage.cables.cut('A');
    t.is((await stage.cables.faults()).sync, 'cut');
    await stage.cables.heal();
    await say(stage, 'A', HOST_ADDRESSES.B.sync, 'healed');
    t.true(await hears(b, 'healed'));
  });
});

staged(`a shaped cable is as slow as it was told to be${missing}`, async (t) => {
  await withStage('test-shape', async (stage) => {
    await stage.cables.shape('sync', '10mbit');
    for (const host of ['A', 'B'] as const) {
      t.regex(await stage.machines[host].run(['tc', 'qdisc', 'show', 'dev', 'sync']), /tbf .* rate 10Mbit/);
    }
    await stage.cables.shape('sync', undefined);
    t.notRegex(await stage.machines.A.run(['tc', 'qdisc', 'show', 'dev', 'sync']), /tbf/);
  });
});

staged(
  `a fence ends a host's processes, links and connections with storage, and only that host's${missing}`,
  async (t) => {
    await withStage('test-fence', async (stage) => {
      await stage.storage.serve([await stage.storage.emptyImage('disk', 1 << 20)]);
      await listenOn(stage, 'A');
      const b = await listenOn(stage, 'B');
      for (const host of ['A', 'B'] as const) {
        const connected = ['bash', '-c', 'exec 3<>/dev/tcp/10.79.0.3/10809; cat <&3'];
        const [program, ...args] = stage.machines[host].command(connected);
        spawn(program, args, { stdio: 'ignore' });
      }
      const served = async (): Promise<number> =>
        (await stage.machines.storage.run(['ss', '-Htn', 'src :10809'])).split('\n').filter(Boolean).length;
      t.true(await waitUntil(async () => (await served()) === 2, { timeoutMs: TIMEOUT_MS }));
      t.true(stage.machines.A.pids().length > 0);
      t.regex(await stage.fence('A'), /no process, no link, no connection/);
      t.deepEqual(stage.machines.A.pids(), []);
      t.is((await stage.cables.faults())['storage-A'], 'unplugged');
      t.is((await stage.cables.faults())['storage-B'], '');
      t.is(await served(), 1);
      await say(stage, 'client', HOST_ADDRESSES.B.client, 'still here');
      t.true(await hears(b, 'still here'));
    });
  },
);

staged(`stages stand side by side, and each leaves nothing${missing}`, async (t) => {
  await withStage('test-one', async () => {
    await withStage('test-two', async (two) => {
      t.is(namespacesOf('test-one').length, namespacesOf('test-two').length);
      await t.throwsAsync(TwoHosts.up('test-one', { owned: true }), { code: 'KEMARI_STAGE_EXISTS' });
      await listenOn(two, 'B');
    });
    t.deepEqual(namespacesOf('test-two'), []);
    t.false(existsSync('/run/kemari-two-hosts/test-two'));
  });
  t.deepEqual(namespacesOf('test-one'), []);
});

staged(`what a killed process owned is removed by the next that builds a stage${missing}`, async (t) => {
  const program = `import { TwoHosts } from '${new URL('../../src/stage/two-hosts.js', import.meta.url).href}';
    await TwoHosts.up('test-killed', { owned: true }); console.log('up'); setInterval(() => undefined, 1000);`;
  const owner = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(owner.stdout, 'data');
  t.not(namespacesOf('test-killed').length, 0);
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  await withStage('test-after', () => Promise.resolve());
  t.deepEqual(namespacesOf('test-killed'), []);
});

staged(
  `what a killed process left half made or half removed is found by what carries a stage's name${missing}`,
  async (t) => {
    const names = stageNames('test-remains');
    const left = (): boolean[] => [names.directory, names.disks].map((path) => existsSync(path));
    const halfClaim = join(stagesFolder(), '.new-4194305-1');
    const remains = [
      ['mkdir', '-p', join(names.directory, 'A')],
      ['mkdir', names.disks],
      ['ip', 'netns', 'add', namespaceName(names, 'client')],
      ['mkdir', halfClaim],
    ];
    for (const [program = '', ...args] of remains) {
      await execa(program, args);
      await withStage('test-after', () => Promise.resolve());
      t.deepEqual([...left(), ...namespacesOf('test-remains')], [false, false]);
    }
    t.false(existsSync(halfClaim));
  },
);

staged(
  `hack/two-hosts: up is idempotent, exec runs there and says its exit code, down removes all${missing}`,
  async (t) => {
    const twoHosts = async (...args: string[]) =>
      execa(process.execPath, [MAIN, '--name', 'test-cli', ...args], { reject: false, stdin: 'ignore' });
    try {
      t.is((await twoHosts('up')).exitCode, 0);
      t.regex((await twoHosts('up')).stdout, /already/);
      const { stdout, exitCode } = await twoHosts('exec', 'a', 'sh', '-c', 'echo $KEMARI_ROOT; exit 7');
      t.deepEqual([stdout, exitCode], ['/run/kemari-two-hosts/test-cli/A', 7]);
      const wrong = await twoHosts('cut', 'moon');
      t.regex(wrong.stderr, /no cable of two hosts: "moon"; expected one of client-A/);
      t.is(wrong.exitCode, 2);
      const status = JSON.parse((await twoHosts('status', '--json')).stdout) as { links: unknown[] };
      t.is(status.links.length, 5);
    } finally {
      t.is((await twoHosts('down')).exitCode, 0);
    }
    t.deepEqual(namespacesOf('test-cli'), []);
    t.regex((await twoHosts('status')).stderr, /are not up/);
  },
);

staged(`what goes over a long cable is under way for as long as it was told, both ways${missing}`, async (t) => {
  await withStage('test-long', async (stage) => {
    const { cables } = stage;
    const roundTripMs = async (): Promise<number> => {
      const echo = await echoOn(stage, 'B');
      const said = await stage.machines.A.run([process.execPath, '-e', ASKER, HOST_ADDRESSES.B.sync]);
      echo.kill('SIGKILL');
      return Number(said);
    };
    await cables.lengthen(100);
    t.is((await cables.faults()).sync, '');
    t.true((await roundTripMs()) >= 200);
    await cables.lengthen(50);
    const shorter = await roundTripMs();
    t.true(shorter >= 100 && shorter < 200, `${shorter} ms`);
    await cables.lengthen(undefined);
    t.true((await roundTripMs()) < 100);
    t.notRegex(await stage.machines.A.run(['ip', 'link']), /sync-short/);
  });
});
