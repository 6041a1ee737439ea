import { testing, type NetifRing } from '../../native/testing.js';
import { RingDriver } from './ring-driver.js';

/** Flags and answers (xen/include/public/io/netif.h). */
export const Tx = { csumBlank: 1, dataValidated: 2, moreData: 4, extraInfo: 8 } as const;
export const Rx = { dataValidated: 1, csumBlank: 2, moreData: 4, extraInfo: 8 } as const;
export const OKAY = 0;
export const ERROR = -1;
export const NULL = 1;
export const GSO = { tcp4: 1, tcp6: 2 } as const;

/** Entries of a ring of one page, of either kind. */
export const ENTRIES = 256;
const TX_BYTES = 12;
const RX_BYTES = 8;

/** A piece of a frame: bytes of a granted page. In the first of a frame `size` is that of the frame. */
export interface TxPiece {
  readonly ref: number;
  readonly offset: number;
  readonly size: number;
  readonly flags?: number;
  readonly id?: number;
}

class Driver extends RingDriver<NetifRing> {
  constructor(receives: boolean, segments: boolean, at: number) {
    const layout = { entries: ENTRIES, entryBytes: receives ? RX_BYTES : TX_BYTES };
    super(new testing.NetifRing({ pages: 32, receives, segments }), layout, at);
  }
}

/** The sending side of a network driver of Xen's, well-behaved or not. */
export class Sender extends Driver {
  constructor(at = 0) {
    super(false, true, at);
  }

  write({ ref, offset, size, flags = 0, id = 0 }: TxPiece): void {
    const entry = this.place(this.produced);
    entry.writeUInt32LE(ref, 0);
    entry.writeUInt16LE(offset, 4);
    entry.writeUInt16LE(flags, 6);
    entry.writeUInt16LE(id, 8);
    entry.writeUInt16LE(size, 10);
    this.produce();
  }

  /** Extra info about segments, or of another type. */
  writeExtra(segmentBytes: number, gsoType: number, type = 1, flags = 0): void {
    const entry = this.place(this.produced).fill(0);
    entry.writeUInt8(type, 0);
    entry.writeUInt8(flags, 1);
    entry.writeUInt16LE(segmentBytes, 2);
    entry.writeUInt8(gsoType, 4);
    this.produce();
  }

  /** What was answered since the last time: id and status of each entry. */
  answers(): [id: number, status: number][] {
    const answers: [number, number][] = [];
    for (const entry of this.answered()) {
      answers.push([entry.readUInt16LE(0), entry.readInt16LE(2)]);
    }
    return answers;
  }

  /** The next frame, which must be one. */
  pop(): { head: number; header: Buffer; frame: Buffer } {
    const popped = this.back.pop();
    if (typeof popped === 'string') throw new Error(`no frame: ${popped}`);
    const { head, readable } = popped;
    return { head, header: readable.subarray(0, 12), frame: readable.subarray(12) };
  }
}

export interface RxAnswer {
  readonly id: number;
  readonly offset: number;
  readonly flags: number;
  readonly status: number;
}

/** The receiving side; entry n names grant `ref`, and has id n. */
export class Receiver extends Driver {
  constructor({ segments = false, at = 0 } = {}) {
    super(true, segments, at);
  }

  offer(ref: number): void {
    const entry = this.place(this.produced);
    entry.writeUInt16LE(this.produced % ENTRIES, 0);
    entry.writeUInt32LE(ref, 4);
    this.produce();
  }

  answers(): (RxAnswer | Buffer)[] {
    const answers: (RxAnswer | Buffer)[] = [];
    let isExtra = false;
    for (const entry of this.answered()) {
      const flags = entry.readUInt16LE(4);
      answers.push(
        isExtra
          ? Buffer.from(entry)
          : { id: entry.readUInt16LE(0), offset: entry.readUInt16LE(2), flags, status: entry.readInt16LE(6) },
      );
      isExtra = !isExtra && (flags & Rx.extraInfo) !== 0;
    }
    return answers;
  }

  /** The heads of so many buffers, which there must be. */
  pop(count: number): number[] {
    return Array.from({ length: count }, () => {
      const popped = this.back.pop();
      if (typeof popped === 'string') throw new Error(`no buffer: ${popped}`);
      return popped.head;
    });
  }
}

/** Ethernet, IPv4 or IPv6, TCP or UDP: headers of a frame, as far as a back-end looks at them. */
export function headers(version: 4 | 6, protocol: number, options = 0): Buffer {
  const ip = version === 4 ? Buffer.alloc(20 + options) : Buffer.alloc(40 + options);
  if (version === 4) {
    ip[0] = 0x40 | (ip.length / 4);
    ip[9] = protocol;
  } else {
    ip[0] = 0x60;
    ip[6] = options === 0 ? protocol : 0; // hop-by-hop options
    if (options !== 0) {
      ip[40] = protocol;
      ip[41] = options / 8 - 1;
    }
  }
  const transport = Buffer.alloc(protocol === 6 ? 20 : 8);
  if (protocol === 6) transport[12] = 0x50;
  const ethernet = Buffer.alloc(14);
  ethernet.writeUInt16BE(version === 4 ? 0x0800 : 0x86dd, 12);
  return Buffer.concat([ethernet, ip, transport]);
}
