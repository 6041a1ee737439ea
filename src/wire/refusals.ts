/** Who was turned away and why: so many are told one by one in each span of time, the rest as a number. */
export const REFUSALS_TOLD = 20;
export const REFUSALS_SPAN_MS = 10_000;

/** Keeps strangers who knock again and again from filling the log. */
export class Refusals {
  readonly #tell: (peer: string, why: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #told = 0;
  #untold = 0;

  constructor(tell: (peer: string, why: string) => void) {
    this.#tell = tell;
  }

  note(peer: string, why: string): void {
    this.#timer ??= setTimeout(() => {
      this.close();
    }, REFUSALS_SPAN_MS).unref();
    if (this.#told < REFUSALS_TOLD) {
      this.#told++;
      this.#tell(peer, why);
    } else {
      this.#untold++;
    }
  }

  /** Tells of those that were only counted; a new span begins with the next one. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#untold > 0) this.#tell('others', `${this.#untold} more connections were turned away in the same seconds`);
    this.#told = 0;
    this.#untold = 0;
  }
}
