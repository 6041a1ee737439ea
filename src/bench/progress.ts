const SECONDS_PER_MINUTE = 60;

/** Tells on stderr what is being done and about how long the rest will take. */
export class Progress {
  readonly #total: number;
  readonly #startMs = performance.now();
  #done = 0;

  /** `total` steps will come. */
  constructor(total: number) {
    this.#total = total;
  }

  step(what: string): void {
    const elapsedSeconds = (performance.now() - this.#startMs) / 1000;
    const left =
      this.#done === 0 ? '' : `, about ${duration((elapsedSeconds / this.#done) * (this.#total - this.#done))} left`;
    this.#done++;
    this.say(`[${this.#done}/${this.#total}${left}] ${what}`);
  }

  say(text: string): void {
    process.stderr.write(`bench: ${text}\n`);
  }
}

function duration(seconds: number): string {
  return seconds < SECONDS_PER_MINUTE ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / SECONDS_PER_MINUTE)} min`;
}
