import { KemariError } from '../base/errors.js';
import { printError } from './output.js';

/** Ctrl-C, `kill`, and the end of the terminal. */
const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * What a signal does to a command: it ends at once, unless the verb has something to take back or to leave in order and
 * has said so by `take`. A second signal ends it in any case.
 */
export class Interrupt {
  readonly #controller = new AbortController();
  readonly #json: boolean;
  #taken = false;

  constructor(json: boolean) {
    this.#json = json;
    for (const signal of ENDING_SIGNALS) {
      process.on(signal, () => {
        if (this.#taken && !this.#controller.signal.aborted) this.#controller.abort();
        else process.exit(printError(new KemariError('KEMARI_INTERRUPTED', `ended by ${signal}`), this.#json));
      });
    }
  }

  /** From now on the caller ends in order when this is aborted. */
  take(): AbortSignal {
    this.#taken = true;
    return this.#controller.signal;
  }
}
