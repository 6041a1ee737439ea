import { createHash } from 'node:crypto';

/** What virtio's GET_ID can carry (virtio 1.2 section 5.2.6). */
const SERIAL_BYTES = 20;

/**
 * The serial number that the guest reads, for example `1b9d6bcd-xvda` (udev: `/dev/disk/by-id/virtio-1b9d6bcd-xvda`): ASCII,
 * at most 20 bytes, the same on every host and at every start, another one for each disk of a domain.
 */
export function diskSerial(domainUuid: string, vdev: string): string {
  const domain = domainUuid.replaceAll('-', '').slice(0, 8);
  const plain = `${domain}-${vdev.replaceAll(/[^\w.-]/g, '_')}`;
  if (plain.length <= SERIAL_BYTES && plain.endsWith(vdev)) return plain;
  const digest = createHash('sha256').update(vdev).digest('hex');
  return `${domain}-${digest}`.slice(0, SERIAL_BYTES);
}
