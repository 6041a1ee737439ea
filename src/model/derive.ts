import { createHash } from 'node:crypto';

/**
 * The MAC address of a NIC for which the file gives none: in Xen's block (00:16:3e), stable for a domain's name and the
 * place in its list, so that a restarted or migrated guest keeps it.
 */
export function deriveMac(name: string, index: number): string {
  const digest = createHash('sha256').update(`kemari mac ${name} ${index}`).digest();
  // Xen's tools leave the upper half of the block to addresses given by hand.
  const octets = [0x00, 0x16, 0x3e, digest.readUInt8(0) & 0x7f, digest.readUInt8(1), digest.readUInt8(2)];
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}

/** The UUID of a domain for which the file gives none: stable for its name (RFC 9562, version 8). */
export function deriveUuid(name: string): string {
  const octets = createHash('sha256').update(`kemari uuid ${name}`).digest().subarray(0, 16);
  octets.writeUInt8((octets.readUInt8(6) & 0x0f) | 0x80, 6);
  octets.writeUInt8((octets.readUInt8(8) & 0x3f) | 0x80, 8);
  return octets.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
