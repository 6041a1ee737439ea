import { execFileSync } from 'node:child_process';
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import { readRecord } from '../../src/host/domain-record.js';
import { isRunning } from '../../src/host/process-identity.js';
import { logPath } from '../../src/host/paths.js';
import { KEMARI, startProgram, TestHost } from './running.js';

interface Failure {
  readonly error: { readonly code: string; readonly message: string; readonly details: Record<string, unknown> };
}

test.serial('a domain is created, listed, looked at, steered and destroyed', async (t) => {
  const host = new TestHost(t);
  const created = await host.run(['create', host.file('web')]);
  t.like(created, { code: 0, stdout: 'Created domain "web" (domid 1)\n' });
  const listed = await host.run(['list']);
  t.is(
    listed.stdout,
    'Name                                        ID   Mem VCPUs\tState\tTime(s)\n' +
      'web                                          1    64     1     r-----       1.5\n',
  );
  t.is((await host.run(['pause', 'web'])).stdout, 'Paused domain "web" (domid 1)\n');
  t.regex((await host.run(['list', '1'])).stdout, / --p--- /);
  t.deepEqual(JSON.parse((await host.run(['unpause', '1', '--json'])).stdout), { domid: 1, name: 'web' });
  t.like(JSON.parse((await host.run(['info', 'web', '--json'])).stdout), { domid: 1, state: 'running', accel: 'tcg' });
  t.regex((await host.run(['info', 'web'])).stdout, /^state {6}running$/m);
  t.is((await host.run(['destroy', 'web'])).stdout, 'Destroyed domain "web" (domid 1)\n');
  t.deepEqual(JSON.parse((await host.run(['list', '--json'])).stdout), []);
});

test.serial('list --json gives bytes and seconds, and create --paused leaves the guest paused', async (t) => {
  const host = new TestHost(t);
  t.deepEqual(JSON.parse((await host.run(['create', '-p', '--json', host.file('web')])).stdout), {
    domid: 1,
    name: 'web',
  });
  t.deepEqual(JSON.parse((await host.run(['list', '--json'])).stdout), [
    {
      ...{ domid: 1, name: 'web', memoryBytes: 64 << 20, vcpus: 1, state: 'paused', cpuSeconds: 1.5 },
      takeoverFailed: false,
      storageSilent: false,
    },
  ]);
});

test.serial('KEMARI_ROOT stands in for --root', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('web')]);
  const { outcome } = startProgram(process.execPath, [KEMARI, 'list', '--json'], {
    KEMARI_ROOT: host.registry.host.root,
  });
  t.is((JSON.parse((await outcome).stdout) as unknown[]).length, 1);
});

test.serial('an error goes to stderr with its code, or as JSON, and is exit code 1', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('web')]);
  const plain = await host.run(['info', 'wbe']);
  t.is(plain.code, 1);
  t.is(plain.stdout, '');
  t.regex(plain.stderr, /^kemari: no domain "wbe" .* there is web \(1\) \[KEMARI_NO_SUCH_DOMAIN\]\n$/);
  const { code, stderr } = await host.run(['reboot', 'web', '--json']);
  t.is(code, 1);
  t.like(JSON.parse(stderr) as Failure, { error: { code: 'KEMARI_TESTING', details: { answer: 42 } } });
});

for (const args of [
  [],
  ['frob'],
  ['info'],
  ['list', '--frob'],
  ['shutdown'],
  ['shutdown', '-a', 'web'],
  ['create'],
  ['list', '--root='],
  ['list', '--root'],
]) {
  test.serial(`wrong arguments are exit code 2: kemari ${args.join(' ')}`, async (t) => {
    const { code, stderr, stdout } = await new TestHost(t).run(args);
    t.is(code, 2);
    t.is(stdout, '');
    t.regex(stderr, /\[KEMARI_USAGE\]\n$/);
  });
}

test.serial('a wrong domain file is refused with every key, and nothing is left', async (t) => {
  const host = new TestHost(t);
  const { code, stderr } = await host.run(['create', host.file('web', `vcpu = 2\ndisk = ['/none,qcow2,xvda']`)]);
  t.is(code, 1);
  t.regex(stderr, /web\.toml has 2 problems:\n {2}vcpu: found 2; .*"vcpus"\?\n {2}disk\[0\]\.format: found "qcow2"/);
  const missing = await host.run([
    'create',
    host.file('web', `disk=['/none,,xvda']\nvif=['bridge=nobr']\nramdisk='none'`),
  ]);
  t.regex(
    missing.stderr,
    /3 problems:\n {2}ramdisk: found ".*\/none".*\n {2}disk xvda\.target: .*\n {2}vif\[0\]\.bridge: /,
  );
  t.regex((await host.run(['create', '/none.toml'])).stderr, /KEMARI_CONFIG_UNREADABLE/);
  t.deepEqual(readdirSync(host.registry.host.domains), []);
});

test.serial('the reason why a kemari-dm failed reaches the user, and nothing is left', async (t) => {
  const host = new TestHost(t);
  const { code, stderr } = await host.run(['create', host.file('web')], { FAKE_DM: 'fail' });
  t.is(code, 1);
  t.true(stderr.endsWith('kemari: there is no QEMU [KEMARI_TESTING]\n'), stderr);
  t.deepEqual(readdirSync(host.registry.host.domains), []);
});

test.serial('the end of the log is shown when a kemari-dm dies without a word, and nothing is left', async (t) => {
  const host = new TestHost(t);
  const { code, stderr } = await host.run(['create', host.file('web')], { FAKE_DM: 'die' });
  t.is(code, 1);
  t.regex(stderr, /exit code 7.*web\.log:\n {2}fake kemari-dm of web: die \[KEMARI_DM_DIED\]/s);
  t.deepEqual(readdirSync(host.registry.host.domains), []);
});

for (const behaviour of ['slow', 'stubborn']) {
  test.serial(`Ctrl-C during create takes a ${behaviour} kemari-dm down; what takes long is told`, async (t) => {
    const host = new TestHost(t);
    const running = host.start(['create', host.file('web')], { FAKE_DM: behaviour });
    await running.saying('kemari: starting the fake (', 'stderr');
    const [domain] = await host.registry.list();
    const { deviceModel, qemu } = readRecord(domain!.paths);
    running.child.kill('SIGINT');
    const { code, stderr } = await running.outcome;
    t.is(code, 1);
    t.regex(stderr, /KEMARI_INTERRUPTED/);
    t.false(isRunning(deviceModel!));
    t.false(isRunning(qemu!));
    t.deepEqual(readdirSync(host.registry.host.domains), []);
  });
}

test.serial('a kemari-dm that hangs is named by list, and destroy ends it all the same', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('web')], { FAKE_DM: 'hang' });
  const [domain] = await host.registry.list();
  const { deviceModel, qemu } = readRecord(domain!.paths);
  const listed = await host.run(['list']);
  t.regex(listed.stdout, /web .* ------ +-\n/);
  t.regex(listed.stderr, /"web" does not answer/);
  const destroyed = await host.run(['destroy', 'web']);
  t.is(destroyed.stdout, 'Killed domain "web" (domid 1)\n');
  t.regex(destroyed.stderr, /asking kemari-dm of domain "web" to end \(\d+ s\)/);
  t.false(isRunning(deviceModel!));
  t.false(isRunning(qemu!));
  t.deepEqual(readdirSync(host.registry.host.domains), []);
});

test.serial(
  'a domain whose kemari-dm was killed is gone from the list, its name is free, and its QEMU has ended',
  async (t) => {
    const host = new TestHost(t);
    await host.run(['create', host.file('web')]);
    const [domain] = await host.registry.list();
    const { deviceModel, qemu } = readRecord(domain!.paths);
    process.kill(deviceModel!.pid, 'SIGKILL');
    const again = await host.run(['create', host.file('web')]);
    t.is(again.stdout, 'Created domain "web" (domid 2)\n');
    t.false(isRunning(qemu!));
  },
);

test.serial('shutdown --wait returns when the guests have ended', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('one')]);
  await host.run(['create', host.file('two')]);
  const done = await host.run(['shutdown', '-a', '-w', '--json']);
  t.deepEqual(
    (JSON.parse(done.stdout) as { name: string }[]).map(({ name }) => name),
    ['one', 'two'],
  );
  t.deepEqual(await host.registry.list(), []);
});

test.serial(
  'waiting for a guest that does not shut down ends by Ctrl-C or by its timeout, and the guest lives on',
  async (t) => {
    const host = new TestHost(t);
    await host.run(['create', host.file('web')], { FAKE_DM: 'deaf' });
    const late = await host.run(['shutdown', '-w', '--timeout', '0.1', 'web']);
    t.is(late.code, 1);
    t.regex(late.stderr, /after 100 ms; "kemari destroy web" ends it \[KEMARI_SHUTDOWN_TIMEOUT\]/);
    const waiting = host.start(['shutdown', '-w', 'web']);
    await waiting.saying('waiting for the guest to power off', 'stderr');
    waiting.child.kill('SIGINT');
    const { code, stderr } = await waiting.outcome;
    t.is(code, 1);
    t.regex(stderr, /ended by SIGINT \[KEMARI_INTERRUPTED\]/);
    t.is((await host.registry.list()).length, 1);
  },
);

test.serial('the log of a domain can be read when it is gone, and followed', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('web')]);
  await host.run(['destroy', 'web']);
  t.is((await host.run(['log', 'web'])).stdout, 'fake kemari-dm of web: ok\n');
  const following = host.start(['log', 'web', '-f']);
  await following.saying('fake kemari-dm');
  appendFileSync(logPath(host.registry.host, 'web'), 'one more line\n');
  await following.saying('one more line\n');
  following.child.kill('SIGINT');
  t.is((await following.outcome).code, 0);
  const none = await host.run(['log', '../web']);
  t.regex(none.stderr, /there is web \[KEMARI_NO_LOG\]/);
});

test.serial('a console shows recent output, and several clients see the same', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('web')]);
  const one = host.start(['console', 'web']);
  const two = host.start(['console', '1']);
  await Promise.all([one.saying('recent output\r\n'), two.saying('recent output\r\n')]);
  one.child.stdin!.write('uptime\n');
  await Promise.all([one.saying('uptime\n'), two.saying('uptime\n')]);
  one.child.stdin!.end();
  two.child.stdin!.write('what follows the end of an input\n');
  await one.saying('what follows');
  two.child.stdin!.write('\u0004');
  t.is((await one.outcome).code, 0);
  t.is((await two.outcome).code, 0);
});

test.serial('create --console connects to the new domain', async (t) => {
  const host = new TestHost(t);
  const running = host.start(['create', '--console', host.file('web')]);
  await running.saying('recent output\r\n');
  running.child.stdin!.write('\u0004');
  const { code, stdout } = await running.outcome;
  t.is(code, 0);
  t.true(stdout.startsWith('Created domain "web" (domid 1)\nrecent output\r\n'));
});

test.serial('on a terminal keys go to the guest as they are, and Ctrl-] leaves', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('web')]);
  const command = `${process.execPath} ${KEMARI} --root ${host.registry.host.root} console web; stty -a`;
  const { child, saying, outcome } = startProgram('script', ['-qefc', command, '/dev/null']);
  await saying('Ctrl-] leaves');
  await saying('recent output');
  child.stdin!.write('a\u0003b');
  await saying('a\u0003b');
  child.stdin!.write('\u001dnot sent');
  const { code, stdout } = await outcome;
  t.is(code, 0);
  t.regex(stdout, / icanon/);
  t.is((await host.run(['list', 'web'])).code, 0);
});

test.serial('whoever is not root is told so', async (t) => {
  const host = new TestHost(t);
  const ids = { uid: 65534, gid: 65534 };
  const program = `import { list } from ${JSON.stringify(new URL('../../src/commands/list.js', import.meta.url))};
    process.setgid(${ids.gid}); process.setuid(${ids.uid});
    list(${JSON.stringify(host.registry.host.root)}).catch((error) => console.log(error.code));`;
  const { outcome } = startProgram(process.execPath, ['--input-type=module', '-e', program]);
  t.is((await outcome).stdout, 'KEMARI_NOT_ROOT\n');
});

test.serial('bash completes verbs, and the names of the domains that are there', async (t) => {
  const host = new TestHost(t);
  await host.run(['create', host.file('web-one')]);
  const script = `
    kemari() { "${process.execPath}" "${KEMARI}" "$@"; }
    eval "$(kemari completion)"
    complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _kemari_yargs_completions; echo "\${COMPREPLY[*]}"; }
    complete_line kemari unpa
    complete_line kemari --root ${host.registry.host.root} info we
    complete_line kemari list --js
    complete_line kemari create we`;
  const lines = execFileSync('bash', ['-c', script], { encoding: 'utf8', env: { ...process.env, SHELL: '/bin/bash' } });
  t.deepEqual(lines.split('\n'), ['unpause', 'web-one', '--json', '', '']);
});

test.serial('the completion script of zsh asks the same way', async (t) => {
  const { outcome } = startProgram(process.execPath, [KEMARI, 'completion'], { SHELL: '/bin/zsh', ZSH_NAME: 'zsh' });
  const { stdout } = await outcome;
  t.regex(stdout, /^#compdef kemari/);
  t.regex(stdout, /--get-yargs-completions/);
});

test.serial('--version is that of the package, and every verb has its help', async (t) => {
  const host = new TestHost(t);
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  t.is((await host.run(['--version'])).stdout, `${version}\n`);
  const help = (await host.run(['--help'])).stdout;
  for (const verb of [
    'create',
    'list',
    'info',
    'console',
    'pause',
    'unpause',
    'shutdown',
    'reboot',
    'destroy',
    'log',
    'drill',
  ]) {
    t.regex(help, new RegExp(`kemari ${verb} `));
    const { code, stdout } = await host.run([verb, '--help']);
    t.is(code, 0);
    t.true(stdout.includes(`kemari ${verb} `), verb);
  }
});
