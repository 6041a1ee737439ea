import { createReadStream, existsSync, readdirSync, statSync, watch } from 'node:fs';
import { once } from 'node:events';
import { KemariError } from '../base/errors.js';
import { logPath } from '../host/paths.js';
import type { Registry } from '../host/registry.js';
import { openHost } from './context.js';

export interface LogOptions {
  /** Go on with what is written from now on, until `signal`. */
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

const NEWLINE = 0x0a;

/**
 * Hands the log of a domain to `onLine`, line by line; the domain may be gone, its log stays.
 *
 * Errors: `KEMARI_NO_LOG`, which lists what there is.
 */
export async function log(
  root: string,
  nameOrDomid: string,
  onLine: (line: string) => void,
  options: LogOptions,
): Promise<void> {
  const registry = openHost(root);
  const path = await findLog(registry, nameOrDomid);
  let offset = await readLines(path, 0, onLine);
  if (!options.follow) return;
  // A change that comes while we copy makes one more round.
  let changed = true;
  const watcher = watch(path, { signal: options.signal });
  watcher.on('change', () => (changed = true));
  const ended = once(options.signal, 'abort');
  while (!options.signal.aborted) {
    if (!changed) await Promise.race([once(watcher, 'change', { signal: options.signal }), ended]).catch(ignoreAbort);
    changed = false;
    offset = await readLines(path, offset, onLine);
  }
}

function ignoreAbort(error: unknown): void {
  if ((error as Error).name !== 'AbortError') throw error;
}

async function findLog(registry: Registry, nameOrDomid: string): Promise<string> {
  const live = await registry.list();
  const name = live.find(({ domid }) => String(domid) === nameOrDomid)?.name ?? nameOrDomid;
  const logs = readdirSync(registry.host.logDirectory)
    .filter((file) => file.endsWith('.log'))
    .map((file) => file.slice(0, -'.log'.length));
  const path = logPath(registry.host, name);
  if (logs.includes(name) && existsSync(path)) return path;
  throw new KemariError(
    'KEMARI_NO_LOG',
    `no log of a domain "${nameOrDomid}" in ${registry.host.logDirectory}; there is ${logs.join(', ') || 'none'}`,
  );
}

/**
 * Reads the lines behind `offset` and returns where the next one starts; a line that is not finished yet waits. A log that
 * was set aside starts over.
 */
async function readLines(path: string, offset: number, onLine: (line: string) => void): Promise<number> {
  const { size } = statSync(path);
  const from = size < offset ? 0 : offset;
  if (size === from) return from;
  let rest = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { start: from, end: size - 1 })) {
    const data = Buffer.concat([rest, chunk as Buffer]);
    let start = 0;
    for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE, start)) {
      onLine(data.toString('utf8', start, end));
      start = end + 1;
    }
    rest = data.subarray(start);
  }
  return size - rest.length;
}
