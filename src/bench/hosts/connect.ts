import { execa } from 'execa';
import { KemariError } from '../../base/errors.js';
import type { HostName } from '../../stage/names.js';
import type { Undo } from '../undo.js';
import { SshHost } from './ssh-host.js';

/** Which machines to measure on, and what they are to each other. */
export interface HostsOptions {
  /** As ssh takes them. */
  readonly destinations: Readonly<Record<HostName, string>>;
  /** The ssh to call, with options of its own. */
  readonly ssh: readonly string[];
  /** On both hosts; the guests' NICs are put on it. */
  readonly bridge: string;
  /** IPv4 addresses that nobody has, on a network of this machine: of kemari's guest and of the one without. */
  readonly addresses: readonly [string, string];
  /** Host B on the link between the hosts, as `kemari migrate` takes it; the name that ssh takes when absent. */
  readonly standby: string | undefined;
  /** kemari's own version. */
  readonly version: string;
}

/** Hosts that answer and have all that a benchmark needs. */
export interface ConnectedHosts {
  readonly hosts: Readonly<Record<HostName, SshHost>>;
  /** How host A reaches this machine. */
  readonly thisMachine: string;
  /** The kernel's `ip=` of a guest with this address. */
  readonly networkOf: (address: string) => string;
}

const KEMARID_PORT = 8002;

/**
 * `folder`: for sockets; `farewell`: what each host does when this process has ended, for a shell.
 *
 * Errors: `KEMARI_BENCH_HOST` with what a host, or this machine, lacks.
 */
export async function connectHosts(
  options: HostsOptions,
  { folder, farewell }: { readonly folder: string; readonly farewell: string },
  undo: Undo,
): Promise<ConnectedHosts> {
  const { destinations, ssh } = options;
  const networks = await Promise.all(options.addresses.map((address) => networkOf(address)));
  const connect = (host: HostName): Promise<SshHost> =>
    SshHost.connect(destinations[host], { ssh, folder, farewell }, undo);
  const [A, B] = await Promise.all([connect('A'), connect('B')]);
  await Promise.all([A, B].map((host) => checkHost(host, options)));
  if ((await B.run(['ss', '-Htln', `sport = :${KEMARID_PORT}`])) === '') {
    throw lacks(B, 'no kemarid listens there: start it (kemarid), with the key that both hosts have');
  }
  const [thisMachine = ''] = (await A.run(['sh', '-c', 'echo "$SSH_CONNECTION"'])).split(' ');
  const known = new Map(options.addresses.map((address, index) => [address, networks[index] ?? '']));
  return { hosts: { A, B }, thisMachine, networkOf: (address) => known.get(address) ?? '' };
}

async function checkHost(host: SshHost, { bridge, version }: HostsOptions): Promise<void> {
  const found = (await host.run(['kemari', '--version'])).trim();
  if (found !== version) throw lacks(host, `it has kemari ${found}, and this machine ${version}: install the same`);
  try {
    await host.run(['ip', 'link', 'show', 'dev', bridge, 'type', 'bridge']);
  } catch (error) {
    throw lacks(host, `it has no bridge ${bridge} for the guests' NICs (--bridge names another)`, error);
  }
}

function lacks(host: SshHost, what: string, cause?: unknown): KemariError {
  return new KemariError('KEMARI_BENCH_HOST', `${host.destination}: ${what}`, { cause });
}

interface Route {
  readonly dev: string;
  readonly prefsrc: string;
  readonly gateway?: string;
}
interface Device {
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

/** What a guest with this address is told of its network, in which this machine is its client. */
async function networkOf(address: string): Promise<string> {
  const [route] = await ipSays<Route>(['route', 'get', address]);
  if (route === undefined || route.gateway !== undefined) {
    const text = `this machine is to be the guests' client, and ${address} is on none of its networks`;
    throw new KemariError('KEMARI_BENCH_HOST', text);
  }
  const devices = await ipSays<Device>(['address', 'show', 'dev', route.dev]);
  const own = devices.flatMap((device) => device.addr_info).find(({ local }) => local === route.prefsrc);
  return `${address}::${route.prefsrc}:${netmask(own?.prefixlen ?? 32)}::eth0:off`;
}

/** `ip -json`; nothing where it refuses. */
async function ipSays<T>(words: readonly string[]): Promise<T[]> {
  const { exitCode, stdout } = await execa('ip', ['-json', '-4', ...words], { reject: false });
  return exitCode === 0 ? (JSON.parse(stdout) as T[]) : [];
}

/** Of a prefix of so many bits: 24 is 255.255.255.0. */
export function netmask(prefixBits: number): string {
  const mask = prefixBits === 0 ? 0 : (0xffff_ffff << (32 - prefixBits)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 0xff).join('.');
}
