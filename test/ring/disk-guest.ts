import type { Piece, SplitDriver, UsedEntry } from './driver.js';

/** Request types and answers of virtio-blk (virtio 1.2 section 5.2.6). */
export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;
export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;
export const SECTOR_BYTES = 512;

/** The status byte before the device has answered. */
const NO_STATUS = 0xee;
const HEADER_BYTES = 16;
const STATUS_OFFSET = 64;
const DATA_OFFSET = 4096;

/** A request that the device has. `status` is NO_STATUS until it has answered. */
export class DiskRequest {
  constructor(
    readonly head: number,
    readonly slot: Slot,
    readonly dataBytes: number,
  ) {}

  get status(): number {
    return this.slot.bytes.readUInt8(STATUS_OFFSET);
  }

  /** The request's data, where the guest sees it. */
  get data(): Buffer {
    return this.slot.bytes.subarray(DATA_OFFSET, DATA_OFFSET + this.dataBytes);
  }
}

interface Slot {
  readonly gpa: number;
  readonly bytes: Buffer;
}

/** A guest's disk driver: makes requests of a queue and collects their answers. */
export class DiskGuest {
  readonly #slots: Slot[];
  readonly #requests = new Map<number, DiskRequest>();

  constructor(
    readonly driver: SplitDriver,
    slotCount: number,
    readonly slotDataBytes = 64 * 1024,
  ) {
    const slotBytes = DATA_OFFSET + slotDataBytes;
    this.#slots = Array.from({ length: slotCount }, () => {
      const gpa = driver.ram.allocate(slotBytes, 4096);
      return { gpa, bytes: driver.ram.slice(gpa, slotBytes) };
    });
  }

  get inFlight(): number {
    return this.#requests.size;
  }

  get free(): number {
    return Math.min(this.#slots.length, Math.floor(this.driver.freeDescriptors / (this.driver.indirect ? 1 : 3)));
  }

  /**
   * Offers a request, without a kick. `data` is what the guest sends; `read` how many bytes it wants. `cut` cuts the data
   * into descriptors at these lengths (the last one takes the rest).
   */
  offer(
    type: number,
    sector: number,
    body: { data?: Uint8Array; read?: number; cut?: readonly number[] } = {},
  ): DiskRequest {
    const slot = this.#slots.pop();
    if (slot === undefined) throw new Error('the test has more in flight than slots');
    slot.bytes.writeUInt32LE(type, 0);
    slot.bytes.writeUInt32LE(0, 4);
    slot.bytes.writeBigUInt64LE(BigInt(sector), 8);
    slot.bytes.writeUInt8(NO_STATUS, STATUS_OFFSET);
    const dataBytes = body.data?.length ?? body.read ?? 0;
    if (body.data !== undefined) slot.bytes.set(body.data, DATA_OFFSET);
    else slot.bytes.fill(0xdd, DATA_OFFSET, DATA_OFFSET + dataBytes);
    const pieces = cutUp({ gpa: slot.gpa + DATA_OFFSET, length: dataBytes }, body.cut ?? []);
    const header = { gpa: slot.gpa, length: HEADER_BYTES };
    const status = { gpa: slot.gpa + STATUS_OFFSET, length: 1 };
    const head =
      body.data === undefined
        ? this.driver.add([header], [...pieces, status])
        : this.driver.add([header, ...pieces], [status]);
    const request = new DiskRequest(head, slot, dataBytes);
    this.#requests.set(head, request);
    return request;
  }

  /** The request that a used entry answers; its slot may be used again. */
  answered(entry: UsedEntry): DiskRequest {
    const request = this.#requests.get(entry.head);
    if (request === undefined) throw new Error(`the device answered head ${entry.head}, which is no request`);
    this.#requests.delete(entry.head);
    this.#slots.push(request.slot);
    return request;
  }

  /** Waits for `count` answers, in the device's order. */
  wait(count = 1): DiskRequest[] {
    return this.driver.wait(count).map((entry) => this.answered(entry));
  }

  /** One request from offer to answer; its data is a copy. */
  run(...request: Parameters<DiskGuest['offer']>): { status: number; data: Buffer; usedBytes: number } {
    const offered = this.offer(...request);
    this.driver.kick();
    const [entry] = this.driver.wait();
    if (entry!.head !== offered.head) throw new Error(`head ${entry!.head} came back instead of ${offered.head}`);
    const done = this.answered(entry!);
    return { status: done.status, data: Buffer.from(done.data), usedBytes: entry!.length };
  }

  read(
    sector: number,
    bytes: number,
    cut: readonly number[] = [],
  ): { status: number; data: Buffer; usedBytes: number } {
    return this.run(VIRTIO_BLK_T_IN, sector, { read: bytes, cut });
  }

  write(sector: number, data: Uint8Array, cut: readonly number[] = []): number {
    return this.run(VIRTIO_BLK_T_OUT, sector, { data, cut }).status;
  }

  flush(): number {
    return this.run(VIRTIO_BLK_T_FLUSH, 0).status;
  }

  discard(sector: number, sectors: number, flags = 0): number {
    return this.run(VIRTIO_BLK_T_DISCARD, 0, { data: range(sector, sectors, flags) }).status;
  }

  writeZeroes(sector: number, sectors: number, flags = 0): number {
    return this.run(VIRTIO_BLK_T_WRITE_ZEROES, 0, { data: range(sector, sectors, flags) }).status;
  }
}

/** struct virtio_blk_discard_write_zeroes. */
export function range(sector: number, sectors: number, flags: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt(sector), 0);
  bytes.writeUInt32LE(sectors, 8);
  bytes.writeUInt32LE(flags, 12);
  return bytes;
}

function cutUp(piece: Piece, lengths: readonly number[]): Piece[] {
  const pieces: Piece[] = [];
  let { gpa } = piece;
  const end = piece.gpa + piece.length;
  for (const length of [...lengths, Infinity]) {
    const part = Math.min(length, end - gpa);
    if (part > 0) pieces.push({ gpa, length: part });
    gpa += part;
  }
  return pieces;
}

/** `length` bytes that differ from one `seed` to the next and from one place to the next. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let i = 0; i + 4 <= length; i += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes.writeUInt32LE(state, i);
  }
  return bytes;
}
