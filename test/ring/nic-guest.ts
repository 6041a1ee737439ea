import type { SplitDriver } from './driver.js';

/** struct virtio_net_hdr with num_buffers (virtio 1.2 section 5.1.6). */
export const NET_HEADER_BYTES = 12;
export const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
export const VIRTIO_NET_HDR_GSO_TCPV4 = 1;

export interface NetHeader {
  readonly flags?: number;
  readonly gsoType?: number;
  readonly headerLength?: number;
  readonly gsoSize?: number;
  readonly checksumStart?: number;
  readonly checksumOffset?: number;
}

/** A guest's network driver: one queue pair. */
export class NicGuest {
  readonly #receiveBuffers = new Map<number, { gpa: number; length: number }>();
  readonly #sent = new Map<number, { gpa: number; length: number }>();
  readonly #spare: { gpa: number; length: number }[] = [];

  constructor(
    readonly receive: SplitDriver,
    readonly transmit: SplitDriver,
  ) {}

  /** Offers receive buffers, without a kick. */
  offerBuffers(count: number, length: number): void {
    for (let i = 0; i < count; i += 1) {
      const gpa = this.receive.ram.allocate(length);
      this.#receiveBuffers.set(this.receive.add([], [{ gpa, length }]), { gpa, length });
    }
  }

  /** Offers a frame, without a kick. `cut` cuts header and frame into descriptors at these lengths. Returns the frame in
   * guest memory. */
  offerFrame(frame: Uint8Array, header: NetHeader = {}, cut: readonly number[] = []): Buffer {
    const length = NET_HEADER_BYTES + frame.length;
    const spare = this.#spare.findIndex((slot) => slot.length >= length);
    const slot = spare >= 0 ? this.#spare.splice(spare, 1)[0]! : { gpa: this.transmit.ram.allocate(length), length };
    const bytes = this.transmit.ram.slice(slot.gpa, length);
    encodeHeader(header).copy(bytes);
    bytes.set(frame, NET_HEADER_BYTES);
    const pieces: { gpa: number; length: number }[] = [];
    let at = 0;
    for (const part of [...cut, length]) {
      const size = Math.min(part, length - at);
      if (size > 0) pieces.push({ gpa: slot.gpa + at, length: size });
      at += size;
    }
    this.#sent.set(this.transmit.add(pieces, []), slot);
    return bytes.subarray(NET_HEADER_BYTES);
  }

  /** Waits until `count` frames were taken by the device. */
  waitSent(count = 1): void {
    for (const { head } of this.transmit.wait(count)) {
      this.#spare.push(this.#sent.get(head)!);
      this.#sent.delete(head);
    }
  }

  /** Waits for one whole frame, put together from as many buffers as it says it has. */
  waitFrame(): { header: Buffer; frame: Buffer; buffers: number } {
    const entries = this.receive.wait(1);
    const first = this.#bytesOf(entries[0]!);
    const buffers = first.readUInt16LE(10);
    while (entries.length < buffers) entries.push(...this.receive.wait(1));
    if (entries.length > buffers) throw new Error('more than one frame came; offer fewer buffers');
    const all = [first, ...entries.slice(1).map((entry) => this.#bytesOf(entry))];
    entries.forEach(({ head }) => this.#receiveBuffers.delete(head));
    const joined = Buffer.concat(all);
    return { header: joined.subarray(0, NET_HEADER_BYTES), frame: joined.subarray(NET_HEADER_BYTES), buffers };
  }

  #bytesOf({ head, length }: { head: number; length: number }): Buffer {
    const buffer = this.#receiveBuffers.get(head)!;
    if (length > buffer.length) throw new Error(`${length} bytes were written into a buffer of ${buffer.length}`);
    return Buffer.from(this.receive.ram.slice(buffer.gpa, length));
  }
}

function encodeHeader(header: NetHeader): Buffer {
  const bytes = Buffer.alloc(NET_HEADER_BYTES);
  bytes.writeUInt8(header.flags ?? 0, 0);
  bytes.writeUInt8(header.gsoType ?? 0, 1);
  bytes.writeUInt16LE(header.headerLength ?? 0, 2);
  bytes.writeUInt16LE(header.gsoSize ?? 0, 4);
  bytes.writeUInt16LE(header.checksumStart ?? 0, 6);
  bytes.writeUInt16LE(header.checksumOffset ?? 0, 8);
  return bytes;
}

/** An Ethernet frame of a local experimental type (IEEE 802), so that the host's stack leaves it alone. */
export function frameOf(body: Uint8Array): Buffer {
  const head = Buffer.from('02000000000102000000000288b5', 'hex');
  return Buffer.concat([head, body]);
}
