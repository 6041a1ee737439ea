/** What tells a frame from any other: its kind, and how its packet begins but for checksums, which the network fills in. */

const ETHER_TYPE_OFFSET = 12;
const ETHERNET_HEADER_BYTES = 14;
const ETHER_TYPE_IPV4 = 0x0800;

/** Of an IPv4 header (RFC 791). */
const TOTAL_LENGTH_OFFSET = 2;
const PROTOCOL_OFFSET = 9;
const CHECKSUM_OFFSET = 10;

/** Where a protocol's header has its checksum, by the protocol's number: ICMP, TCP, UDP. */
const CHECKSUM_OFFSETS: Readonly<Record<number, number>> = { 1: 2, 6: 16, 17: 6 };

/** The headers of IPv4 and TCP: of a packet of another kind, not more than it certainly has. */
const IPV4_BYTES = 40;
const OTHER_BYTES = 28;

/** `packet`: how it begins, 40 bytes at least or all of it. */
export function frameKey(etherType: number, packet: Buffer): string {
  if (etherType !== ETHER_TYPE_IPV4) return `${etherType} ${packet.toString('hex', 0, OTHER_BYTES)}`;
  const length = Math.min(IPV4_BYTES, packet.readUInt16BE(TOTAL_LENGTH_OFFSET));
  const head = Buffer.from(packet.subarray(0, length));
  const clear = (offset: number | undefined): void => {
    if (offset !== undefined && offset + 2 <= head.length) head.writeUInt16BE(0, offset);
  };
  clear(CHECKSUM_OFFSET);
  const headerBytes = (head[0]! & 0xf) * 4;
  const place = CHECKSUM_OFFSETS[head[PROTOCOL_OFFSET]!];
  clear(place === undefined ? undefined : headerBytes + place);
  return `${etherType} ${head.toString('hex')}`;
}

/** Of a frame as evidence has it: how it begins, hexadecimal, from its Ethernet header on. */
export function keyOfNoted(hex: string): string {
  const frame = Buffer.from(hex, 'hex');
  return frameKey(frame.readUInt16BE(ETHER_TYPE_OFFSET), frame.subarray(ETHERNET_HEADER_BYTES));
}
