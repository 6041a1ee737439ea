/** What the demo tells a person: steps as they happen, then each claim with what was found. */
export class Report {
  readonly #startedAt = performance.now();
  #failed = 0;

  step(text: string): void {
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1).padStart(5);
    process.stdout.write(`${seconds} s  ${text}\n`);
  }

  /** Says every two seconds that this is still going on. */
  async during<Result>(what: string, work: Promise<Result>): Promise<Result> {
    const timer = setInterval(() => {
      this.step(`... ${what}`);
    }, 2_000);
    try {
      return await work;
    } finally {
      clearInterval(timer);
    }
  }

  /** Prints what a program said, indented. */
  quote(text: string): void {
    for (const line of text.trimEnd().split('\n')) process.stdout.write(`           ${line}\n`);
  }

  /** A claim that was checked. */
  claim(text: string, holds: boolean, found: string): void {
    if (!holds) this.#failed += 1;
    process.stdout.write(`         ${holds ? 'ok  ' : 'FAIL'} ${text}: ${found}\n`);
  }

  /** Whether every claim held. */
  get verified(): boolean {
    return this.#failed === 0;
  }
}
