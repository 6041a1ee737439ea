/** Something that was checked. */
export interface Claim {
  readonly text: string;
  readonly holds: boolean;
  readonly found: string;
}

const STILL_EVERY_MS = 2_000;

/** What a demonstration tells a person: steps as they happen, each claim with what was found. */
export class Report {
  readonly claims: Claim[] = [];
  readonly #startedAt = performance.now();
  readonly #print: (line: string) => void;

  /** `print` gets each line without its end; a report for programs prints nothing meanwhile. */
  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  step(text: string): void {
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1).padStart(5);
    this.#print(`${seconds} s  ${text}`);
  }

  /** Says every two seconds that this is still going on. */
  async during<Result>(what: string, work: Promise<Result>): Promise<Result> {
    const timer = setInterval(() => {
      this.step(`... ${what}`);
    }, STILL_EVERY_MS);
    try {
      return await work;
    } finally {
      clearInterval(timer);
    }
  }

  /** Prints what a program said, indented. */
  quote(text: string): void {
    for (const line of text.trimEnd().split('\n')) this.#print(`           ${line}`);
  }

  claim(text: string, holds: boolean, found: string): void {
    this.claims.push({ text, holds, found });
    this.#print(`         ${holds ? 'ok  ' : 'FAIL'} ${text}: ${found}`);
  }

  /** Whether something was claimed and every claim held. */
  get verified(): boolean {
    return this.claims.length > 0 && this.claims.every(({ holds }) => holds);
  }
}
