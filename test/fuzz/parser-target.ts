/** What the fuzzer of TypeScript's parsers needs to know of one of them. */
export interface ParserTarget {
  /** Inputs that are right: where mutation starts. */
  readonly seeds: readonly string[];
  /** Words of the language, which chance would not find. */
  readonly words: readonly string[];
  /**
   * Tries one input. Returns what came of it in words; an input with an outcome that was never seen is kept and mutated
   * further. Throws when a promise is broken: that is a finding.
   */
  tryOne(input: Buffer): string;
}
