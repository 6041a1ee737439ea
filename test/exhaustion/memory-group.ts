import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { waitUntil } from '../../src/base/deadline.js';

const EMPTY_TIMEOUT_MS = 10_000;

/** Files of a kind of control group (cgroups(7)), by what they are for. */
interface Hierarchy {
  readonly top: string;
  readonly limit: string;
  readonly events: string;
  /** Set to 0: what finds no room is not swapped out instead. */
  readonly swap: string;
}

/** The first or the second hierarchy, whichever has the memory controller; undefined: no group can be made here. */
function hierarchyHere(): Hierarchy | undefined {
  const mounts = readFileSync('/proc/self/mounts', 'latin1')
    .split('\n')
    .map((line) => line.split(' '));
  for (const [, top = '', type, options = ''] of mounts) {
    const first = type === 'cgroup' && options.split(',').includes('memory');
    if (!first && !(type === 'cgroup2' && hasMemory(top))) continue;
    const files = first
      ? { limit: 'memory.limit_in_bytes', events: 'memory.oom_control', swap: 'memory.swappiness' }
      : { limit: 'memory.max', events: 'memory.events', swap: 'memory.swap.max' };
    if (canMake(top)) return { top, ...files };
  }
  return undefined;
}

/** Whether groups below this one of the second hierarchy have the memory controller; it is turned on where it can be. */
function hasMemory(top: string): boolean {
  try {
    writeFileSync(join(top, 'cgroup.subtree_control'), '+memory');
    return true;
  } catch {
    return false; // it is not there, not ours, or the group has processes of its own
  }
}

function canMake(top: string): boolean {
  const folder = join(top, `kemari-probe-${process.pid}`);
  try {
    mkdirSync(folder);
    rmdirSync(folder);
    return true;
  } catch {
    return false; // not ours, or read-only
  }
}

const HIERARCHY = hierarchyHere();

/** What is missing for tests with a memory control group, for the title of a skipped one; undefined when nothing is. */
export const MEMORY_GROUP_MISSING =
  HIERARCHY === undefined ? 'a memory control group that can be made here' : undefined;

let next = 0;

/** A memory control group, whose limit is what a small host would have. */
export class MemoryGroup {
  readonly #hierarchy: Hierarchy;
  readonly #folder: string;

  private constructor(hierarchy: Hierarchy) {
    this.#hierarchy = hierarchy;
    this.#folder = join(hierarchy.top, `kemari-test-${process.pid}-${(next += 1)}`);
  }

  /** It is removed with the test, once the processes in it have ended. Only where none is missing. */
  static make(t: ExecutionContext): MemoryGroup {
    if (HIERARCHY === undefined) throw new Error(`this needs ${MEMORY_GROUP_MISSING}`);
    const group = new MemoryGroup(HIERARCHY);
    mkdirSync(group.#folder);
    t.teardown(() => group.#remove());
    const swap = join(group.#folder, HIERARCHY.swap);
    if (existsSync(swap)) writeFileSync(swap, '0');
    return group;
  }

  /** What the process takes from now on counts, and what it starts is in the group as well. */
  add(pid: number): void {
    writeFileSync(join(this.#folder, 'cgroup.procs'), String(pid));
  }

  set limitBytes(bytes: number) {
    writeFileSync(join(this.#folder, this.#hierarchy.limit), String(bytes));
  }

  /** Processes that the kernel has killed for want of memory. */
  get killed(): number {
    const text = readFileSync(join(this.#folder, this.#hierarchy.events), 'latin1');
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? NaN);
  }

  async #remove(): Promise<void> {
    const empty = (): boolean => readFileSync(join(this.#folder, 'cgroup.procs'), 'latin1') === '';
    await waitUntil(empty, { timeoutMs: EMPTY_TIMEOUT_MS });
    rmdirSync(this.#folder);
  }
}
