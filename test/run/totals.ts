/** What a whole run came to. */
export class Totals {
  passed = 0;
  readonly failures: string[] = [];
  readonly skips: string[] = [];
  /** Passed, but only when they were tried a second time. */
  readonly unsteady: string[] = [];
  /** Of how many files tests were tried a second time. */
  secondTries = 0;

  /** 0 when something ran and nothing failed. */
  get exitCode(): number {
    return this.failures.length === 0 && this.passed > 0 ? 0 : 1;
  }

  /** What was unsteady, what failed and what was skipped by name, then the counts alone on the last line. */
  lines(): string[] {
    const counts = `${this.passed} passed, ${this.failures.length} failed`;
    return [
      ...this.skips.map((title) => `skipped: ${title}`),
      ...this.unsteady.map((title) => `unsteady, passed the second time: ${title}`),
      ...this.failures.map((title) => `failed: ${title}`),
      this.skips.length === 0 ? counts : `${counts}, ${this.skips.length} skipped`,
    ];
  }
}
