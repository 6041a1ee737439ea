import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { messageOf } from '../../src/base/errors.js';
import { waitUntil } from '../../src/base/deadline.js';

const EMPTY_TIMEOUT_MS = 10_000;

let next = 0;

/** A memory control group of the kernel's first hierarchy (cgroups(7)), whose limit is what a small host would have. */
export class MemoryGroup {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** A string says why there can be none here. It is removed with the test, once the processes in it have ended. */
  static make(t: ExecutionContext): MemoryGroup | string {
    const mounts = readFileSync('/proc/self/mounts', 'latin1').split('\n');
    const top = mounts.map((line) => line.split(' ')).find((mount) => mount[3]?.split(',').includes('memory'))?.[1];
    if (top === undefined) return 'this kernel has no memory control groups of the first hierarchy';
    const group = new MemoryGroup(join(top, `kemari-test-${process.pid}-${(next += 1)}`));
    try {
      mkdirSync(group.#folder);
    } catch (error) {
      return `no memory control group can be made here: ${messageOf(error)}`;
    }
    t.teardown(() => group.#remove());
    return group;
  }

  /** What the process takes from now on counts, and what it starts is in the group as well. */
  add(pid: number): void {
    writeFileSync(join(this.#folder, 'cgroup.procs'), String(pid));
  }

  set limitBytes(bytes: number) {
    writeFileSync(join(this.#folder, 'memory.limit_in_bytes'), String(bytes));
  }

  /** Processes that the kernel has killed for want of memory. */
  get killed(): number {
    const text = readFileSync(join(this.#folder, 'memory.oom_control'), 'latin1');
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? NaN);
  }

  async #remove(): Promise<void> {
    const empty = (): boolean => readFileSync(join(this.#folder, 'cgroup.procs'), 'latin1') === '';
    await waitUntil(empty, { timeoutMs: EMPTY_TIMEOUT_MS });
    rmdirSync(this.#folder);
  }
}
