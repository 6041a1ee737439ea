import { KemariError } from '../base/errors.js';

/** The longest text in a message: a kernel's command line has 4096 bytes at most. */
const TEXT_LIMIT_LETTERS = 8192;

/** A JSON object that the peer sent, read key by key; whatever is missing or of another kind is a `KEMARI_PEER_PROTOCOL`. */
export class Shape {
  readonly #path: string;
  readonly #value: Readonly<Record<string, unknown>>;

  private constructor(path: string, value: Readonly<Record<string, unknown>>) {
    this.#path = path;
    this.#value = value;
  }

  static of(path: string, value: unknown): Shape {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(path, value, 'an object');
    return new Shape(path, value as Readonly<Record<string, unknown>>);
  }

  /** The value of a key that `accepts`; `expected` says in words what that is. */
  checked<T>(key: string, accepts: (value: unknown) => value is T, expected: string): T {
    const value = this.#get(key);
    if (!accepts(value)) refuse(`${this.#path}.${key}`, value, expected);
    return value;
  }

  text(key: string): string {
    return this.checked(key, isText, `a text of at most ${TEXT_LIMIT_LETTERS} letters`);
  }

  /** Undefined and null are the same to JSON. */
  optionalText(key: string): string | undefined {
    return this.#get(key) === undefined ? undefined : this.text(key);
  }

  flag(key: string): boolean {
    return this.checked(key, (value) => typeof value === 'boolean', 'true or false');
  }

  /** An integer in [low, high]. */
  integer(key: string, low: number, high: number): number {
    const inRange = (value: unknown): value is number =>
      Number.isSafeInteger(value) && (value as number) >= low && (value as number) <= high;
    return this.checked(key, inRange, `an integer from ${low} to ${high}`);
  }

  oneOf<T extends string>(key: string, words: readonly T[]): T {
    const isWord = (value: unknown): value is T => (words as readonly unknown[]).includes(value);
    return this.checked(key, isWord, words.join(' or '));
  }

  inner(key: string): Shape {
    return Shape.of(`${this.#path}.${key}`, this.#get(key));
  }

  list(key: string, limit: number): Shape[] {
    return this.#array(key, limit).map((value, index) => Shape.of(`${this.#path}.${key}[${index}]`, value));
  }

  texts(key: string, limit: number): string[] {
    return this.#array(key, limit).map((value, index) =>
      isText(value) ? value : refuse(`${this.#path}.${key}[${index}]`, value, 'a text'),
    );
  }

  #array(key: string, limit: number): readonly unknown[] {
    const isList = (value: unknown): value is unknown[] => Array.isArray(value) && value.length <= limit;
    return this.checked(key, isList, `a list of at most ${limit}`);
  }

  #get(key: string): unknown {
    return Object.hasOwn(this.#value, key) ? (this.#value[key] ?? undefined) : undefined;
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_LIMIT_LETTERS;
}

function refuse(path: string, value: unknown, expected: string): never {
  const found = JSON.stringify(value ?? null).slice(0, 100);
  throw new KemariError('KEMARI_PEER_PROTOCOL', `${path}: found ${found}, expected ${expected}`);
}
