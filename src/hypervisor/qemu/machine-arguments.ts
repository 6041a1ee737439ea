import type { DomainConfig, MachineType, VifConfig } from '../../model/domain-config.js';
import { KemariError } from '../../base/errors.js';
import { isAtLeast } from './binary.js';

/** What runs the guest. */
export interface Engine {
  readonly accel: 'kvm' | 'tcg';
  /** QEMU's version. */
  readonly version: string;
  /** Rate of the host's time stamp counter, which TCG shows to the guest, in kHz. */
  readonly tscKhz: number;
}

/** Descriptors of the QEMU process that its arguments refer to. */
export interface MachineDescriptors {
  readonly ram: number;
  readonly qmp: number;
  /** A listening socket for the second monitor: for whoever captures, while he does. */
  readonly captureQmp?: number | undefined;
  readonly console: number;
  /** Connected, for the second serial port; undefined: there is none. */
  readonly agent?: number | undefined;
  readonly kernel: number | undefined;
  readonly ramdisk: number | undefined;
  /** Connected vhost-user sockets, in the order of `config.disks`. */
  readonly disks: readonly number[];
  /** The directory in which the socket `vifSocketName(index)` listens for each NIC; undefined without NICs. */
  readonly vifDirectory: number | undefined;
}

/**
 * The first transport of QEMU's microvm that can interrupt. The one before it has pin 0 of the second I/O APIC, which QEMU
 * takes for ISA's IRQ 0 and turns into pin 2 (hw/intc/ioapic.c: ioapic_set_irq).
 */
const MICROVM_FIRST_TRANSPORT = 1;

/** Transports that are left (hw/i386/microvm.c: 24 with a second I/O APIC). */
const MICROVM_MAX_DEVICES = 24 - MICROVM_FIRST_TRANSPORT;

/** Slots of the root bus of q35 and pc, less those that the chipset and kemari's own devices take. */
const PCI_MAX_DEVICES = 24;

/**
 * Descriptors of a disk's queue. On PCI enough for depth 32 of several jobs with some segments each; virtio-mmio offers its
 * guests VIRTQUEUE_MAX_SIZE whatever is said here, and they take it.
 */
const DISK_QUEUE_SIZE = { pci: 256, mmio: 1024 } as const;

/**
 * `default` as a CPU model. With KVM it is the host's (flags that cannot migrate are left out by QEMU); with TCG all that
 * TCG can, less five-level paging, which only makes emulated page walks longer.
 */
const DEFAULT_CPU = { kvm: 'host', tcg: 'max,la57=off' } as const;

export function cpuModel(cpu: string, accel: 'kvm' | 'tcg'): string {
  return cpu === 'default' ? DEFAULT_CPU[accel] : cpu;
}

export function vifSocketName(index: number): string {
  return `vif${index}`;
}

/**
 * The arguments of `qemu-system-x86_64` for a domain: stopped at its start, no device that nobody asked for, everything
 * that it talks to an inherited descriptor. The guest's own power-off and panic, and its reboot unless it may restart, stop the
 * machine and are reported, so that who decides is us. `incoming`: the machine waits for the state of another, made with the
 * same arguments. Pure.
 *
 * Errors: `KEMARI_MACHINE_DEVICES` for more devices than the machine has room for.
 */
export function machineArguments(
  config: DomainConfig,
  engine: Engine,
  fds: MachineDescriptors,
  incoming = false,
): string[] {
  checkRoom(config);
  const { accel } = engine;
  return [
    // A saved state begins with a configuration section only where this says so; xen-save-devices-state writes none.
    ...['-global', 'migration.send-configuration=off', ...(incoming ? ['-incoming', 'defer'] : [])],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-S'],
    ...['-name', `guest=${config.name},debug-threads=on`, '-uuid', config.uuid],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-machine', machineOptions(config), '-accel', accel, '-cpu', cpuModel(config.cpu, accel)],
    ...['-smp', `cpus=${config.vcpus},maxcpus=${config.vcpus}`, '-m', `size=${config.memoryBytes}B`],
    ...['-object', `memory-backend-file,id=ram,mem-path=${fdPath(fds.ram)},share=on,size=${config.memoryBytes}B`],
    ...['-rtc', 'base=utc', '-action', `reboot=${rebootAction(config)},shutdown=pause,panic=pause`],
    ...['-chardev', `socket,id=qmp,fd=${fds.qmp}`, '-mon', 'chardev=qmp,mode=control'],
    ...captureMonitor(fds),
    ...['-chardev', `socket,id=console,fd=${fds.console}`, '-serial', 'chardev:console'],
    ...agentArguments(fds),
    ...machineExtras(config),
    ...bootArguments(config, engine, fds),
    ...config.disks.flatMap((_, index) => diskArguments(config, index, fds)),
    ...config.vifs.flatMap((vif, index) => vifArguments(config, vif, index, fds, vectors(config, vif, engine))),
  ];
}

/**
 * A guest that may restart does so in place. Stopping it to decide would not do: SeaBIOS, when it is entered the second
 * time, restores its image and resets the machine once more (its qemu_prep_reset), which cannot be told from the guest.
 */
function rebootAction(config: DomainConfig): 'reset' | 'shutdown' {
  return config.onReboot === 'restart' ? 'reset' : 'shutdown';
}

function captureMonitor({ captureQmp }: MachineDescriptors): string[] {
  if (captureQmp === undefined) return [];
  const chardev = `socket,id=capture,fd=${captureQmp},server=on,wait=off`;
  return ['-chardev', chardev, '-mon', 'chardev=capture,mode=control'];
}

/** A serial port: some hundred bytes of state, where a port of virtio-serial costs a checkpoint a PCI device. */
function agentArguments({ agent }: MachineDescriptors): string[] {
  if (agent === undefined) return [];
  return ['-chardev', `socket,id=agent,fd=${agent}`, '-device', 'isa-serial,index=1,chardev=agent'];
}

function fdPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

function machineOptions(config: DomainConfig): string {
  switch (qemuMachine(config)) {
    case 'q35':
      return 'q35,memory-backend=ram,usb=off,graphics=off,vmport=off,smm=off,sata=off';
    case 'pc':
      return 'pc,memory-backend=ram,usb=off,graphics=off,vmport=off,smm=off';
    case 'microvm':
      return 'microvm,memory-backend=ram,acpi=on,pcie=off,rtc=on,isa-serial=on,auto-kernel-cmdline=off';
  }
}

/** Errors: `KEMARI_INTERNAL` for a domain that is none of QEMU's. */
export function qemuMachine({ name, machine }: DomainConfig): MachineType {
  if (machine !== 'xen') return machine;
  throw new KemariError('KEMARI_INTERNAL', `domain "${name}" is Xen's, and QEMU is to start it`);
}

function machineExtras(config: DomainConfig): string[] {
  if (config.machine !== 'microvm') return ['-device', 'pvpanic'];
  // SeaBIOS would look for a disk to boot from, with its stack where no back-end can read it (QEMU 10.0: low memory is
  // not in the table that it sends), and wait for ever. qboot starts the kernel and does no more.
  const forceLegacy = config.virtio === 'legacy' ? 'on' : 'off';
  return ['-bios', 'qboot.rom', '-global', `virtio-mmio.force-legacy=${forceLegacy}`];
}

/**
 * Without KVM a boot loader must not run code where it has run other code before, unless the processor itself wrote it:
 * QEMU keeps translations of what ran there and does not see that a vhost-user disk has put something else in its place.
 * Chains of boot sectors (MBR and partition, both at 0x7c00) fail that way. Linux clears pages before it reuses them
 * (CONFIG_INIT_ON_ALLOC_DEFAULT_ON, Debian's default), and is safe.
 */
function bootArguments(config: DomainConfig, engine: Engine, fds: MachineDescriptors): string[] {
  if (config.boot.from === 'disk' || fds.kernel === undefined) return ['-boot', 'strict=on'];
  const ramdisk = fds.ramdisk === undefined ? [] : ['-initrd', fdPath(fds.ramdisk)];
  return [
    '-kernel',
    fdPath(fds.kernel),
    ...ramdisk,
    '-append',
    rebootHint(config) + config.boot.cmdline + clockHint(config, engine),
  ];
}

/**
 * Linux reboots a microvm by way of a BIOS, which it enters in real mode: no reset, and what the processor and the firmware's
 * memory hold stays. qboot then runs on a stack at 0x7c00 beyond whatever 64 KiB the upper half of ESP says, often where it
 * loads the kernel. A triple fault resets the machine (QEMU's documentation of microvm says so, too). It stands first: of
 * several `reboot=` the last one counts, which is the domain file's.
 */
function rebootHint(config: DomainConfig): string {
  return config.machine === 'microvm' ? 'reboot=t ' : '';
}

/**
 * microvm with ACPI has neither timer that Linux measures the time stamp counter by; a kernel that KVM does not tell the
 * rate waits for ever in its calibration. `tsc_early_khz` (Linux 5.1) says it, and `tsc=reliable` that nothing is there to
 * check it by: what is left, jiffies, is worse.
 */
function clockHint(config: DomainConfig, engine: Engine): string {
  return config.machine === 'microvm' && engine.accel === 'tcg' ? ` tsc_early_khz=${engine.tscKhz} tsc=reliable` : '';
}

function diskArguments(config: DomainConfig, index: number, fds: MachineDescriptors): string[] {
  const queues = config.disks[index]?.queues ?? 1;
  const id = `disk${index}`;
  const boot = config.boot.from === 'disk' ? `,bootindex=${index + 1}` : '';
  const queueSize = DISK_QUEUE_SIZE[config.machine === 'microvm' ? 'mmio' : 'pci'];
  const common = `id=${id},chardev=${id}-socket,num-queues=${queues},queue-size=${queueSize}${boot}`;
  return [
    ...['-chardev', `socket,id=${id}-socket,fd=${fds.disks[index] ?? -1}`],
    ...['-device', `${deviceModel(config, 'vhost-user-blk', index)},${common}`],
  ];
}

/** A guest cannot take offloads back at run time: QEMU would agree, and has no word for it to a vhost-user back-end. */
const NIC_FEATURES = 'ctrl_guest_offloads=off';

function vifArguments(
  config: DomainConfig,
  vif: VifConfig,
  index: number,
  fds: MachineDescriptors,
  interrupts: string,
): string[] {
  const id = `vif${index}`;
  // QEMU passes descriptors only over a socket that it connected by a path ("chardev does not support FD passing").
  const path = `${fdPath(fds.vifDirectory ?? -1)}/${vifSocketName(index)}`;
  const multiQueue = vif.queues > 1 ? ',mq=on' : '';
  const rom = config.machine === 'microvm' ? '' : ',romfile=';
  const model = deviceModel(config, 'virtio-net', config.disks.length + index);
  return [
    ...['-chardev', `socket,id=${id}-socket,path=${path}`],
    ...['-netdev', `vhost-user,id=${id}-net,chardev=${id}-socket,queues=${vif.queues}`],
    ...['-device', `${model},id=${id},netdev=${id}-net,mac=${vif.mac},${NIC_FEATURES}${multiQueue}${interrupts}${rom}`],
  ];
}

/** The first version whose virtio-net-pci with a vhost-user peer is known to bear MSI-X without KVM; 7.2.22 does not. */
const MSIX_WITHOUT_KVM_VERSION = [10, 0] as const;

/**
 * Interrupts of a NIC on PCI: one for each of the 2N queues, one for the control queue, one for configuration changes.
 * Without KVM an older QEMU dies of a NULL vector_irqfd as soon as the guest turns MSI-X on (virtio_pci_one_vector_unmask):
 * there the one interrupt line must do.
 */
function vectors(config: DomainConfig, vif: VifConfig, engine: Engine): string {
  if (config.machine === 'microvm') return '';
  if (engine.accel === 'tcg' && !isAtLeast(engine.version, MSIX_WITHOUT_KVM_VERSION)) return ',vectors=0';
  return `,vectors=${2 * vif.queues + 2}`;
}

/**
 * QEMU saves 1024 queues of every transport that speaks virtio 1.0, whatever their number (VIRTIO_QUEUE_MAX): 45 KB and a third
 * to half a millisecond a device, with the guest stopped. A transport that speaks only the older virtio has no such
 * state.
 */
const PCI_VIRTIO = {
  legacy: 'disable-legacy=off,disable-modern=on',
  modern: 'disable-legacy=on,disable-modern=off',
} as const;

/** QEMU's name of the device on this machine's bus; `place` counts all devices of the domain. */
function deviceModel(config: DomainConfig, device: 'vhost-user-blk' | 'virtio-net', place: number): string {
  if (config.machine !== 'microvm') return `${device}-pci,${PCI_VIRTIO[config.virtio]}`;
  // Guests find the transports from the last to the first.
  const bus = MICROVM_FIRST_TRANSPORT + config.disks.length + config.vifs.length - 1 - place;
  return `${device === 'virtio-net' ? 'virtio-net-device' : device},bus=virtio-mmio-bus.${bus}`;
}

function checkRoom(config: DomainConfig): void {
  const found = config.disks.length + config.vifs.length;
  const room = config.machine === 'microvm' ? MICROVM_MAX_DEVICES : PCI_MAX_DEVICES;
  if (found <= room) return;
  throw new KemariError(
    'KEMARI_MACHINE_DEVICES',
    `machine "${config.machine}" has room for ${room} disks and vifs; the domain has ${found}`,
  );
}
