import { once } from 'node:events';
import { messageOf } from '../base/errors.js';

/**
 * What must be taken down again, newest first, after success, failure or Ctrl-C. Once it ran, whatever is still being
 * set up is taken down as soon as it is deferred, and its maker is stopped by the error.
 */
export class Undo {
  readonly #steps: { readonly what: string; readonly action: () => unknown }[] = [];
  #running: Promise<void> | undefined;
  /** Of what was deferred too late. */
  readonly #late: Promise<void>[] = [];

  defer(what: string, action: () => unknown): void {
    if (this.#running !== undefined) {
      this.#late.push(attempt(what, action));
      throw new Error(`interrupted: ${what} was taken down at once`);
    }
    this.#steps.push({ what, action });
  }

  /** Takes everything down; a step that fails is reported and does not keep the others from running. Idempotent. */
  async run(): Promise<void> {
    this.#running ??= this.#runAll();
    await this.#running;
    await Promise.all(this.#late);
  }

  async #runAll(): Promise<void> {
    for (const { what, action } of this.#steps.toReversed()) await attempt(what, action);
  }
}

async function attempt(what: string, action: () => unknown): Promise<void> {
  try {
    await action();
  } catch (error) {
    process.stderr.write(`bench: could not take down ${what}: ${messageOf(error)}\n`);
  }
}

/** Does something until it is done or aborted: then this resolves at once. Whatever was deferred is taken down before. */
export async function untilAborted(signal: AbortSignal, body: (undo: Undo) => Promise<void>): Promise<void> {
  const undo = new Undo();
  const run = body(undo);
  try {
    await Promise.race([run, once(signal, 'abort')]);
  } finally {
    await undo.run();
    // Without what it stands on it ends, and soon.
    await run.catch(() => undefined);
    await undo.run();
  }
}
