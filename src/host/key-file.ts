import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { KemariError, messageOf } from '../base/errors.js';
import { writeDurably } from '../base/durable-file.js';

/** Where the key is when neither --key nor KEMARI_KEY_FILE says otherwise. */
export const DEFAULT_KEY_FILE = '/etc/kemari/key';

export const KEY_BYTES = 32;

const OTHERS_MAY = 0o077;

/**
 * The pre-shared key of a file: 64 hexadecimal digits. Who has it may run a guest on every host that has it.
 *
 * Errors: `KEMARI_KEY_UNUSABLE` (missing, readable by others, or no key).
 */
export function readKey(path: string): Buffer {
  try {
    const mode = statSync(path).mode & 0o777;
    if ((mode & OTHERS_MAY) !== 0) {
      throw new Error(`its mode is 0${mode.toString(8)}, so others may use it; chmod 600 ${path}`);
    }
    const text = readFileSync(path, 'latin1').trim();
    if (!/^[0-9a-f]{64}$/i.test(text)) {
      throw new Error(`it has ${text.length} letters; expected ${2 * KEY_BYTES} hexadecimal digits`);
    }
    return Buffer.from(text, 'hex');
  } catch (error) {
    throw new KemariError(
      'KEMARI_KEY_UNUSABLE',
      `cannot use the key file ${path}: ${messageOf(error)}; "kemari keygen" makes one, which both hosts need, or use ` +
        '--plain on both where the network between them is trusted',
      { cause: error },
    );
  }
}

/** Makes a new key. Errors: `KEMARI_KEY_EXISTS` (a key that hosts may use already), `KEMARI_KEY_UNUSABLE`. */
export function makeKey(path: string, options: { readonly replace: boolean }): void {
  if (existsSync(path) && !options.replace) {
    throw new KemariError(
      'KEMARI_KEY_EXISTS',
      `${path} is there already; copy it to the other hosts, or replace it everywhere (--force)`,
    );
  }
  try {
    writeDurably(path, `${randomBytes(KEY_BYTES).toString('hex')}\n`);
  } catch (error) {
    throw new KemariError('KEMARI_KEY_UNUSABLE', `cannot write the key file ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
