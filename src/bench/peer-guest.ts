import { waitUntil } from '../base/deadline.js';
import { KemariError } from '../base/errors.js';
import type { DomainInfo } from '../host/contract.js';
import type { QemuBinary } from '../hypervisor/qemu/binary.js';
import type { QmpEvent } from '../hypervisor/qemu/qmp-client.js';
import type { DomainConfig } from '../model/domain-config.js';
import { PeerMachine } from './peer-machine.js';
import type { Undo } from './undo.js';

const READY = 'kemari-guest: ready';
const BOOT_TIMEOUT_MS = 180_000;
const NBD_PORT = '10809';

/** A host that a peer runs on. */
export interface PeerHost {
  /** The command line that runs this one there. */
  command(inner: readonly string[]): readonly string[];
  /** Runs a program there. */
  run(inner: readonly string[]): Promise<string>;
}

/** What peers of kemari's guest are made from: which QEMU, which services, and as which guest. */
export interface PeerKind {
  readonly qemu: QemuBinary;
  readonly like: Pick<DomainInfo, 'config' | 'accel'>;
  readonly services: string;
}

/** One machine with QEMU's own devices. */
export interface PeerPlace {
  readonly host: PeerHost;
  /** Of QEMU's process. */
  readonly name: string;
  /** NBD URI of its disk. */
  readonly disk: string;
  /** The kernel's `ip=`. */
  readonly network: string;
  readonly bridge: string;
  readonly mac: string;
  readonly tap: string;
  /** It waits for the state of another machine; its NIC is not on the network. */
  readonly incoming?: boolean;
  readonly onEvent?: (event: QmpEvent) => void;
}

/**
 * Starts the guest that kemari booted as `kind.like` with QEMU's own devices: its disk at the same storage, its NIC on the same
 * bridge. Resolves when it is up, or waits for a state.
 */
export async function startPeer(kind: PeerKind, place: PeerPlace, undo: Undo): Promise<PeerMachine> {
  const { qemu, like, services } = kind;
  const { host, name, network, tap, bridge, incoming = false } = place;
  await host.run(['ip', 'tuntap', 'add', 'dev', tap, 'mode', 'tap', 'vnet_hdr']);
  undo.defer(`tap ${tap}`, () => host.run(['ip', 'link', 'delete', tap]));
  if (!incoming) await host.run(['ip', 'link', 'set', tap, 'master', bridge]);
  await host.run(['ip', 'link', 'set', tap, 'up']);
  const { config, accel } = like;
  if (config.boot.from !== 'kernel') throw new TypeError('the benchmark boots a kernel directly');
  const cmdline = `console=ttyS0 quiet root=/dev/vda kemari.run=${services} ip=${network}`;
  const own: DomainConfig = { ...config, name, boot: { ...config.boot, cmdline } };
  const inside = (command: readonly string[]): readonly string[] => host.command(command);
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
  const { hostname, port, pathname } = new URL(disk);
  const server = { type: 'inet', host: hostname, port: port === '' ? NBD_PORT : port };
  const node = { driver: 'nbd', 'node-name': 'disk0', export: pathname.slice(1), server };
  return [
    // Between two checkpoints a guest that waits for states runs with a disk that is not the other's, and may not survive it.
    ...(incoming ? ['-action', 'panic=none'] : []),
    ...['-blockdev', JSON.stringify({ ...node, cache: { direct: true }, discard: 'unmap' })],
    ...['-device', `${model('virtio-blk')},drive=disk0`],
    ...['-netdev', `tap,id=nic0,ifname=${tap},script=no,downscript=no,vhost=off`],
    ...['-device', `${model('virtio-net')},netdev=nic0,mac=${mac}${onPci ? ',romfile=' : ''}`],
  ];
}
