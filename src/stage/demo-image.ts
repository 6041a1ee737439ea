import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { GuestImage } from './staged-guest.js';

const FOLDER = join(import.meta.dirname, '../../../.cache/guest');

/** What hack/guest-image builds. Copy the disks before a guest writes to them. */
export const DEMO_IMAGE = {
  kernel: join(FOLDER, 'vmlinuz'),
  ramdisk: join(FOLDER, 'initrd'),
  rootDisk: join(FOLDER, 'root.img'),
  /** Boots by itself: boot loader, kernel, and the root file system on its second partition. */
  bootDisk: join(FOLDER, 'boot.img'),
} as const satisfies GuestImage & { readonly bootDisk: string };

/** The first file of it that is missing; undefined when it is whole. */
export function missingImageFile(): string | undefined {
  return Object.values(DEMO_IMAGE).find((file) => !existsSync(file));
}
