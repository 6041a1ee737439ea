import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import type { DomainInfo } from '../host/contract.js';
import type { QemuBinary } from '../hypervisor/qemu/binary.js';
import type { QmpEvent } from '../hypervisor/qemu/qmp-client.js';
import type { DomainConfig } from '../model/domain-config.js';
import type { HostName } from '../stage/names.js';
import { StorageHost } from '../stage/storage-host.js';
import { CLIENT_ADDRESS, GUEST_BRIDGE, NETMASK } from '../stage/topology.js';
import type { TwoHosts } from '../stage/two-hosts.js';
import { PeerMachine } from './peer-machine.js';
import type { Undo } from './undo.js';

const READY = 'kemari-guest: ready';
const BOOT_TIMEOUT_MS = 180_000;

/** Where peers of kemari's guest are made: on which stage, from which QEMU, with which services, and as which guest. */
export interface PeerWorld {
  readonly stage: TwoHosts;
  readonly qemu: QemuBinary;
  readonly like: DomainInfo;
  readonly services: string;
}

/** One machine with QEMU's own devices. */
export interface PeerPlace {
  readonly host: HostName;
  /** Of its disk at storage. */
  readonly disk: string;
  /** Of the guest. */
  readonly address: string;
  readonly mac: string;
  readonly tap: string;
  /** It waits for the state of another machine; its NIC is not on the network. */
  readonly incoming?: boolean;
  readonly onEvent?: (event: QmpEvent) => void;
}

/**
 * Starts the guest that kemari booted as `world.like` with QEMU's own devices: its disk at the same storage, its NIC on the same
 * bridge. Resolves when it is up, or waits for a state.
 */
export async function startPeer(world: PeerWorld, place: PeerPlace, undo: Undo): Promise<PeerMachine> {
  const { qemu, like, services } = world;
  const { address, disk, tap, incoming = false } = place;
  const host = world.stage.machines[place.host];
  await host.run(['ip', 'tuntap', 'add', 'dev', tap, 'mode', 'tap', 'vnet_hdr']);
  undo.defer(`tap ${tap}`, () => host.run(['ip', 'link', 'delete', tap]));
  await host.ip([...(incoming ? [] : [`link set ${tap} master ${GUEST_BRIDGE}`]), `link set ${tap} up`]);
  const { config, accel } = like;
  if (config.boot.from !== 'kernel') throw new TypeError('the benchmark boots a kernel directly');
  const cmdline = `console=ttyS0 quiet root=/dev/vda kemari.run=${services} ip=${address}::${CLIENT_ADDRESS}:${NETMASK}::eth0:off`;
  const own: DomainConfig = { ...config, name: disk, boot: { ...config.boot, cmdline } };
  const inside = (command: readonly string[]): string[] => host.command(command);
  const options = { qemu, accel, config: own, deviceArguments: deviceArguments(own, place), inside, incoming };
  const machine = await PeerMachine.start({ ...options, onEvent: place.onEvent ?? ignore }, undo);
  if (incoming) return machine;
  // Its HTTP server answers before the other services listen.
  if (await waitUntil(() => machine.consoleText.includes(READY), { timeoutMs: BOOT_TIMEOUT_MS })) return machine;
  throw new KemariError('KEMARI_STAGE', `the guest without kemari is not up after ${BOOT_TIMEOUT_MS} ms`);
}

function ignore(): void {
  // Nobody wants to know.
}

/** Past the host's page cache, as kemari reaches the disk; NICs without vhost, which is not everywhere. */
function deviceArguments(config: DomainConfig, { disk, tap, mac, incoming = false }: PeerPlace): string[] {
  const onPci = config.machine !== 'microvm';
  const model = (device: string): string => (onPci ? `${device}-pci` : `${device}-device`);
  const node = { driver: 'nbd', 'node-name': 'disk0', export: disk, server: serverOf(disk) };
  return [
    // Between two checkpoints a guest that waits for states runs with a disk that is not the other's, and may not survive it.
    ...(incoming ? ['-action', 'panic=none'] : []),
    ...['-blockdev', JSON.stringify({ ...node, cache: { direct: true }, discard: 'unmap' })],
    ...['-device', `${model('virtio-blk')},drive=disk0`],
    ...['-netdev', `tap,id=nic0,ifname=${tap},script=no,downscript=no,vhost=off`],
    ...['-device', `${model('virtio-net')},netdev=nic0,mac=${mac}${onPci ? ',romfile=' : ''}`],
  ];
}

function serverOf(disk: string): Record<string, string> {
  const { hostname, port } = new URL(StorageHost.uri(disk));
  return { type: 'inet', host: hostname, port: port === '' ? '10809' : port };
}
