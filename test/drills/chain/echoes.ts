/** What came back of numbered messages that may get lost, counted from 1 in the order of sending. */
export class Echoes {
  /** When each answer came, milliseconds of Unix time. */
  readonly arrivalsMs: number[] = [];
  readonly #answered = new Set<number>();
  #sent = 0;
  #newest = 0;
  #late = 0;
  #doubled = 0;
  #strange = 0;

  /** The number of the next message. */
  next(): number {
    return (this.#sent += 1);
  }

  /** `number` undefined: it is no answer to what was sent. */
  heard(number: number | undefined, atMs: number): void {
    if (number === undefined || number < 1 || number > this.#sent) {
      this.#strange += 1;
      return;
    }
    if (this.#answered.has(number)) {
      this.#doubled += 1;
      return;
    }
    this.#answered.add(number);
    this.arrivalsMs.push(atMs);
    if (number < this.#newest) this.#late += 1;
    this.#newest = Math.max(this.#newest, number);
  }

  get answered(): number {
    return this.#answered.size;
  }

  get allAnswered(): boolean {
    return this.#answered.size === this.#sent;
  }

  counts(): EchoCounts {
    const lost = this.#sent - this.#answered.size;
    return { sent: this.#sent, lost, late: this.#late, doubled: this.#doubled, strange: this.#strange };
  }
}

export interface EchoCounts {
  readonly sent: number;
  /** Never answered. */
  readonly lost: number;
  /** Answered after one that was sent later. */
  readonly late: number;
  /** Answers to what was answered already. */
  readonly doubled: number;
  /** Answers to what was never sent. */
  readonly strange: number;
}
