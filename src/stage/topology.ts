import type { HostName, MachineName } from './names.js';

/**
 * What is plugged into what. Everything between the machines is a veth pair, everything they share a bridge, so that
 * frames, ARP and the learning of addresses are the kernel's own.
 *
 *     client eth0 ── client ┐
 *     A kembr0 (vifs, client0) ── A ├ switch: bridge `lan`, 10.77.0.0/24
 *     B kembr0 (vifs, client0) ── B ┘
 *     A sync ── sync B                                     10.78.0.0/24
 *     A store ── A ┐
 *     B store ── B ┴ storage: bridge `san`                 10.79.0.0/24
 */

/** The bridge on both hosts that guests' NICs are put on. */
export const GUEST_BRIDGE = 'kembr0';
export const LAN_BRIDGE = 'lan';
export const SAN_BRIDGE = 'san';

export const NETMASK = '255.255.255.0';
export const PREFIX = '/24';

export const STORAGE_ADDRESS = '10.79.0.3';
export const CLIENT_ADDRESS = '10.77.0.1';

/** The kernel's `ip=` of a guest with this address. */
export function guestNetwork(address: string): string {
  return `${address}::${CLIENT_ADDRESS}:${NETMASK}::eth0:off`;
}

/** A host's address on each of its networks. */
export const HOST_ADDRESSES = {
  A: { client: '10.77.0.251', sync: '10.78.0.1', storage: '10.79.0.1' },
  B: { client: '10.77.0.252', sync: '10.78.0.2', storage: '10.79.0.2' },
} as const satisfies Record<HostName, Record<Network, string>>;

export type Network = 'client' | 'sync' | 'storage';

/** One end of a cable. */
export interface Port {
  readonly machine: MachineName;
  readonly device: string;
}

export type LinkName = 'client-A' | 'client-B' | 'sync' | 'storage-A' | 'storage-B';

/** A cable that can be cut or shaped. `near` is its end at the host that the link is named for, A's of the sync link. */
export interface Link {
  readonly name: LinkName;
  readonly near: Port;
  readonly far: Port;
}

export const LINKS: Readonly<Record<LinkName, Link>> = {
  'client-A': {
    name: 'client-A',
    near: { machine: 'A', device: 'client0' },
    far: { machine: 'switch', device: 'A' },
  },
  'client-B': {
    name: 'client-B',
    near: { machine: 'B', device: 'client0' },
    far: { machine: 'switch', device: 'B' },
  },
  sync: { name: 'sync', near: { machine: 'A', device: 'sync' }, far: { machine: 'B', device: 'sync' } },
  'storage-A': {
    name: 'storage-A',
    near: { machine: 'A', device: 'store' },
    far: { machine: 'storage', device: 'A' },
  },
  'storage-B': {
    name: 'storage-B',
    near: { machine: 'B', device: 'store' },
    far: { machine: 'storage', device: 'B' },
  },
};

export const LINK_NAMES = Object.keys(LINKS) as readonly LinkName[];

/** A host's devices that lead to others: with all of them down it reaches nobody. */
export const HOST_DEVICES: readonly string[] = ['client0', 'sync', 'store'];

/** What `ip -batch` reads, in this order; the machine `undefined` is the one that all of them run on. */
export function topologyBatches(
  namespace: (machine: MachineName) => string,
): readonly (readonly [MachineName, readonly string[]])[] {
  const host = (name: HostName): readonly string[] => [
    'link set lo up',
    `address add ${HOST_ADDRESSES[name].client}${PREFIX} dev ${GUEST_BRIDGE}`,
    `address add ${HOST_ADDRESSES[name].sync}${PREFIX} dev sync`,
    `address add ${HOST_ADDRESSES[name].storage}${PREFIX} dev store`,
    `link set client0 master ${GUEST_BRIDGE}`,
    ...[GUEST_BRIDGE, ...HOST_DEVICES].map((device) => `link set ${device} up`),
  ];
  return [
    [
      'switch',
      [
        `link add ${LAN_BRIDGE} type bridge`,
        `link add client type veth peer name eth0 netns ${namespace('client')}`,
        `link add A type veth peer name client0 netns ${namespace('A')}`,
        `link add B type veth peer name client0 netns ${namespace('B')}`,
        ...['client', 'A', 'B'].map((port) => `link set ${port} master ${LAN_BRIDGE}`),
        ...['lo', LAN_BRIDGE, 'client', 'A', 'B'].map((device) => `link set ${device} up`),
      ],
    ],
    [
      'storage',
      [
        `link add ${SAN_BRIDGE} type bridge`,
        `link add A type veth peer name store netns ${namespace('A')}`,
        `link add B type veth peer name store netns ${namespace('B')}`,
        ...['A', 'B'].map((port) => `link set ${port} master ${SAN_BRIDGE}`),
        `address add ${STORAGE_ADDRESS}${PREFIX} dev ${SAN_BRIDGE}`,
        ...['lo', SAN_BRIDGE, 'A', 'B'].map((device) => `link set ${device} up`),
      ],
    ],
    [
      'A',
      [
        `link add sync type veth peer name sync netns ${namespace('B')}`,
        `link add ${GUEST_BRIDGE} type bridge`,
        ...host('A'),
      ],
    ],
    ['B', [`link add ${GUEST_BRIDGE} type bridge`, ...host('B')]],
    ['client', ['link set lo up', `address add ${CLIENT_ADDRESS}${PREFIX} dev eth0`, 'link set eth0 up']],
  ];
}
