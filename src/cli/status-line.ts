/** Where a live line is shown: a terminal, or something that keeps what it is given. */
export interface StatusOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Without a terminal a line a second would fill a log: one is written this often. */
const PLAIN_INTERVAL_MS = 10_000;

const CLEAR_LINE = '\r\u001b[K';
const DEFAULT_COLUMNS = 80;

/**
 * One line that is kept up to date, with lines that stay above it. Without a terminal the line is written now and then
 * instead.
 */
export class StatusLine {
  readonly #output: StatusOutput;
  readonly #now: () => number;
  #shown = '';
  #writtenAtMs = -Infinity;

  constructor(output: StatusOutput, now: () => number = () => performance.now()) {
    this.#output = output;
    this.#now = now;
  }

  /** Replaces the line. */
  show(text: string): void {
    if (this.#output.isTTY === true) {
      this.#shown = text.slice(0, (this.#output.columns ?? DEFAULT_COLUMNS) - 1);
      this.#output.write(`${CLEAR_LINE}${this.#shown}`);
      return;
    }
    if (this.#now() - this.#writtenAtMs < PLAIN_INTERVAL_MS) return;
    this.#writtenAtMs = this.#now();
    this.#output.write(`${text}\n`);
  }

  /** Writes a line that stays. */
  tell(text: string): void {
    if (this.#output.isTTY !== true) {
      this.#output.write(`${text}\n`);
      return;
    }
    this.#output.write(`${CLEAR_LINE}${text}\n${this.#shown}`);
  }

  /** Leaves nothing half. */
  end(): void {
    if (this.#output.isTTY === true && this.#shown !== '') this.#output.write(CLEAR_LINE);
    this.#shown = '';
  }
}
