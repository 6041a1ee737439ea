import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { availableMemory } from '../../src/host/available-memory.js';

const MIB = 1 << 20;

/** A folder with these files, in which FOLDER stands for it. */
function folderOf(t: ExecutionContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync('/tmp/kemari-memory-');
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text.replaceAll('FOLDER', folder));
  }
  return folder;
}

const HOST = { meminfo: `MemTotal: 9999999 kB\nMemAvailable: ${1024 * 1024} kB\n` };

test('without a limit a process can have what its host has', (t) => {
  t.is(availableMemory(folderOf(t, HOST)), 1024 * MIB);
  t.is(availableMemory(folderOf(t, { meminfo: '' })), Infinity);
  const unlimited = folderOf(t, {
    ...HOST,
    'self/cgroup': '4:memory:/a\n0::/a\n',
    'self/mounts': 'cgroup FOLDER/one cgroup rw,memory 0 0\ncgroup2 FOLDER/two cgroup2 rw 0 0\n',
    'one/a/memory.limit_in_bytes': '9223372036854771712\n',
    'one/a/memory.usage_in_bytes': '4096\n',
    'two/a/memory.max': 'max\n',
    'two/a/memory.current': '4096\n',
  });
  t.is(availableMemory(unlimited), 1024 * MIB);
});

test('a control group leaves what it has not used, and what it can have back at once', (t) => {
  const one = folderOf(t, {
    ...HOST,
    'self/cgroup': '7:pids:/x\n4:memory:/a/b\n',
    'self/mounts': 'cgroup FOLDER/pids cgroup rw,pids 0 0\ncgroup FOLDER/one cgroup rw,relatime,memory 0 0\n',
    'one/a/b/memory.limit_in_bytes': `${256 * MIB}\n`,
    'one/a/b/memory.usage_in_bytes': `${100 * MIB}\n`,
    'one/a/b/memory.stat': `inactive_file 1\ntotal_inactive_file ${30 * MIB}\n`,
  });
  t.is(availableMemory(one), 186 * MIB);
  const two = folderOf(t, {
    ...HOST,
    'self/cgroup': '0::/a\n',
    'self/mounts': 'cgroup2 FOLDER/two cgroup2 rw 0 0\n',
    'two/a/memory.max': `${256 * MIB}\n`,
    'two/a/memory.current': `${300 * MIB}\n`,
    'two/a/memory.stat': `inactive_file ${20 * MIB}\n`,
  });
  t.is(availableMemory(two), 0);
});

test('a group has no more than each one above it, and one that cannot be seen is asked at the top', (t) => {
  const files = {
    ...HOST,
    'self/mounts': 'cgroup2 FOLDER/two cgroup2 rw 0 0\n',
    'two/memory.max': `${700 * MIB}\n`,
    'two/memory.current': '0\n',
    'two/a/memory.max': `${500 * MIB}\n`,
    'two/a/memory.current': `${100 * MIB}\n`,
    'two/a/b/memory.max': 'max\n',
    'two/a/b/memory.current': '0\n',
  };
  t.is(availableMemory(folderOf(t, { ...files, 'self/cgroup': '0::/a/b\n' })), 400 * MIB);
  t.is(availableMemory(folderOf(t, { ...files, 'self/cgroup': '0::/docker/0815\n' })), 700 * MIB);
});
