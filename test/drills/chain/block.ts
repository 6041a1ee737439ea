/** The blocks of hack/guest/traffic.cc: a number, a checksum, and a payload that differs from block to block. */

const NUMBER_BYTES = 8;
const HEADER_BYTES = 12;
const PAYLOAD_BYTES = 1012;
export const BLOCK_BYTES = HEADER_BYTES + PAYLOAD_BYTES;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0xedb88320);
  return crc >>> 0;
});

/** CRC-32 as zlib's. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 0xff]!;
  return (crc ^ 0xffffffff) >>> 0;
}

export function makeBlock(number: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  for (let at = HEADER_BYTES; at < BLOCK_BYTES; at += 1) block[at] = number * 13 + at * 5;
  block.writeBigUInt64LE(BigInt(number), 0);
  block.writeUInt32LE(crc32(block.subarray(HEADER_BYTES)), NUMBER_BYTES);
  return block;
}

/** `heard`: how many blocks the guest got, in its last one. Errors: Error for a block that is damaged. */
export function readBlock(block: Buffer): { readonly number: number; readonly heard: number } {
  const payload = block.subarray(HEADER_BYTES);
  const [found, expected] = [crc32(payload), block.readUInt32LE(NUMBER_BYTES)];
  const number = Number(block.readBigUInt64LE(0));
  if (found !== expected) throw new Error(`block ${number} is damaged: checksum ${found}, expected ${expected}`);
  return { number, heard: Number(payload.readBigUInt64LE(0)) };
}
