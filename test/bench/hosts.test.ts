import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { execa } from 'execa';
import { waitUntil } from '../../src/base/deadline.js';
import { netmask } from '../../src/bench/hosts/connect.js';
import { Ledger } from '../../src/bench/ledger.js';
import { HOST_NAMES, type HostName } from '../../src/stage/names.js';
import { GUEST_BRIDGE, HOST_ADDRESSES } from '../../src/stage/topology.js';
import { TwoHosts } from '../../src/stage/two-hosts.js';
import { longGuestTest, missing } from '../fixtures/guest-test.js';

const CLI = join(import.meta.dirname, '../../src/cli');
const START_TIMEOUT_MS = 30_000;
const CLEAN_TIMEOUT_MS = 60_000;

interface Reached {
  readonly stage: TwoHosts;
  /** The command line of `kemari bench` on the client, with what leads to both hosts, and more. */
  readonly bench: (...more: readonly string[]) => [string, ...string[]];
  readonly destination: (host: HostName) => string;
}

/** Two hosts that an ssh server and a kemarid make real ones; nothing of theirs is known but what ssh tells. */
async function reachTwoHosts(t: ExecutionContext): Promise<Reached> {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-ssh-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const name = `ssh-${process.pid}`;
  const stage = await TwoHosts.up(name, { owned: true });
  t.teardown(() => TwoHosts.down(name));
  const key = join(folder, 'key');
  const home = join(folder, 'home');
  mkdirSync(join(home, '.ssh'), { recursive: true, mode: 0o700 });
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  // The server has a path of its own, on which kemari is where it was installed.
  const login = join(folder, 'login');
  writeFileSync(login, `#!/bin/sh\nPATH=${stage.names.bin}:$PATH; export PATH; eval "$SSH_ORIGINAL_COMMAND"\n`, {
    mode: 0o755,
  });
  const authorized = `command="${login}" ${readFileSync(`${key}.pub`, 'utf8')}`;
  writeFileSync(join(home, '.ssh/authorized_keys'), authorized, { mode: 0o600 });
  // Its root lives elsewhere: nothing of this machine's is touched.
  const passwd = join(folder, 'passwd');
  writeFileSync(passwd, `root:x:0:0:root:${home}:/bin/sh\n`);
  const hostKey = join(folder, 'host-key');
  await execa('dropbearkey', ['-t', 'ed25519', '-f', hostKey]);
  const server = ['dropbear', '-F', '-e', '-s', '-r', hostKey, '-P', ''];
  const serve = ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" /etc/passwd && exec "$@"', passwd, ...server];
  for (const host of HOST_NAMES) {
    const listening = ['-p', `${HOST_ADDRESSES[host].client}:22`];
    for (const command of [
      [...serve, ...listening],
      [process.execPath, join(CLI, 'kemarid.js'), '--root', stage.root(host)],
    ]) {
      const [program, ...args] = stage.machines[host].command(command);
      // It ends with its namespace.
      spawn(program, args, {
        env: { ...process.env, ...stage.environment(host) },
        stdio: ['ignore', 'ignore', 'inherit'],
      });
    }
    const listens = async (): Promise<boolean> =>
      (await stage.machines[host].run(['ss', '-Htln', '( sport = :22 or sport = :8002 )'])).split('\n').length >= 2;
    t.true(await waitUntil(listens, { timeoutMs: START_TIMEOUT_MS }));
  }
  const ssh = `ssh -F none -i ${key} -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR`;
  const destination = (host: HostName): string => `root@${HOST_ADDRESSES[host].client}`;
  const bench = (...more: readonly string[]): [string, ...string[]] => {
    const where = ['--ssh', ssh, '--addresses', '10.77.0.31,10.77.0.32', '--bridge', GUEST_BRIDGE];
    return stage.machines.client.command([process.execPath, join(CLI, 'kemari.js'), 'bench', ...where, ...more]);
  };
  return { stage, bench, destination };
}

/** What of a benchmark is on the hosts. */
async function leftOn({ stage }: Reached): Promise<string[]> {
  const left = readdirSync('/var/tmp').filter((entry) => entry.startsWith('kemari-hosts-'));
  for (const host of HOST_NAMES) {
    const { machines } = stage;
    const programs = await machines[host].run(['ps', '-o', 'comm=', '-p', machines[host].pids().join(',')]);
    left.push(...programs.split('\n').filter((program) => /qemu|kemari-dm|xc_kemari/.test(program)));
    const taps = await machines[host].run(['ip', '-oneline', 'link', 'show', 'type', 'tun']);
    left.push(...(taps.match(/\bkb\d+/g) ?? []));
  }
  return left;
}

longGuestTest(`bench measures on two hosts that it only reaches by ssh, and leaves nothing${missing}`, async (t) => {
  t.timeout(600_000);
  const reached = await reachTwoHosts(t);
  const { destination } = reached;
  const bench = (...more: readonly string[]) => {
    const [program, ...args] = reached.bench(...more);
    return execa(program, args, { reject: false });
  };
  const out = mkdtempSync(join(tmpdir(), 'kemari-bench-'));
  t.teardown(() => {
    rmSync(out, { recursive: true, force: true });
  });
  const hosts = ['--hosts', HOST_NAMES.map(destination).join(',')];
  const choice = ['--protections', 'none,kemari', '--workloads', 'idle,tcp-rr', '--repeats', '1', '--seconds', '1'];
  const all = [...hosts, ...choice, '--standby', HOST_ADDRESSES.B.sync, '--out', out];

  const missed = await bench(...hosts, ...choice, '--bridge', 'nowhere0', '--out', out);
  t.regex(missed.stderr, /it has no bridge nowhere0 .* \[KEMARI_BENCH_HOST\]/s);

  // It is killed while it measures, protected: the hosts see to themselves.
  const killed = bench(...all);
  killed.stderr.on('data', (text: Buffer) => text.includes('[4/4') && killed.kill('SIGKILL'));
  const { stderr: saidBefore, signal } = await killed;
  t.is(signal, 'SIGKILL', saidBefore);
  const isClean = async (): Promise<boolean> => (await leftOn(reached)).length === 0;
  t.true(await waitUntil(isClean, { timeoutMs: CLEAN_TIMEOUT_MS }), (await leftOn(reached)).join(' '));

  const { stderr, exitCode } = await bench(...all);
  t.is(exitCode, 0, stderr);
  const { samples, settings } = Ledger.read(join(out, 'samples.jsonl'));
  t.is(settings['hosts'], HOST_NAMES.map(destination).join(', '));
  t.is(samples.length, 4);
  t.true(
    samples.every(({ value }) => value !== undefined && value > 0),
    stderr,
  );
  const epochs = samples.filter(({ protection }) => protection === 'kemari').map((sample) => sample.epochs);
  t.true(epochs.every((figures) => figures !== undefined && figures.pauseP50Us > 0 && figures.perSecond > 0));
  t.deepEqual(await leftOn(reached), []);
  t.deepEqual(
    readdirSync(tmpdir()).filter((entry) => entry.startsWith('kemari-hosts-')),
    [],
  );
});

test('a prefix is told as a netmask', (t) => {
  t.deepEqual([0, 8, 22, 32].map(netmask), ['0.0.0.0', '255.0.0.0', '255.255.252.0', '255.255.255.255']);
});
