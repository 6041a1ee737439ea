/** The head of a ring, before its entries (xen/include/public/io/ring.h). */
const HEAD_BYTES = 64;
const PAGE_BYTES = 4096;

/** What a test's back-end has in common, whatever its requests mean. */
export interface RingBack {
  readonly ring: Buffer;
  readonly pages: Buffer;
  start(base?: number): void;
}

export interface RingLayout {
  readonly entries: number;
  readonly entryBytes: number;
}

/** The driver's side of a ring of Xen's in one page, well-behaved or not. Its indexes begin at `at`. */
export class RingDriver<Back extends RingBack> {
  readonly back: Back;
  readonly #layout: RingLayout;
  protected produced: number;
  protected consumed: number;

  constructor(back: Back, layout: RingLayout, at: number) {
    this.back = back;
    this.#layout = layout;
    this.produced = this.consumed = at >>> 0;
    this.#set(0, at);
    this.#set(8, at);
    this.askForCall();
    this.back.start(at & 0xffff);
  }

  page(ref: number): Buffer {
    return this.back.pages.subarray(ref * PAGE_BYTES, (ref + 1) * PAGE_BYTES);
  }

  get requestEvent(): number {
    return this.back.ring.readUInt32LE(4);
  }

  /** Wants to be called when this many answers more are there. */
  askForCall(after = 1): void {
    this.#set(12, this.consumed + after);
  }

  /** Offers `count` entries more, whatever is in them. */
  produce(count = 1): void {
    this.produced = (this.produced + count) >>> 0;
    this.#set(0, this.produced);
  }

  /** Where the entry of an index lies. */
  protected place(index: number): Buffer {
    const { entries, entryBytes } = this.#layout;
    const at = HEAD_BYTES + (index % entries) * entryBytes;
    return this.back.ring.subarray(at, at + entryBytes);
  }

  /** The entries that were answered since the last time, up to what is answered as it begins. */
  protected *answered(): Generator<Buffer> {
    for (const end = this.back.ring.readUInt32LE(8); this.consumed !== end;) {
      yield this.place(this.consumed);
      this.consumed = (this.consumed + 1) >>> 0;
    }
  }

  #set(offset: number, value: number): void {
    this.back.ring.writeUInt32LE(value >>> 0, offset);
  }
}
