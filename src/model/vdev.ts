/** What `vdevIndex` takes, for messages. */
export const VDEV_ALLOWED =
  'xvda, xvdb, ..., sda, hda, vda, or d0, d1, ... (whole disks; a partition cannot be given to a guest)';

/** Disk numbers are [0, VDEV_LIMIT): xen-vbd-interface(7) has room for 2^20. */
const VDEV_LIMIT = 1 << 20;

/**
 * The disk number of an xl `vdev` (xen-vbd-interface(7)): 0 for xvda, 26 for xvdaa. The four families name one set of
 * places: hda and xvda are the same disk, as for an HVM guest. undefined when it is not a whole disk.
 */
export function vdevIndex(vdev: string): number | undefined {
  const letters = /^(?:xvd|sd|hd|vd)([a-z]{1,5})$/.exec(vdev)?.[1];
  if (letters !== undefined) {
    let index = 0;
    for (const letter of letters) index = index * 26 + (letter.charCodeAt(0) - 'a'.charCodeAt(0) + 1);
    return index <= VDEV_LIMIT ? index - 1 : undefined;
  }
  const digits = /^d(\d{1,7})(?:p0)?$/.exec(vdev)?.[1];
  const index = digits === undefined ? undefined : Number(digits);
  return index !== undefined && index < VDEV_LIMIT ? index : undefined;
}
