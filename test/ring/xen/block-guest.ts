import { testing, type BlkifRequest, type BlkifRing } from '../../native/testing.js';
import { RingDriver } from './ring-driver.js';

/** Operations and answers (xen/include/public/io/blkif.h). */
export const Blkif = { READ: 0, WRITE: 1, WRITE_BARRIER: 2, FLUSH: 3, DISCARD: 5, INDIRECT: 6 } as const;
export const OKAY = 0;
export const ERROR = -1;
export const EOPNOTSUPP = -2;

/** Entries of a ring of one page. */
export const ENTRIES = 32;
const ENTRY_BYTES = 112;

/** Sectors [first, last] of a granted page. */
export type BlkifSegment = readonly [ref: number, first: number, last: number];

export interface BlkifAnswer {
  readonly id: bigint;
  readonly operation: number;
  readonly status: number;
}

/** The driver's side of a block ring of Xen's: plays blkfront, well-behaved or not. */
export class BlockGuest extends RingDriver<BlkifRing> {
  constructor(pages = 16, at = 0) {
    super(new testing.BlkifRing(pages), { entries: ENTRIES, entryBytes: ENTRY_BYTES }, at);
  }

  offerTransfer(operation: number, id: bigint, sector: bigint, segments: readonly BlkifSegment[]): void {
    const entry = this.entry(operation, id, sector);
    entry.writeUInt8(segments.length, 1);
    segments.slice(0, 11).forEach((segment, position) => {
      writeSegment(entry, 24 + 8 * position, segment);
    });
    this.produce();
  }

  offerIndirect(operation: number, id: bigint, sector: bigint, table: number, segments: readonly BlkifSegment[]): void {
    segments.forEach((segment, position) => {
      writeSegment(this.page(table), 8 * position, segment);
    });
    const entry = this.entry(Blkif.INDIRECT, id, sector);
    entry.writeUInt8(operation, 1);
    entry.writeUInt16LE(segments.length, 2);
    entry.writeUInt32LE(table, 28);
    this.produce();
  }

  offerDiscard(id: bigint, sector: bigint, count: bigint, flag = 0): void {
    const entry = this.entry(Blkif.DISCARD, id, sector);
    entry.writeUInt8(flag, 1);
    entry.writeBigUInt64LE(count, 24);
    this.produce();
  }

  /** The next entry, to be filled. */
  entry(operation: number, id: bigint, sector: bigint): Buffer {
    const entry = this.place(this.produced).fill(0);
    entry.writeUInt8(operation, 0);
    entry.writeBigUInt64LE(id, 8);
    entry.writeBigUInt64LE(sector, 16);
    return entry;
  }

  /** What was answered since the last time. */
  answers(): BlkifAnswer[] {
    return Array.from(this.answered(), (entry) => ({
      id: entry.readBigUInt64LE(0),
      operation: entry.readUInt8(8),
      status: entry.readInt16LE(10),
    }));
  }

  /** The next request, which must be one. */
  pop(): BlkifRequest {
    const popped = this.back.pop();
    if (typeof popped === 'string') throw new Error(`no request: ${popped}`);
    return popped;
  }

  /** Serves one request to its end. */
  serve(status: number, fill = 0): BlkifRequest {
    const request = this.pop();
    this.back.land(request.head, status, fill);
    this.back.answer(request.head);
    this.back.publish();
    return request;
  }
}

function writeSegment(to: Buffer, at: number, [ref, first, last]: BlkifSegment): void {
  to.writeUInt32LE(ref, at);
  to.writeUInt8(first, at + 4);
  to.writeUInt8(last, at + 5);
}
