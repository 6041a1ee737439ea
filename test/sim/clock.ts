/** What is to happen later. Cancelled ones stay in the heap and do nothing. */
export interface Appointment {
  readonly atMs: number;
  readonly order: number;
  act: (() => void) | undefined;
}

/** The world's time, which only the simulation knows: a heap of what is to happen. Same time: in the order it was asked for. */
export class Clock {
  nowMs = 0;
  readonly #heap: Appointment[] = [];
  #order = 0;

  after(delayMs: number, act: () => void): Appointment {
    return this.at(this.nowMs + delayMs, act);
  }

  at(atMs: number, act: () => void): Appointment {
    const appointment = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, act };
    const heap = this.#heap;
    let index = heap.length;
    heap.push(appointment);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(appointment, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = appointment;
    return appointment;
  }

  /** Lets the next thing happen; false when nothing is left before `untilMs`. */
  step(untilMs: number): boolean {
    const next = this.#heap[0];
    if (next === undefined || next.atMs > untilMs) return false;
    this.#removeFirst();
    this.nowMs = next.atMs;
    next.act?.();
    return true;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(one: Appointment, other: Appointment): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}
