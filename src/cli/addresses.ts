import { isIP } from 'node:net';
import { DEFAULT_PORT } from '../model/port.js';
import { usageError } from './output.js';

/**
 * A host's address on the command line: `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`; a bare IPv6 address has no port.
 *
 * Errors: `KEMARI_USAGE`.
 */
export function hostAddress(text: string): { readonly host: string; readonly port: number } {
  if (isIP(text) === 6) return { host: text, port: DEFAULT_PORT };
  const parts = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const host = parts?.[1] ?? parts?.[2];
  const port = parts?.[3] === undefined ? DEFAULT_PORT : Number(parts[3]);
  if (host !== undefined && port <= 65_535) return { host, port };
  throw usageError(`"${text}" is no address; expected HOST, HOST:PORT or [ADDRESS]:PORT`);
}
