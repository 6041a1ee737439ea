import { suggest } from '../base/suggest.js';
import { deriveMac } from './derive.js';
import type { VifConfig } from './domain-config.js';
import type { Problems } from './problems.js';

/** Queue pairs of a NIC, [1, VIF_QUEUES_LIMIT]. */
export const VIF_QUEUES_LIMIT = 8;

/** The bridge that a NIC joins when its spec names none, as in xl. */
export const DEFAULT_BRIDGE = 'xenbr0';

/** Where a spec stands and what it leaves open. */
export interface VifSpecContext {
  /** `vif[0]` */
  readonly key: string;
  readonly index: number;
  readonly domainName: string;
  readonly defaultQueues: number;
  readonly problems: Problems;
}

/** Keys that mean something here; `queues` is ours. */
const KEYS = ['mac', 'bridge', 'vifname', 'model', 'type', 'script', 'backend', 'devid', 'mtu', 'queues'] as const;

type Key = (typeof KEYS)[number];

/** xl's keys that ask for something kemari does not do. */
const UNSUPPORTED = ['ip', 'rate', 'gatewaydev', 'netdev', 'accel', 'untrusted', 'forwarddev'];

/** IFNAMSIZ is 16 with its final zero; dev_valid_name() refuses "/", ":" and white space. */
const INTERFACE_NAME = /^[^\s/:]{1,15}$/;

const INTERFACE_ALLOWED = 'an interface name of 1 to 15 characters without "/", ":" and white space';

/**
 * One entry of `vif` (xl-network-configuration(5)); the empty string is a NIC with all defaults. Ours: `queues=N`, and
 * `bridge=none` for a tap that is put on no bridge. What is wrong goes to `context.problems`.
 */
export function parseVifSpec(spec: string, context: VifSpecContext): VifConfig {
  const { key, problems } = context;
  const values = readPairs(spec, context);
  const choose = (name: Key, allowed: readonly string[], hint = ''): void => {
    const found = values.get(name);
    if (found === undefined || found === '' || allowed.includes(found)) return;
    problems.add(`${key}.${name}`, found, allowed.join(', ') + hint);
  };
  choose('model', ['virtio-net', 'virtio', 'virtio-net-pci']);
  choose('type', ['vif', 'ioemu'], ' (both are a virtio NIC)');
  choose('script', ['vif-bridge', '/etc/xen/scripts/vif-bridge'], ' (what kemari does itself)');
  choose('backend', ['0', 'Domain-0']);
  choose('devid', [String(context.index)], ' (the place in the list)');
  choose('mtu', ['1500']);
  const bridge = values.get('bridge') ?? '';
  const vifname = values.get('vifname') ?? '';
  for (const [name, value] of [
    ['bridge', bridge],
    ['vifname', vifname],
  ] as const) {
    if (value !== '' && !isInterfaceName(value)) problems.add(`${key}.${name}`, value, INTERFACE_ALLOWED);
  }
  return {
    mac: parseMac(values.get('mac') ?? '', context),
    bridge: bridge === 'none' ? undefined : bridge || DEFAULT_BRIDGE,
    vifname: vifname || undefined,
    queues: parseQueues(values.get('queues') ?? '', context),
  };
}

function isInterfaceName(name: string): boolean {
  return INTERFACE_NAME.test(name) && Buffer.byteLength(name) <= 15 && name !== '.' && name !== '..';
}

function readPairs(spec: string, { key: place, problems }: VifSpecContext): Map<Key, string> {
  const values = new Map<Key, string>();
  for (const part of spec.split(',')) {
    const token = part.trim();
    if (token === '' || token === 'trusted') continue;
    const equals = token.indexOf('=');
    const key = equals < 0 ? token : token.slice(0, equals).trimEnd();
    const value = equals < 0 ? undefined : token.slice(equals + 1).trimStart();
    if (UNSUPPORTED.includes(key)) {
      problems.add(`${place}.${key}`, token, `leave it out; kemari knows ${KEYS.join(', ')}`);
    } else if (value === undefined || !(KEYS as readonly string[]).includes(key)) {
      const meant = suggest(key, KEYS);
      const hint = meant === undefined ? '' : ` (did you mean "${meant}="?)`;
      problems.add(place, token, `${KEYS.map((name) => `${name}=`).join(', ')}${hint}`);
    } else if (values.has(key as Key)) {
      problems.add(`${place}.${key}`, value, 'one value; it was given before');
    } else {
      values.set(key as Key, value);
    }
  }
  return values;
}

function parseMac(text: string, { key, index, domainName, problems }: VifSpecContext): string {
  if (text === '') return deriveMac(domainName, index);
  const mac = text.toLowerCase();
  const firstOctet = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/.test(mac) ? Number.parseInt(mac.slice(0, 2), 16) : undefined;
  if (firstOctet === undefined) {
    problems.add(`${key}.mac`, text, 'six groups of two hexadecimal digits with colons, as 00:16:3e:74:3d:76');
  } else if ((firstOctet & 1) !== 0 || mac === '00:00:00:00:00:00') {
    problems.add(`${key}.mac`, text, 'the address of one station: even first group, not all zero');
  }
  return mac;
}

function parseQueues(text: string, { key, defaultQueues, problems }: VifSpecContext): number {
  if (text === '') return defaultQueues;
  const queues = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (queues < 1 || queues > VIF_QUEUES_LIMIT) problems.add(`${key}.queues`, text, `1 to ${VIF_QUEUES_LIMIT}`);
  return queues;
}
