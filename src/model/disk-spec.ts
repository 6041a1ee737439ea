import { isAbsolute, resolve } from 'node:path';
import { suggest } from '../base/suggest.js';
import type { DiskConfig, DiskTarget } from './domain-config.js';
import type { Problems } from './problems.js';
import { VDEV_ALLOWED, vdevIndex } from './vdev.js';

/** Virtqueues of a disk, [1, DISK_QUEUES_LIMIT]. */
export const DISK_QUEUES_LIMIT = 16;

/** Where a spec stands and what it leaves open. */
export interface DiskSpecContext {
  /** `disk[0]` */
  readonly key: string;
  /** Folder of the domain file: relative targets start there. */
  readonly folder: string;
  readonly defaultQueues: number;
  readonly problems: Problems;
}

/** Positional parameters in their order (xl-disk-configuration(5)). */
const POSITIONAL = ['target', 'format', 'vdev', 'access'] as const;

/** Keys that mean something here, our own last. */
const KEYS = [...POSITIONAL, 'devtype', 'backendtype', 'backend', 'cache', 'queues'] as const;

type Key = (typeof KEYS)[number];

const FLAGS = ['cdrom', 'discard', 'no-discard', 'direct-io-safe', 'trusted'] as const;

/** xl's keys and flags that ask for something kemari does not do. */
const UNSUPPORTED = [
  ...['script', 'specification', 'grant_usage', 'untrusted', 'colo', 'no-colo'],
  ...['colo-host', 'colo-port', 'colo-export', 'active-disk', 'hidden-disk'],
] as const;

const UNSUPPORTED_ALLOWED = `leave it out; kemari knows ${[...KEYS, ...FLAGS].join(', ')}`;

/** Prefixes that xl strips and ignores. */
const IGNORED_PREFIX = /^(?:tapdisk|tap2?|aio|ioemu|file|phy):/;
const FORMAT_PREFIX = /^(raw|qcow2?|vhd):/;
const SCRIPT_PREFIX = /^(?:iscsi|e?nbd|drbd):/;
const UNKNOWN_PREFIX = /^[a-z][a-z0-9]*:(?![a-z0-9])/;

/** What libnbd takes as a URI; kemari's own extension of `target`. */
const NBD_URI = /^nbds?(?:\+unix)?:\/\//;

/** The parameters of one spec as text, before their values are judged. */
class DiskParameters {
  readonly values = new Map<Key, string>();
  readonly #context: DiskSpecContext;
  discard: boolean | undefined;
  hadPrefix = false;

  constructor(context: DiskSpecContext) {
    this.#context = context;
  }

  get(key: Key): string {
    return this.values.get(key) ?? '';
  }

  /** An empty value may be given again, as in xl. */
  set(key: Key, value: string): void {
    const { problems } = this.#context;
    const before = this.values.get(key);
    if (before !== undefined && before !== '' && before !== value) {
      problems.add(`${this.#context.key}.${key}`, value, `one value; "${before}" was given before`);
    }
    this.values.set(key, value);
  }

  setDiscard(discard: boolean): void {
    if (this.discard !== undefined && this.discard !== discard) {
      this.#context.problems.add(`${this.#context.key}.discard`, 'discard and no-discard', 'one of the two');
    }
    this.discard = discard;
  }

  /** Gives a parameter without a name its place. */
  setPositional(value: string): void {
    const next = POSITIONAL.find((key) => !this.values.has(key) && !(key === 'format' && this.hadPrefix));
    if (next === undefined) {
      this.#context.problems.add(this.#context.key, value, 'at most target,format,vdev,access without a name');
      return;
    }
    const [vdev, devtype] = splitDeprecatedDevtype(value);
    if (devtype !== undefined && (next === 'vdev' || (next === 'format' && this.get('target') === ''))) {
      // `,hdc:cdrom,r` (deprecated): an empty drive has no format.
      if (next === 'format') this.set('format', '');
      this.set('vdev', vdev);
      this.set('devtype', devtype);
    } else {
      this.set(next, value);
    }
  }
}

/** `hdc:cdrom` (deprecated): a vdev with its devtype. */
function splitDeprecatedDevtype(value: string): [string, string | undefined] {
  const colon = value.lastIndexOf(':');
  return colon < 0 ? [value, undefined] : [value.slice(0, colon), value.slice(colon + 1)];
}

/** Splits a spec into its parameters; `target=` takes the rest of the string. */
function readParameters(spec: string, context: DiskSpecContext): DiskParameters {
  const parameters = new DiskParameters(context);
  let rest = spec;
  while (rest !== '') {
    rest = rest.replace(/^[ \t\n]+/, '');
    if (rest === '') break;
    if (rest.startsWith('target=')) {
      parameters.set('target', rest.slice('target='.length));
      break;
    }
    rest = takePrefixes(rest, parameters, context);
    const comma = rest.indexOf(',');
    const token = comma < 0 ? rest : rest.slice(0, comma);
    rest = comma < 0 ? '' : rest.slice(comma + 1);
    takeToken(token, parameters, context);
  }
  return parameters;
}

function takePrefixes(text: string, parameters: DiskParameters, context: DiskSpecContext): string {
  let rest = text;
  while (!NBD_URI.test(rest)) {
    const ignored = IGNORED_PREFIX.exec(rest)?.[0];
    const format = FORMAT_PREFIX.exec(rest);
    const script = SCRIPT_PREFIX.exec(rest)?.[0];
    const prefix = ignored ?? format?.[0] ?? script;
    if (prefix === undefined) {
      const unknown = UNKNOWN_PREFIX.exec(rest)?.[0];
      if (unknown === undefined) break;
      context.problems.add(`${context.key}.target`, unknown, 'a path, an nbd:// URI, or target=... at the end');
      return rest.slice(unknown.length);
    }
    if (format?.[1] !== undefined) parameters.set('format', format[1]);
    if (script !== undefined) context.problems.add(`${context.key}.script`, prefix, UNSUPPORTED_ALLOWED);
    parameters.hadPrefix = true;
    rest = rest.slice(prefix.length);
  }
  return rest;
}

function takeToken(token: string, parameters: DiskParameters, context: DiskSpecContext): void {
  const { key: place, problems } = context;
  if (token === 'cdrom') parameters.set('devtype', 'cdrom');
  else if (token === 'discard' || token === 'no-discard') parameters.setDiscard(token === 'discard');
  else if (token === 'direct-io-safe' || token === 'trusted') return;
  else if ((UNSUPPORTED as readonly string[]).includes(token)) problems.add(place, token, UNSUPPORTED_ALLOWED);
  else if (NBD_URI.test(token) || !token.includes('=')) parameters.setPositional(token);
  else {
    const equals = token.indexOf('=');
    const key = token.slice(0, equals);
    if ((KEYS as readonly string[]).includes(key)) parameters.set(key as Key, token.slice(equals + 1));
    else if ((UNSUPPORTED as readonly string[]).includes(key))
      problems.add(`${place}.${key}`, token, UNSUPPORTED_ALLOWED);
    else problems.add(place, token, unknownKeyText(key));
  }
}

function unknownKeyText(key: string): string {
  const meant = suggest(key, [...KEYS, ...FLAGS]);
  const text = `the keys ${KEYS.join(', ')} and the flags ${FLAGS.join(', ')}`;
  return meant === undefined ? text : `${text} (did you mean "${meant}"?)`;
}

/**
 * One entry of `disk` (xl-disk-configuration(5)): positional and named parameters, mixed; deprecated prefixes; ours are
 * `cache=none|writeback`, `queues=N` and NBD URIs as target. undefined when something is wrong, which is then in
 * `context.problems`.
 */
export function parseDiskSpec(spec: string, context: DiskSpecContext): DiskConfig | undefined {
  const parameters = readParameters(spec, context);
  const choose = (key: Key, values: Readonly<Record<string, string>>, hint = ''): string => {
    const found = parameters.get(key);
    if (Object.hasOwn(values, found)) return values[found] ?? '';
    const allowed = Object.keys(values).filter(Boolean).join(', ');
    context.problems.add(`${context.key}.${key}`, found, allowed + hint);
    return '';
  };
  const formatHint = vdevIndex(parameters.get('format')) === undefined ? '' : ' (as in /dev/vg/disk,raw,xvda,rw)';
  choose('format', { '': 'raw', raw: 'raw' }, formatHint);
  choose('backendtype', { '': '', phy: '', qdisk: '' });
  choose('backend', { '': '', '0': '', 'Domain-0': '' });
  const cdrom = choose('devtype', { '': '', disk: '', cdrom: 'cdrom' }) === 'cdrom';
  const readOnly = cdrom
    ? choose('access', { '': 'r', r: 'r', ro: 'r' }, ' (a cdrom)') === 'r'
    : choose('access', { '': 'w', w: 'w', rw: 'w', r: 'r', ro: 'r' }) === 'r';
  const cache = choose('cache', { '': 'none', none: 'none', writeback: 'writeback' });
  const vdev = parameters.get('vdev');
  if (vdevIndex(vdev) === undefined) context.problems.add(`${context.key}.vdev`, vdev || undefined, VDEV_ALLOWED);
  const target = parseTarget(parameters.get('target'), context);
  const queues = parseQueues(parameters.get('queues'), context);
  if (target === undefined) return undefined;
  const discard = parameters.discard ?? true;
  return { vdev, target, readOnly, discard, cache: cache === 'writeback' ? 'writeback' : 'none', queues };
}

function parseTarget(target: string, { key, folder, problems }: DiskSpecContext): DiskTarget | undefined {
  if (target === '') {
    problems.add(
      `${key}.target`,
      undefined,
      'a block device, a raw file, or an nbd:// URI (an empty drive is not supported)',
    );
    return undefined;
  }
  if (NBD_URI.test(target)) return { kind: 'nbd', uri: target };
  return { kind: 'path', path: isAbsolute(target) ? target : resolve(folder, target) };
}

function parseQueues(text: string, { key, defaultQueues, problems }: DiskSpecContext): number {
  if (text === '') return defaultQueues;
  const queues = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (queues < 1 || queues > DISK_QUEUES_LIMIT) problems.add(`${key}.queues`, text, `1 to ${DISK_QUEUES_LIMIT}`);
  return queues;
}
