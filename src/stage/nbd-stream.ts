/** What one NBD client says on its connection, newstyle, no TLS (the NBD protocol: Fixed newstyle negotiation, Transmission). */

const CLIENT_FLAGS_BYTES = 4;
/** The first half of `IHAVEOPT`. */
const OPTION_MAGIC = 0x49484156;
const OPTION_HEADER_BYTES = 16;
const OPTION_LENGTH_OFFSET = 12;
const REQUEST_MAGIC = 0x25609513;
const REQUEST_BYTES = 28;
const MAGIC_BYTES = 4;

const COMMANDS = { 1: 'w', 3: 'f', 4: 'd', 6: 'z' } as const;

/** A request that changes what storage holds, or flushes it: a write, a flush, a discard, zeroes. */
export interface NbdChange {
  readonly kind: 'w' | 'f' | 'd' | 'z';
  /** In bytes; 0 of a flush. */
  readonly offset: number;
  readonly length: number;
}

/** Reads a client's bytes as they come. */
export class NbdStream {
  readonly #onChange: (change: NbdChange, atMs: number) => void;
  #unread = Buffer.alloc(0);
  #greeted = false;
  /** Bytes of a write that were not seen yet. */
  #skipBytes = 0;

  constructor(onChange: (change: NbdChange, atMs: number) => void) {
    this.#onChange = onChange;
  }

  /** `atMs`: when they were seen. Errors: RangeError for what no client says. */
  push(bytes: Buffer, atMs: number): void {
    const skipped = Math.min(this.#skipBytes, bytes.length);
    this.#skipBytes -= skipped;
    this.#unread = Buffer.concat([this.#unread, bytes.subarray(skipped)]);
    while (this.#take(atMs));
  }

  /** Takes one message, if all of it is there. */
  #take(atMs: number): boolean {
    if (!this.#greeted) {
      if (!this.#has(CLIENT_FLAGS_BYTES)) return false;
      this.#drop(CLIENT_FLAGS_BYTES);
      this.#greeted = true;
    }
    if (!this.#has(MAGIC_BYTES)) return false;
    const magic = this.#unread.readUInt32BE(0);
    if (magic === OPTION_MAGIC) {
      if (!this.#has(OPTION_HEADER_BYTES)) return false;
      const length = OPTION_HEADER_BYTES + this.#unread.readUInt32BE(OPTION_LENGTH_OFFSET);
      if (!this.#has(length)) return false;
      this.#drop(length);
      return true;
    }
    if (magic !== REQUEST_MAGIC) throw new RangeError(`an NBD client said 0x${magic.toString(16)}`);
    if (!this.#has(REQUEST_BYTES)) return false;
    const command = this.#unread.readUInt16BE(6);
    const change = { offset: Number(this.#unread.readBigUInt64BE(16)), length: this.#unread.readUInt32BE(24) };
    this.#drop(REQUEST_BYTES);
    const kind = COMMANDS[command as keyof typeof COMMANDS] as NbdChange['kind'] | undefined;
    if (kind === 'w') {
      this.#skipBytes = Math.max(0, change.length - this.#unread.length);
      this.#drop(Math.min(change.length, this.#unread.length));
    }
    if (kind !== undefined) this.#onChange({ kind, ...change }, atMs);
    return true;
  }

  #has(bytes: number): boolean {
    return this.#unread.length >= bytes;
  }

  #drop(bytes: number): void {
    this.#unread = this.#unread.subarray(bytes);
  }
}
