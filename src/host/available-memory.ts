import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const BYTES_PER_KIB = 1024;

/** A kind of control group, by the names of its files (cgroups(7); memory.rst of the kernel's documentation). */
interface Hierarchy {
  readonly type: 'cgroup' | 'cgroup2';
  /** Of its line in /proc/PID/cgroup: what stands between the colons. */
  readonly controller: 'memory' | '';
  readonly limit: string;
  readonly usage: string;
  /** In memory.stat: what is used and can be had back at once. */
  readonly reclaimable: string;
}

const HIERARCHIES: readonly Hierarchy[] = [
  {
    ...{ type: 'cgroup', controller: 'memory', limit: 'memory.limit_in_bytes', usage: 'memory.usage_in_bytes' },
    reclaimable: 'total_inactive_file',
  },
  {
    ...{ type: 'cgroup2', controller: '', limit: 'memory.max', usage: 'memory.current' },
    reclaimable: 'inactive_file',
  },
];

/**
 * Bytes that this process, and what it starts, can still have without swapping: what the host has (MemAvailable, proc(5)), or
 * what the control groups that it is in leave of that. Infinite where neither is known.
 */
export function availableMemory(proc = '/proc'): number {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync(join(proc, 'meminfo'), 'latin1'))?.[1];
  const host = kib === undefined ? Number.POSITIVE_INFINITY : Number(kib) * BYTES_PER_KIB;
  return Math.min(host, ...HIERARCHIES.flatMap((hierarchy) => leftInGroups(proc, hierarchy)));
}

/** What the process's group and each above it have left. */
function leftInGroups(proc: string, hierarchy: Hierarchy): number[] {
  const top = mountPoint(proc, hierarchy);
  const [, path] = new RegExp(`^\\d+:${hierarchy.controller}:(/.*)$`, 'm').exec(read(join(proc, 'self/cgroup'))) ?? [];
  if (top === undefined || path === undefined) return [];
  // Within a container the path may be that of the host, which is not to be seen.
  let group = existsSync(join(top, path)) ? join(top, path) : top;
  const left: number[] = [];
  for (; group.startsWith(top); group = dirname(group)) left.push(leftIn(group, hierarchy));
  return left.filter((bytes) => !Number.isNaN(bytes));
}

function mountPoint(proc: string, { type, controller }: Hierarchy): string | undefined {
  return read(join(proc, 'self/mounts'))
    .split('\n')
    .map((mount) => mount.split(' '))
    .find(
      ([, , kind, options]) => kind === type && (controller === '' || options?.split(',').includes(controller)),
    )?.[1];
}

/** NaN where there is no limit. */
function leftIn(group: string, { limit, usage, reclaimable }: Hierarchy): number {
  const inactive = Number(new RegExp(`^${reclaimable} (\\d+)$`, 'm').exec(read(join(group, 'memory.stat')))?.[1] ?? 0);
  const most = read(join(group, limit)).trim();
  return most === '' ? NaN : Math.max(0, Number(most) - Number(read(join(group, usage))) + inactive);
}

/** Empty for what is not there: not every kernel has every hierarchy, and the topmost group has no limit. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
