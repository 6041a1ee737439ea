import { KemariError } from '../base/errors.js';
import { DEFAULT_PORT, type PeerAddress } from '../wire/contract.js';

const MAX_PORT = 65_535;

/** HOST, HOST:PORT, [IPv6]:PORT or a bare IPv6 address, as typed. Errors: `KEMARI_USAGE`. */
export function parsePeerAddress(text: string): PeerAddress {
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(text);
  const plain = /^([^:]+)(?::(\d+))?$/.exec(text);
  const bareIpv6 = /^[0-9a-f:.%]*:[0-9a-f:.%]*:[^\]]*$/i.test(text) && !text.startsWith('[') ? [text, text] : null;
  const [, host, digits] = bracketed ?? plain ?? bareIpv6 ?? [];
  const port = digits === undefined ? DEFAULT_PORT : Number(digits);
  if (host !== undefined && port >= 1 && port <= MAX_PORT) return { host, port };
  throw new KemariError('KEMARI_USAGE', `"${text}" is no host; expected HOST, HOST:PORT or [IPv6]:PORT`);
}
