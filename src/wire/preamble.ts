/**
 * The 25 clear bytes that open every connection to a kemarid (README.md, "Preamble"): who does not send them is nobody of
 * ours, and is told nothing.
 */
const MAGIC = Buffer.from('KEMARI1\n', 'latin1');

const TOKEN_BYTES = 16;
export const PREAMBLE_BYTES = MAGIC.length + 1 + TOKEN_BYTES;

export type ConnectionKind = 'control' | 'stream' | 'lease';

const KIND_OCTET: Readonly<Record<ConnectionKind, number>> = { control: 1, stream: 2, lease: 3 };

export interface Preamble {
  readonly kind: ConnectionKind;
  /** 16 bytes, hexadecimal; all zero for `control`. */
  readonly token: string;
}

export const NO_TOKEN = '00'.repeat(TOKEN_BYTES);

/** A token is what a kemarid gives out with an accept: 16 random bytes, hexadecimal. */
export function isToken(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value) && value !== NO_TOKEN;
}

export function encodePreamble({ kind, token }: Preamble): Buffer {
  return Buffer.concat([MAGIC, Buffer.of(KIND_OCTET[kind]), Buffer.from(token, 'hex')]);
}

/** undefined for bytes that are no preamble. */
export function decodePreamble(bytes: Buffer): Preamble | undefined {
  if (bytes.length !== PREAMBLE_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const octet = bytes.readUInt8(MAGIC.length);
  const kind = (['control', 'stream', 'lease'] as const).find((each) => KIND_OCTET[each] === octet);
  const token = bytes.toString('hex', MAGIC.length + 1);
  if (kind === undefined || (kind === 'control') !== (token === NO_TOKEN)) return undefined;
  return { kind, token };
}
