import type { Problems } from './problems.js';

/** NUL and line ends in a value would reach a command line or a log as something else. */
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/;

/** Typed access to the top level of a domain file. What is wrong goes to `problems`, and a default takes its place. */
export class Fields {
  readonly #table: Readonly<Record<string, unknown>>;
  readonly #problems: Problems;

  constructor(table: Readonly<Record<string, unknown>>, problems: Problems) {
    this.#table = table;
    this.#problems = problems;
  }

  get(key: string): unknown {
    return Object.hasOwn(this.#table, key) ? this.#table[key] : undefined;
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  /** A string without control characters; undefined where the file has none. */
  text(key: string): string | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (typeof value === 'string' && !CONTROL_CHARACTER.test(value)) return value;
    this.#problems.add(key, value, 'a string in quotes, without control characters');
    return undefined;
  }

  /** An integer in [lowest, highest]; quoted ones count, as in xl. undefined where the file has none. */
  integer(key: string, lowest: number, highest: number, unit: string): number | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    const quoted = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
    const number = typeof value === 'number' ? value : quoted;
    if (number !== undefined && Number.isInteger(number) && number >= lowest && number <= highest) return number;
    this.#problems.add(key, value, `${lowest} to ${highest}${unit}`);
    return undefined;
  }

  /** True or false, as 1 or 0 too, as in xl; false where the file has none. */
  flag(key: string): boolean {
    const value = this.get(key);
    if (value === undefined || value === false || value === 0) return false;
    if (value === true || value === 1) return true;
    this.#problems.add(key, value, 'true or false');
    return false;
  }

  /** One of these words; the first where the file has none. */
  choice<T extends string>(key: string, words: readonly [T, ...T[]]): T {
    const value = this.get(key);
    if (value === undefined) return words[0];
    const found = words.find((word) => word === value);
    if (found === undefined) this.#problems.add(key, value, words.map((word) => `"${word}"`).join(', '));
    return found ?? words[0];
  }

  /** A list of at most `limit` strings; empty where the file has none. */
  list(key: string, limit: number): string[] {
    const value = this.get(key);
    if (value === undefined) return [];
    if (!Array.isArray(value) || value.length > limit) {
      this.#problems.add(key, value, `a list of at most ${limit} strings: ${key} = [ '...', '...' ]`);
      return [];
    }
    const strings: string[] = [];
    for (const [index, entry] of value.entries()) {
      if (typeof entry === 'string' && !CONTROL_CHARACTER.test(entry)) strings.push(entry);
      else this.#problems.add(`${key}[${index}]`, entry, 'a string in quotes, without control characters');
    }
    return strings;
  }
}
