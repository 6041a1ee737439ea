/** What takes less is not worth a line. */
const QUIET_MS = 2_000;

/** How often a step that goes on is told again. */
const REPEAT_MS = 5_000;

/** Tells on stderr what is being done, once it takes longer than two seconds. */
export class Progress {
  readonly #startedAtMs = performance.now();
  readonly #write: (line: string) => void;
  #step = '';
  #timer: NodeJS.Timeout;

  constructor(write: (line: string) => void = (line) => process.stderr.write(line)) {
    this.#write = write;
    this.#timer = setTimeout(() => {
      this.#tell();
    }, QUIET_MS);
  }

  /** The step that begins now, in words: "starting QEMU". */
  step(text: string): void {
    this.#step = text;
    if (performance.now() - this.#startedAtMs >= QUIET_MS) this.#tell();
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #tell(): void {
    const seconds = Math.round((performance.now() - this.#startedAtMs) / 1000);
    this.#write(`kemari: ${this.#step} (${seconds} s)\n`);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#tell();
    }, REPEAT_MS);
  }
}
