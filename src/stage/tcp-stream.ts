/** Of a TCP header (RFC 9293). */
const OFFSET_OFFSET = 12;
const FLAGS_OFFSET = 13;
const SYN = 0x02;
const SEQUENCES = 2 ** 32;

/** Of an IPv4 header (RFC 791). */
const TOTAL_LENGTH_OFFSET = 2;
const PROTOCOL_OFFSET = 9;
const TCP = 6;

/** A segment of one direction of a TCP connection, as it was seen in an IPv4 packet. */
export interface TcpSegment {
  readonly sourcePort: number;
  readonly begins: boolean;
  /** Of the first byte of the payload. */
  readonly sequence: number;
  readonly payload: Buffer;
}

/** Undefined for what is no TCP, or not seen whole. */
export function tcpSegmentOf(packet: Buffer): TcpSegment | undefined {
  const header = ((packet[0] ?? 0) & 0xf) * 4;
  if (packet.length < header + 20 || packet[PROTOCOL_OFFSET] !== TCP) return undefined;
  const tcp = packet.subarray(header, packet.readUInt16BE(TOTAL_LENGTH_OFFSET));
  const begins = ((tcp[FLAGS_OFFSET] ?? 0) & SYN) !== 0;
  return {
    sourcePort: tcp.readUInt16BE(0),
    begins,
    sequence: (tcp.readUInt32BE(4) + (begins ? 1 : 0)) % SEQUENCES,
    payload: tcp.subarray((tcp.readUInt8(OFFSET_OFFSET) >> 4) * 4),
  };
}

/** Puts the bytes of one direction in order: segments may come again, overlap, and overtake each other. */
export class TcpStream {
  readonly #onBytes: (bytes: Buffer, atMs: number) => void;
  #next: number;
  #early: { readonly sequence: number; readonly payload: Buffer; readonly atMs: number }[] = [];

  /** `next`: the sequence number of the first byte. */
  constructor(next: number, onBytes: (bytes: Buffer, atMs: number) => void) {
    this.#next = next;
    this.#onBytes = onBytes;
  }

  push({ sequence, payload }: Pick<TcpSegment, 'sequence' | 'payload'>, atMs: number): void {
    if (payload.length === 0) return;
    this.#early.push({ sequence, payload, atMs });
    for (let found = true; found;) {
      found = false;
      for (const segment of this.#early) {
        const seen = distance(segment.sequence, this.#next);
        if (seen < 0) continue;
        this.#early = this.#early.filter((other) => other !== segment);
        found = true;
        const fresh = segment.payload.subarray(seen);
        if (fresh.length === 0) continue;
        this.#next = (this.#next + fresh.length) % SEQUENCES;
        // It has left when it was seen first, whenever what comes before it was.
        this.#onBytes(fresh, segment.atMs);
      }
    }
  }
}

/** How far `to` is ahead of `from`, in [-2^31, 2^31). */
function distance(from: number, to: number): number {
  return (to - from) | 0;
}
