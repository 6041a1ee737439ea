import type { EpochRecord } from '../../host/epoch-record.js';

/** Epochs that are kept: what fits into one reply, and some seconds of the fastest. */
export const TRACE_EPOCHS = 1500;

/** The last epochs that were released, oldest first. */
export class EpochTrace {
  readonly #records: EpochRecord[] = [];
  #next = 0;

  add(record: EpochRecord): void {
    this.#records[this.#next] = record;
    this.#next = (this.#next + 1) % TRACE_EPOCHS;
  }

  read(): readonly EpochRecord[] {
    return [...this.#records.slice(this.#next), ...this.#records.slice(0, this.#next)];
  }
}
