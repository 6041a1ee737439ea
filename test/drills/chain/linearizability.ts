/**
 * Whether what clients saw of one key could have happened one operation after the other, each at some moment between its
 * call and its answer (Herlihy and Wing, 1990). The search is Wing and Gong's, and remembers where it has been (Lowe, 2017).
 */

/** `result`: what was answered; undefined: no answer came, so that it may have happened at any time after the call, or never. */
export type Operation = {
  readonly calledAtMs: number;
  readonly answeredAtMs: number | undefined;
} & (
  | { readonly kind: 'set'; readonly value: number }
  /** `undefined` before an answer, `null` where the key does not exist. */
  | { readonly kind: 'get'; readonly result: number | null | undefined }
  /** Adds 1; a key that does not exist counts from 0. */
  | { readonly kind: 'increment'; readonly result: number | undefined }
);

export type Verdict = 'linearizable' | 'not-linearizable' | 'undecided';

/** Steps of the search: bounds its time. */
const STEP_LIMIT = 2_000_000;

type Value = number | null;

/** `undecided` only where the search grew too long. The key does not exist at the beginning. */
export function checkKey(history: readonly Operation[], stepLimit = STEP_LIMIT): Verdict {
  // Reads without an answer say nothing.
  const operations = history
    .filter(({ kind, answeredAtMs }) => kind !== 'get' || answeredAtMs !== undefined)
    .sort((one, other) => one.calledAtMs - other.calledAtMs);
  const seen = new Set<string>();
  const open: { readonly done: ReadonlySet<number>; readonly first: number; readonly value: Value }[] = [
    { done: new Set(), first: 0, value: null },
  ];
  for (let steps = 0; steps < stepLimit; steps += 1) {
    const place = open.pop();
    if (place === undefined) return 'not-linearizable';
    const { done, first, value } = place;
    const { candidates, finished } = nextOf(operations, done, first);
    if (finished) return 'linearizable';
    for (const index of candidates) {
      const after = apply(operations[index]!, value);
      if (after === undefined) continue;
      const next = advance(done, first, index, operations.length);
      const key = `${next.first} ${[...next.done].sort((a, b) => a - b).join(',')} ${after.value}`;
      if (seen.has(key)) continue;
      seen.add(key);
      open.push({ ...next, value: after.value });
    }
  }
  return 'undecided';
}

/** What may come next: what was called before the first answer that is still due. */
function nextOf(
  operations: readonly Operation[],
  done: ReadonlySet<number>,
  first: number,
): { candidates: number[]; finished: boolean } {
  const candidates: number[] = [];
  let firstAnswerMs = Infinity;
  for (let index = first; index < operations.length; index += 1) {
    const { calledAtMs, answeredAtMs } = operations[index]!;
    if (calledAtMs > firstAnswerMs) break;
    if (done.has(index)) continue;
    candidates.push(index);
    firstAnswerMs = Math.min(firstAnswerMs, answeredAtMs ?? Infinity);
  }
  // What never was answered need not have happened.
  const finished = candidates.every((index) => operations[index]!.answeredAtMs === undefined);
  return { candidates: candidates.filter((index) => operations[index]!.calledAtMs <= firstAnswerMs), finished };
}

/** Everything below `first` is done; `done` has what is done above it. */
function advance(
  done: ReadonlySet<number>,
  first: number,
  index: number,
  count: number,
): { done: ReadonlySet<number>; first: number } {
  const after = new Set(done).add(index);
  let lowest = first;
  while (lowest < count && after.delete(lowest)) lowest += 1;
  return { done: after, first: lowest };
}

/** The value after it; undefined when it cannot have been answered so. */
function apply(operation: Operation, value: Value): { readonly value: Value } | undefined {
  switch (operation.kind) {
    case 'set':
      return { value: operation.value };
    case 'get':
      return operation.result === value ? { value } : undefined;
    case 'increment': {
      const after = (value ?? 0) + 1;
      return operation.result === undefined || operation.result === after ? { value: after } : undefined;
    }
  }
}
