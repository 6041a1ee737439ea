import { closeSync } from 'node:fs';
import { messageOf } from '../../base/errors.js';
import type { RestoreProcess } from './restore-process.js';

/** How long a primary that was accepted may take to connect stream and lease. */
export const LINK_TIMEOUT_MS = 10_000;

interface Waiting {
  readonly restore: RestoreProcess;
  readonly missing: Set<'stream' | 'lease'>;
  readonly timer: NodeJS.Timeout;
}

/** Accepted protections whose stream and lease connections have not both come, by token. */
export class Protections {
  readonly #waiting = new Map<string, Waiting>();
  readonly #log: (text: string) => void;

  constructor(log: (text: string) => void) {
    this.#log = log;
  }

  expect(token: string, restore: RestoreProcess): void {
    const timer = setTimeout(() => {
      this.#log(`an accepted primary did not connect within ${LINK_TIMEOUT_MS} ms`);
      this.#forget(token);
    }, LINK_TIMEOUT_MS);
    this.#waiting.set(token, { restore, missing: new Set(['stream', 'lease']), timer });
  }

  /** Takes a connection if it is one that is waited for; the descriptor is closed then. */
  link(kind: 'stream' | 'lease', token: string, fd: number): boolean {
    const waiting = this.#waiting.get(token);
    if (waiting?.missing.delete(kind) !== true) return false;
    try {
      waiting.restore.link(kind, fd);
      if (waiting.missing.size === 0) this.#forget(token);
    } catch (error) {
      this.#log(`the restore process has gone: ${messageOf(error)}`);
      this.#forget(token);
    }
    closeSync(fd);
    return true;
  }

  close(): void {
    for (const token of this.#waiting.keys()) this.#forget(token);
  }

  #forget(token: string): void {
    const waiting = this.#waiting.get(token);
    if (waiting === undefined) return;
    clearTimeout(waiting.timer);
    this.#waiting.delete(token);
    waiting.restore.close();
  }
}
