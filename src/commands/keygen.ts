import { makeKey } from '../host/key-file.js';

/** Makes the key that all hosts of a cluster share. Errors: those of `makeKey`. */
export function keygen(path: string, options: { readonly replace: boolean }): { readonly path: string } {
  makeKey(path, options);
  return { path };
}
