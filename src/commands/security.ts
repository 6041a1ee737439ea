import { KemariError } from '../base/errors.js';
import { DEFAULT_KEY_FILE, readKey } from '../host/key-file.js';
import type { Security } from '../wire/contract.js';

/** The key's file: the option, KEMARI_KEY_FILE, or the default. */
export function keyPath(option: string | undefined): string {
  return option ?? process.env['KEMARI_KEY_FILE'] ?? DEFAULT_KEY_FILE;
}

/**
 * How this host speaks to others: by the key, or in the clear where the operator says so.
 *
 * Errors: `KEMARI_USAGE` for both at once; `KEMARI_KEY_UNUSABLE`.
 */
export function resolveSecurity(options: { readonly key: string | undefined; readonly plain: boolean }): Security {
  if (!options.plain) return { kind: 'psk', key: readKey(keyPath(options.key)) };
  if (options.key === undefined) return { kind: 'plain' };
  throw new KemariError('KEMARI_USAGE', '--key and --plain exclude each other: choose one');
}
