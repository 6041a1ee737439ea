import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { inheritableFds } from '../../../src/commands/device-model/stray-fds.js';
import { qemuUid, unprivileged } from '../../../src/hypervisor/qemu/privileges.js';
import { InheritedFds, spawnQemu } from '../../../src/hypervisor/qemu/spawn.js';

const isRoot = process.getuid?.() === 0;
const rootTest = isRoot ? test : test.skip;
const privileges = { uid: qemuUid(7), groups: [] };

async function run(
  command: readonly string[],
  fds = new InheritedFds(),
): Promise<{ lines: string[]; code: number | null }> {
  const lines: string[] = [];
  const child = await spawnQemu({ command, privileges, fds, onOutput: (line) => void lines.push(line) });
  const { code } = await child.exited;
  return { lines, code };
}

rootTest('the process is nobody, can become nobody else and has no capability', async (t) => {
  const { lines } = await run(['/bin/grep', '-E', '^(Uid|Gid|Groups|NoNewPrivs|Cap...):', '/proc/self/status']);
  const status = new Map(lines.map((line) => [line.split(':')[0], line.split(':')[1]?.trim()]));
  const uid = String(qemuUid(7));
  t.deepEqual(status.get('Uid')?.split('\t'), [uid, uid, uid, uid]);
  t.deepEqual(status.get('Gid')?.split('\t'), [uid, uid, uid, uid]);
  t.is(status.get('Groups'), '');
  t.is(status.get('NoNewPrivs'), '1');
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) t.is(status.get(set), '0000000000000000', set);
});

rootTest('it inherits the descriptors that were given and no other', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kemari-spawn-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  writeFileSync(join(folder, 'given'), 'given');
  writeFileSync(join(folder, 'kept'), 'kept', { mode: 0o600 });
  const kept = openSync(join(folder, 'kept'), 'r');
  const fds = new InheritedFds();
  const number = fds.give(openSync(join(folder, 'given'), 'r'));
  // The folder is root's alone: what was inherited can be opened once more all the same.
  const { lines, code } = await run(['/bin/sh', '-c', `cat /proc/self/fd/${number}; echo; ls /proc/$$/fd`], fds);
  fds.closeOurs();
  closeSync(kept);
  t.is(code, 0);
  t.is(lines[0], 'given');
  // What whoever started this test left open is closed by kemari-dm, not here.
  const strays = inheritableFds().filter((fd) => fd > 2);
  const expected = [0, 1, 2, number, ...strays];
  t.deepEqual(
    lines
      .slice(1)
      .map(Number)
      .sort((a, b) => a - b),
    expected,
  );
});

rootTest('nothing is started for a parent that has died already', (t) => {
  const notTheParent = 1;
  const [program = '', ...args] = unprivileged(privileges, notTheParent, ['/bin/echo', 'started']);
  const { status, stdout } = spawnSync(program, args);
  t.is(status, 1);
  t.is(stdout.toString(), '');
});
