/** What one disk is, so that the other host can tell whether its own is the same storage. */
export interface DiskIdentity {
  readonly vdev: string;
  readonly sizeBytes: number;
  /** How it was found; both hosts must find it in the same way. */
  readonly kind: 'file' | 'device' | 'nbd';
  /** The nonce of the mark beside a file, a device's world wide name or serial number, an export's URI; empty: none. */
  readonly identity: string;
  /** Hashes of blocks spread over the disk, hexadecimal. */
  readonly sample: readonly string[];
}
