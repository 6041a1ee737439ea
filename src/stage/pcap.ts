/** libpcap's file header with nanoseconds, as this machine's byte order has it (pcap-savefile(5)). */
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

/** LINKTYPE_LINUX_SLL2: frames of several interfaces with the interface of each. */
const LINK_TYPE_SLL2 = 276;
const SLL2_HEADER_BYTES = 20;

const ETHER_TYPE_ARP = 0x0806;
const ETHER_TYPE_RARP = 0x8035;

/** Of an ARP packet for IPv4 over Ethernet: where its sender's and its target's address are (RFC 826). */
const ARP_SENDER_IP_OFFSET = 14;
const ARP_TARGET_IP_OFFSET = 24;
const IPV4_BYTES = 4;

const NS_PER_MS = 1_000_000;
const MS_PER_S = 1000;

export interface CapturedFrame {
  /** Milliseconds of Unix time. */
  readonly atMs: number;
  readonly interfaceIndex: number;
  /** `aa:bb:cc:dd:ee:ff`, as the frame's source. */
  readonly sourceMac: string;
  readonly etherType: number;
  /** How its packet begins. */
  readonly head: Buffer;
  /** Whether it only tells switches and neighbours where a station is: RARP, or ARP about the sender itself. */
  readonly announcement: boolean;
}

/** Takes a capture of `tcpdump -y LINUX_SLL2 --time-stamp-precision=nano` apart as its bytes arrive. */
export class PcapReader {
  readonly #onFrame: (frame: CapturedFrame) => void;
  readonly #headBytes: number;
  #unread = Buffer.alloc(0);
  #begun = false;

  /** `headBytes`: so much of each packet is told. */
  constructor(onFrame: (frame: CapturedFrame) => void, headBytes: number) {
    this.#onFrame = onFrame;
    this.#headBytes = headBytes;
  }

  /** Errors: RangeError for what is no such capture. */
  push(bytes: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, bytes]);
    if (!this.#begun) {
      if (this.#unread.length < FILE_HEADER_BYTES) return;
      const magic = this.#unread.readUInt32LE(0);
      const linkType = this.#unread.readUInt32LE(20) & 0xffff;
      if (magic !== MAGIC_NANOSECONDS || linkType !== LINK_TYPE_SLL2) {
        throw new RangeError(`magic 0x${magic.toString(16)}, link type ${linkType}; expected SLL2 with nanoseconds`);
      }
      this.#unread = this.#unread.subarray(FILE_HEADER_BYTES);
      this.#begun = true;
    }
    while (this.#unread.length >= RECORD_HEADER_BYTES) {
      const end = RECORD_HEADER_BYTES + this.#unread.readUInt32LE(8);
      if (this.#unread.length < end) return;
      const atMs = this.#unread.readUInt32LE(0) * MS_PER_S + this.#unread.readUInt32LE(4) / NS_PER_MS;
      const frame = readFrame(atMs, this.#unread.subarray(RECORD_HEADER_BYTES, end), this.#headBytes);
      if (frame !== undefined) this.#onFrame(frame);
      this.#unread = this.#unread.subarray(end);
    }
  }
}

function readFrame(atMs: number, bytes: Buffer, headBytes: number): CapturedFrame | undefined {
  if (bytes.length < SLL2_HEADER_BYTES) return undefined;
  const etherType = bytes.readUInt16BE(0);
  const interfaceIndex = bytes.readUInt32BE(4);
  const sourceMac = [...bytes.subarray(12, 18)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  const packet = bytes.subarray(SLL2_HEADER_BYTES);
  const announcement = etherType === ETHER_TYPE_RARP || (etherType === ETHER_TYPE_ARP && isAboutItself(packet));
  // A copy: what was read with it is not kept for it.
  const head = Buffer.from(packet.subarray(0, headBytes));
  return { atMs, interfaceIndex, sourceMac, etherType, head, announcement };
}

function isAboutItself(packet: Buffer): boolean {
  const addressAt = (offset: number): Buffer => packet.subarray(offset, offset + IPV4_BYTES);
  return (
    packet.length >= ARP_TARGET_IP_OFFSET + IPV4_BYTES &&
    addressAt(ARP_SENDER_IP_OFFSET).equals(addressAt(ARP_TARGET_IP_OFFSET))
  );
}
