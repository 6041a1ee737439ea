import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { KemariError } from '../../src/base/errors.js';

/** What hack/guest-image and the build leave. */
export interface Images {
  readonly kernel: string;
  readonly ramdisk: string;
  readonly rootImage: string;
  /** test/bench/pingpong.cc, linked statically. */
  readonly pingpong: string;
}

const PACKAGE = join(import.meta.dirname, '../../..');

/** Errors: `KEMARI_BENCH_SETUP` for a file that is not there. */
export async function findImages(): Promise<Images> {
  const guest = join(PACKAGE, '.cache/guest');
  const images = {
    kernel: join(guest, 'vmlinuz'),
    ramdisk: join(guest, 'initrd'),
    rootImage: join(guest, 'root.img'),
    pingpong: join(PACKAGE, 'build/Release/pingpong'),
  };
  for (const path of Object.values(images)) {
    await access(path).catch((cause: unknown) => {
      throw new KemariError('KEMARI_BENCH_SETUP', `${path} is missing: run hack/setup --test`, { cause });
    });
  }
  return images;
}
