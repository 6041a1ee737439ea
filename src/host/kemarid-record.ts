import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { KemariError } from '../base/errors.js';
import type { HostPaths } from './paths.js';

/** What a running kemarid says of itself, for the other programs of its host. */
export interface KemaridRecord {
  readonly pid: number;
  readonly port: number;
  /** `true`: nothing is encrypted and nobody proves anything. */
  readonly plain: boolean;
}

/**
 * What this host's kemarid wrote last; undefined when none ever ran. That it still runs is not said.
 *
 * Errors: `KEMARI_RECORD_UNREADABLE`.
 */
export function readKemaridRecord(host: HostPaths): KemaridRecord | undefined {
  try {
    const text = readFileSync(host.kemarid, 'utf8');
    return text === '' ? undefined : (JSON.parse(text) as KemaridRecord);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new KemariError('KEMARI_RECORD_UNREADABLE', `cannot read ${host.kemarid}`, { cause: error });
  }
}

/**
 * Addresses under which others reach this host: those of its interfaces, without loopback (unless there is nothing else)
 * and link-local ones, which mean something on one link only.
 */
export function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const global = all.filter(({ internal, address }) => !internal && !/^(fe80:|169\.254\.)/i.test(address));
  return (global.length > 0 ? global : all).map(({ address }) => address);
}
