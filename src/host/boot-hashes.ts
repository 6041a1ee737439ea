import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { KemariError, messageOf } from '../base/errors.js';
import type { DomainConfig } from '../model/domain-config.js';

/**
 * SHA-256 of what a domain boots directly, hexadecimal; null where it boots without.
 *
 * Errors: `KEMARI_BOOT_FILE`.
 */
export async function hashBootFiles({
  boot,
}: DomainConfig): Promise<{ readonly kernel: string | null; readonly ramdisk: string | null }> {
  if (boot.from === 'disk') return { kernel: null, ramdisk: null };
  return {
    kernel: await hashFile('kernel', boot.kernel),
    ramdisk: boot.ramdisk === undefined ? null : await hashFile('ramdisk', boot.ramdisk),
  };
}

async function hashFile(key: string, path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path), hash);
  } catch (error) {
    throw new KemariError('KEMARI_BOOT_FILE', `${key}: cannot use ${path}: ${messageOf(error)}`, { cause: error });
  }
  return hash.digest('hex');
}
