/** Records of the sync stream, written by src/wire/README.md and not by the code under test. */

export const RECORD = {
  BEGIN: 1,
  PAGES: 2,
  MACHINE_STATE: 3,
  DEVICE: 4,
  CONSOLE: 5,
  COMMIT: 6,
  ACK: 7,
  WORD: 8,
  RENEW: 9,
  ANSWER: 10,
} as const;

/** Bit of the type of a record that may be skipped. */
export const OPTIONAL = 0x8000;

export const PART = { BYTES: 1, PLACE: 2 } as const;

export const ENCODING = { RAW: 1, ZERO: 2, LZ4: 3, DELTA: 4 } as const;

const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0x82f63b78 : 0);
  return value >>> 0;
});

export function crc32c(bytes: Uint8Array, earlier = 0): number {
  let value = ~earlier >>> 0;
  for (const byte of bytes) value = (value >>> 8) ^ TABLE[(value ^ byte) & 0xff]!;
  return ~value >>> 0;
}

export interface Entry {
  readonly page: number;
  readonly count?: number;
  readonly encoding: number;
  readonly data?: Uint8Array;
  readonly reserved?: number;
}

/** A part of a device's state: octets, or where guest memory has them. */
export interface Part {
  readonly kind: number;
  readonly address?: bigint;
  /** That of `data` where absent. */
  readonly length?: number;
  readonly data?: Uint8Array;
}

/** Octets that travel with the record. */
export function octets(data: Uint8Array): Part {
  return { kind: PART.BYTES, data };
}

export interface HeaderOverride {
  readonly magic?: number;
  readonly version?: number;
  readonly number?: bigint;
  readonly length?: number;
  readonly checksum?: number;
}

/** One direction of a stream: numbers records and keeps the digest of the epoch. */
export class RecordWriter {
  #number = 1n;
  #digest = 0;
  #pages = 0;

  record(type: number, epoch: bigint, payload: Uint8Array = Buffer.alloc(0), wrong: HeaderOverride = {}): Buffer {
    const header = Buffer.alloc(32);
    header.writeUInt32LE(wrong.magic ?? 0x49524d4b, 0);
    header.writeUInt16LE(wrong.version ?? 1, 4);
    header.writeUInt16LE(type, 6);
    header.writeUInt32LE(wrong.length ?? payload.length, 8);
    header.writeBigUInt64LE(epoch, 16);
    header.writeBigUInt64LE(wrong.number ?? this.#number++, 24);
    const checksum = wrong.checksum ?? crc32c(payload, crc32c(header));
    header.writeUInt32LE(checksum, 12);
    // What a receiver may skip does not count.
    if ((type & OPTIONAL) === 0) this.#digest = crc32c(u32(checksum), this.#digest);
    return Buffer.concat([header, payload]);
  }

  begin(epoch: bigint, deviceCount = 2): Buffer {
    this.#digest = 0;
    this.#pages = 0;
    return this.record(RECORD.BEGIN, epoch, u32(deviceCount, 0));
  }

  pages(epoch: bigint, entries: readonly Entry[], deltaDigest = 0): Buffer {
    const described = entries.map(({ page, count = 1, encoding, data = Buffer.alloc(0), reserved = 0 }) => {
      const entry = Buffer.alloc(16);
      entry.writeBigUInt64LE(BigInt(page), 0);
      entry.writeUInt32LE(data.length, 8);
      entry.writeUInt16LE(count, 12);
      entry.writeUInt8(encoding, 14);
      entry.writeUInt8(reserved, 15);
      this.#pages += count;
      return entry;
    });
    const data = entries.map((entry) => entry.data ?? Buffer.alloc(0));
    return this.record(RECORD.PAGES, epoch, Buffer.concat([u32(entries.length, deltaDigest), ...described, ...data]));
  }

  device(epoch: bigint, index: number, ...parts: readonly Part[]): Buffer {
    const described = parts.map(({ kind, address = 0n, data = Buffer.alloc(0), length = data.length }) => {
      const part = Buffer.alloc(16);
      part.writeBigUInt64LE(address, 0);
      part.writeUInt32LE(length, 8);
      part.writeUInt32LE(kind, 12);
      return part;
    });
    const data = parts.map((part) => part.data ?? Buffer.alloc(0));
    return this.record(RECORD.DEVICE, epoch, Buffer.concat([u32(index, parts.length), ...described, ...data]));
  }

  commit(epoch: bigint, wrong: { pages?: number; digest?: number } = {}): Buffer {
    const payload = Buffer.alloc(16);
    payload.writeBigUInt64LE(BigInt(wrong.pages ?? this.#pages), 0);
    payload.writeUInt32LE(wrong.digest ?? this.#digest, 8);
    return this.record(RECORD.COMMIT, epoch, payload);
  }

  word(word: number, text = ''): Buffer {
    const head = Buffer.alloc(4);
    head.writeUInt16LE(word, 0);
    return this.record(RECORD.WORD, 0n, Buffer.concat([head, Buffer.from(text)]));
  }
}

export function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32LE(value, 4 * index));
  return bytes;
}

/** A page of one byte value as an lz4 block: a literal, a match that repeats it, five literals at the end. */
export function lz4Page(byte: number): Buffer {
  const matchBytes = 4096 - 1 - 5;
  const beyond = matchBytes - 4 - 15;
  const lengths = [...Array<number>(Math.floor(beyond / 255)).fill(255), beyond % 255];
  return Buffer.from([0x1f, byte, 1, 0, ...lengths, 0x50, byte, byte, byte, byte, byte]);
}
