import { closeSync } from 'node:fs';
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { unprivileged, type Privileges } from './privileges.js';

/** The first descriptor that a child inherits besides stdin, stdout and stderr. */
const FIRST_INHERITED_FD = 3;

/** Descriptors for a process that is to be spawned; they belong to this until it was. */
export class InheritedFds {
  readonly #fds: number[] = [];
  #closed = false;

  /** Takes over one of ours; returns the number under which the child will find it. */
  give(fd: number): number {
    this.#fds.push(fd);
    return FIRST_INHERITED_FD + this.#fds.length - 1;
  }

  get all(): readonly number[] {
    return this.#fds;
  }

  /** Closes our copies. Idempotent. */
  closeOurs(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const fd of this.#fds) closeSync(fd);
  }
}

export interface QemuExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface QemuProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Fulfilled when the process is gone and all it printed was read. */
  readonly exited: Promise<QemuExit>;
}

export interface SpawnOptions {
  readonly command: readonly string[];
  readonly privileges: Privileges;
  readonly fds: InheritedFds;
  readonly onOutput: (line: string) => void;
}

/**
 * Starts QEMU without privileges, dying with us. It sees the inherited descriptors and an almost empty environment.
 *
 * Errors: that of the spawn (`ENOENT`: no setpriv).
 */
export async function spawnQemu(options: SpawnOptions): Promise<QemuProcess> {
  const [program = '', ...args] = unprivileged(options.privileges, process.pid, options.command);
  const child = spawn(program, args, {
    cwd: '/',
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe', ...options.fds.all],
  });
  const exited = new Promise<QemuExit>((resolve) => {
    child.once('close', (code, signal) => {
      resolve({ code, signal });
    });
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  for (const stream of [child.stdout, child.stderr]) {
    if (stream !== null) createInterface({ input: stream }).on('line', options.onOutput);
  }
  return { child, pid: child.pid ?? 0, exited };
}
