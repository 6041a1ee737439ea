/**
 * An invariant of our own. When it does not hold the process must end: that is safe, because nothing unacknowledged
 * was released.
 */
export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${invariant}`);
}

/** The default branch of a switch over a closed union: reaching it is a mistake of ours. */
export function unreachable(value: never): never {
  throw new Error(`assertion failed: unexpected value ${JSON.stringify(value)}`);
}
