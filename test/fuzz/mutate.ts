/** A small, fast, seeded generator (xorshift32): one number gives the whole run again. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state % limit;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

const LENGTH_LIMIT = 1 << 17;
const DIGITS = ['0', '-1', '1', '255', '65536', '2147483648', '9007199254740993', '1e308', '0.5'].map((text) =>
  Buffer.from(text),
);

type Mutation = (input: Buffer, chance: Chance, other: Buffer, words: readonly Buffer[]) => Buffer;

const splice = (input: Buffer, at: number, gone: number, add: Buffer): Buffer =>
  Buffer.concat([input.subarray(0, at), add, input.subarray(at + gone)]);

const MUTATIONS: readonly Mutation[] = [
  (input, chance) => {
    const changed = Buffer.from(input);
    if (changed.length > 0) changed[chance.below(changed.length)] = chance.below(256);
    return changed;
  },
  (input, chance) => splice(input, chance.below(input.length + 1), 1 + chance.below(16), Buffer.alloc(0)),
  (input, chance) => splice(input, chance.below(input.length + 1), 0, Buffer.of(chance.below(256))),
  (input, chance, _, words) => splice(input, chance.below(input.length + 1), 0, chance.of(words)),
  (input, chance, _, words) => splice(input, chance.below(input.length + 1), chance.below(12), chance.of(words)),
  (input, chance, other) => {
    const from = chance.below(other.length + 1);
    return splice(
      input,
      chance.below(input.length + 1),
      chance.below(32),
      other.subarray(from, from + chance.below(64)),
    );
  },
  (input, chance) => {
    // A number becomes another.
    const digits = [...input.toString('latin1').matchAll(/\d+/g)];
    if (digits.length === 0) return input;
    const found = chance.of(digits);
    return splice(input, found.index, found[0].length, chance.of(DIGITS));
  },
  (input, chance) => input.subarray(0, chance.below(input.length + 1)),
];

/** One to four mutations of an input; `other` gives parts of itself. */
export function mutate(input: Buffer, other: Buffer, words: readonly Buffer[], chance: Chance): Buffer {
  let changed = input;
  for (let count = 1 + chance.below(4); count > 0; count--) {
    changed = chance.of(MUTATIONS)(changed, chance, other, words);
  }
  return changed.length > LENGTH_LIMIT ? changed.subarray(0, LENGTH_LIMIT) : changed;
}
