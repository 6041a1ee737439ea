import { join } from 'node:path';
import { execa } from 'execa';
import { waitUntil } from '../../src/base/deadline.js';
import { KemariError } from '../../src/base/errors.js';
import type { QemuBinary } from '../../src/hypervisor/qemu/binary.js';
import type { DiskConfig, DomainConfig } from '../../src/model/domain-config.js';
import { blockdev } from './blockdev.js';
import { GuestShell } from '../../src/stage/guest-shell.js';
import { PeerMachine } from '../../src/bench/peer-machine.js';
import { PRIVATE_BRIDGE } from '../../src/stage/private-network.js';
import type { Client } from './client.js';
import { startStorageDaemon } from './storage-daemon.js';
import type { Undo } from '../../src/bench/undo.js';
import type { Variant } from './variant.js';
import type { Accel } from '../../src/model/machine-description.js';

/** Who serves the disks; NICs are always QEMU's own virtio-net on a tap, without vhost. */
export type PeerKind = 'qemu' | 'qemu+iothread' | 'qemu-storage-daemon';

export interface PeerOptions {
  readonly kind: PeerKind;
  readonly qemu: QemuBinary;
  readonly client: Client;
  readonly accel: Accel;
  /** As kemari has it, with the peer's own name, MAC, address and copy of the root disk. */
  readonly config: DomainConfig;
  readonly address: string;
  readonly tap: string;
  readonly directory: string;
}

/** QEMU's default for virtio-blk, and what kemari's disks have. */
export const DISK_QUEUE_SIZE = 256;

export async function startPeer(options: PeerOptions, undo: Undo): Promise<Variant> {
  const processes: number[] = [];
  const disks: string[] = [];
  if (options.kind === 'qemu-storage-daemon') {
    const sockets = options.config.disks.map((_, index) => join(options.directory, `qsd-${options.tap}-${index}.sock`));
    processes.push(await startStorageDaemon(options.config.disks, sockets, undo));
    disks.push(...options.config.disks.flatMap((disk, index) => remoteDisk(options, disk, index, sockets[index]!)));
  } else {
    disks.push(...options.config.disks.flatMap((disk, index) => ownDisk(options, disk, index)));
  }
  const nics = await Promise.all(options.config.vifs.map((vif, index) => nic(options, vif.mac, index, undo)));
  const { qemu, accel, config } = options;
  const machine = await PeerMachine.start({ qemu, accel, config, deviceArguments: [...disks, ...nics.flat()] }, undo);
  return {
    name: options.kind,
    shell: new GuestShell(options.address, (command) => options.client.enter(command)),
    processes: [machine.pid, ...processes],
    stopCont: (count) => machine.stopCont(count),
    close: () => machine.close(),
  };
}

/** The same machine without any disk or NIC: what its `stop` and `cont` cost when there is nothing to tell a back-end. */
export async function startBareMachine(options: Omit<PeerOptions, 'kind'>, undo: Undo): Promise<PeerMachine> {
  const { qemu, accel, config } = options;
  const machine = await PeerMachine.start({ qemu, accel, config, deviceArguments: [] }, undo);
  const timeoutMs = 120_000;
  if (!(await waitUntil(() => machine.consoleText.includes('kemari-guest: ready'), { timeoutMs }))) {
    throw new KemariError('KEMARI_BENCH_GUEST', `the guest without devices is not up after ${timeoutMs} ms`);
  }
  return machine;
}

function ownDisk(options: PeerOptions, disk: DiskConfig, index: number): string[] {
  const node = `disk${index}`;
  const thread =
    options.kind === 'qemu+iothread' && options.config.machine !== 'microvm' ? `,iothread=thread${index}` : '';
  const model = deviceModel(options.config, 'virtio-blk', index);
  return [
    ...(thread === '' ? [] : ['-object', `iothread,id=thread${index}`]),
    ...['-blockdev', blockdev(disk, node)],
    ...['-device', `${model},drive=${node},num-queues=${disk.queues},queue-size=${DISK_QUEUE_SIZE}${thread}`],
  ];
}

function remoteDisk(options: PeerOptions, disk: DiskConfig, index: number, socket: string): string[] {
  const model = deviceModel(options.config, 'vhost-user-blk', index);
  return [
    ...['-chardev', `socket,id=disk${index}-socket,path=${socket}`],
    ...['-device', `${model},chardev=disk${index}-socket,num-queues=${disk.queues},queue-size=${DISK_QUEUE_SIZE}`],
  ];
}

async function nic(options: PeerOptions, mac: string, index: number, undo: Undo): Promise<string[]> {
  const tap = `${options.tap}.${index}`;
  await execa('ip', ['tuntap', 'add', 'dev', tap, 'mode', 'tap', 'vnet_hdr']);
  undo.defer(tap, () => execa('ip', ['link', 'delete', tap]));
  await execa('ip', ['link', 'set', tap, 'master', PRIVATE_BRIDGE, 'up']);
  const model = deviceModel(options.config, 'virtio-net', options.config.disks.length + index);
  const rom = options.config.machine === 'microvm' ? '' : ',romfile=';
  return [
    ...['-netdev', `tap,id=nic${index},ifname=${tap},script=no,downscript=no,vhost=off`],
    ...['-device', `${model},netdev=nic${index},mac=${mac}${rom}`],
  ];
}

function deviceModel(config: DomainConfig, device: string, place: number): string {
  return config.machine === 'microvm'
    ? `${device === 'vhost-user-blk' ? device : `${device}-device`},bus=virtio-mmio-bus.${place}`
    : `${device}-pci,disable-legacy=on`;
}
