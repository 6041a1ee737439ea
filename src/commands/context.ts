import { KemariError } from '../base/errors.js';
import { DEFAULT_ROOT } from '../host/paths.js';
import { Registry, type LiveDomain } from '../host/registry.js';

/** The root directory: the option, KEMARI_ROOT, or the default. Errors: `KEMARI_USAGE` for an empty one. */
export function resolveRoot(option: string | undefined): string {
  const root = option ?? process.env['KEMARI_ROOT'] ?? DEFAULT_ROOT;
  if (root !== '') return root;
  throw new KemariError('KEMARI_USAGE', '--root (or KEMARI_ROOT) is empty; expected the path of a folder');
}

/**
 * The domains of the host that a command works on.
 *
 * Errors: `KEMARI_NOT_ROOT`, and those of Registry.
 */
export function openHost(root: string): Registry {
  const uid = process.getuid?.();
  if (uid !== 0) {
    throw new KemariError(
      'KEMARI_NOT_ROOT',
      `kemari works on taps, disks and processes of the whole host and needs root; this is uid ${uid ?? 'unknown'}: use sudo`,
    );
  }
  return new Registry(root);
}

/** A domain as the target of `request`. */
export function targetOf(domain: LiveDomain): { name: string; controlSocket: string } {
  return { name: domain.name, controlSocket: domain.paths.controlSocket };
}

/** Which domain a command did something to, as it is reported. */
export interface DomainReference {
  readonly domid: number;
  readonly name: string;
}
