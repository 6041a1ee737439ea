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

/** What hack/bench-image builds: the same guest with PostgreSQL in its root file system. */
export const DATABASE_IMAGE = {
  kernel: DEMO_IMAGE.kernel,
  ramdisk: DEMO_IMAGE.ramdisk,
  rootDisk: join(FOLDER, '../bench-guest/root.img'),
} as const satisfies GuestImage;

/** The first file of it that is missing; undefined when it is whole. */
export function missingImageFile(image: GuestImage = DEMO_IMAGE): string | undefined {
  return (Object.values(image) as string[]).find((file) => !existsSync(file));
}
