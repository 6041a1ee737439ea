import test from 'ava';
import type { DomainConfig } from '../../../src/model/domain-config.js';
import { machineArguments, type MachineDescriptors } from '../../../src/hypervisor/qemu/machine-arguments.js';

const config: DomainConfig = {
  name: 'web',
  uuid: '4a1e2c5c-0f3e-4e0e-9d0a-5b1f0c1d2e3f',
  machine: 'q35',
  accel: 'auto',
  cpu: 'default',
  memoryBytes: 256 << 20,
  vcpus: 2,
  boot: { from: 'kernel', kernel: '/boot/vmlinuz', ramdisk: '/boot/initrd', cmdline: 'console=ttyS0 root=/dev/vda' },
  disks: [
    { vdev: 'xvda', target: { kind: 'path', path: '/a' }, readOnly: false, discard: true, cache: 'none', queues: 1 },
    { vdev: 'xvdb', target: { kind: 'path', path: '/b' }, readOnly: true, discard: true, cache: 'none', queues: 4 },
  ],
  vifs: [
    { mac: '00:16:3e:00:00:01', bridge: undefined, vifname: undefined, queues: 1 },
    { mac: '00:16:3e:00:00:02', bridge: undefined, vifname: undefined, queues: 2 },
  ],
  guestAgent: false,
  virtio: 'legacy',
  onPoweroff: 'destroy',
  onReboot: 'restart',
  onCrash: 'destroy',
};

const TCG = { accel: 'tcg', version: '10.0.2', tscKhz: 2_500_000 } as const;
const KVM = { accel: 'kvm', version: '7.2.22', tscKhz: 2_500_000 } as const;

const fds: MachineDescriptors = { ram: 3, qmp: 4, console: 5, kernel: 6, ramdisk: 7, disks: [8, 9], vifDirectory: 10 };

/** The values that follow each `name`. */
function valuesOf(args: readonly string[], name: string): string[] {
  return args.flatMap((arg, index) => (arg === name ? [args[index + 1] ?? ''] : []));
}

test('guest memory is shared and everything else comes by descriptor', (t) => {
  const args = machineArguments(config, TCG, fds);
  t.deepEqual(valuesOf(args, '-object'), [
    'memory-backend-file,id=ram,mem-path=/proc/self/fd/3,share=on,size=268435456B',
  ]);
  t.deepEqual(valuesOf(args, '-chardev'), [
    'socket,id=qmp,fd=4',
    'socket,id=console,fd=5',
    'socket,id=disk0-socket,fd=8',
    'socket,id=disk1-socket,fd=9',
    'socket,id=vif0-socket,path=/proc/self/fd/10/vif0',
    'socket,id=vif1-socket,path=/proc/self/fd/10/vif1',
  ]);
  t.deepEqual(valuesOf(args, '-kernel'), ['/proc/self/fd/6']);
  t.deepEqual(valuesOf(args, '-initrd'), ['/proc/self/fd/7']);
  t.false(args.some((arg) => arg.includes('/boot/')));
});

test('a guest agent has the second serial port, where there is to be one', (t) => {
  t.false(machineArguments(config, TCG, fds).some((arg) => arg.includes('isa-serial')));
  const args = machineArguments(config, TCG, { ...fds, agent: 11 });
  t.true(valuesOf(args, '-chardev').includes('socket,id=agent,fd=11'));
  t.true(valuesOf(args, '-device').includes('isa-serial,index=1,chardev=agent'));
});

test('the sandbox is on, and ends of the guest are ours to decide', (t) => {
  const args = machineArguments(config, TCG, fds);
  t.deepEqual(valuesOf(args, '-sandbox'), ['on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny']);
  t.deepEqual(valuesOf(args, '-action'), ['reboot=reset,shutdown=pause,panic=pause']);
  const stopping = machineArguments({ ...config, onReboot: 'preserve' }, TCG, fds);
  t.deepEqual(valuesOf(stopping, '-action'), ['reboot=shutdown,shutdown=pause,panic=pause']);
  t.true(args.includes('-S'));
});

test('disks and NICs have as many queues as asked for', (t) => {
  const devices = valuesOf(machineArguments(config, TCG, fds), '-device');
  t.regex(
    devices.find((device) => device.includes('id=disk1'))!,
    /^vhost-user-blk-pci,.*num-queues=4/,
  );
  t.regex(
    devices.find((device) => device.includes('id=vif1'))!,
    /^virtio-net-pci,.*mq=on,vectors=6/,
  );
  t.notRegex(
    devices.find((device) => device.includes('id=vif0'))!,
    /mq=on/,
  );
  t.deepEqual(
    valuesOf(machineArguments(config, TCG, fds), '-netdev').map((netdev) => /queues=\d/.exec(netdev)?.[0]),
    ['queues=1', 'queues=2'],
  );
});

test('devices speak the virtio that the domain asks for, and no other', (t) => {
  for (const [virtio, pci, mmio] of [
    ['legacy', 'disable-legacy=off,disable-modern=on', 'virtio-mmio.force-legacy=on'],
    ['modern', 'disable-legacy=on,disable-modern=off', 'virtio-mmio.force-legacy=off'],
  ] as const) {
    const devices = valuesOf(machineArguments({ ...config, virtio }, TCG, fds), '-device');
    t.is(devices.filter((device) => device.includes(pci)).length, config.disks.length + config.vifs.length);
    t.true(valuesOf(machineArguments({ ...config, virtio, machine: 'microvm' }, TCG, fds), '-global').includes(mmio));
  }
});

test('microvm has its devices on virtio-mmio, each in a place of its own, and none of a PC', (t) => {
  const args = machineArguments({ ...config, machine: 'microvm' }, TCG, fds);
  const devices = valuesOf(args, '-device');
  t.deepEqual(
    devices.map((device) => /virtio-mmio-bus\.\d+/.exec(device)?.[0]),
    ['virtio-mmio-bus.4', 'virtio-mmio-bus.3', 'virtio-mmio-bus.2', 'virtio-mmio-bus.1'],
  );
  t.false(args.some((arg) => arg.includes('-pci') || arg.includes('pvpanic') || arg.includes('romfile')));
});

test('a domain that boots from disk tries its disks in their order', (t) => {
  const args = machineArguments({ ...config, boot: { from: 'disk' } }, TCG, { ...fds, kernel: undefined });
  const disks = valuesOf(args, '-device').filter((device) => device.includes('blk'));
  t.deepEqual(
    disks.map((disk) => /bootindex=\d/.exec(disk)?.[0]),
    ['bootindex=1', 'bootindex=2'],
  );
  t.false(args.includes('-kernel'));
});

test('the default CPU is the host with KVM and all that TCG can without; another is taken as it is', (t) => {
  t.deepEqual(valuesOf(machineArguments(config, KVM, fds), '-cpu'), ['host']);
  t.deepEqual(valuesOf(machineArguments(config, TCG, fds), '-cpu'), ['max,la57=off']);
  t.deepEqual(valuesOf(machineArguments({ ...config, cpu: 'qemu64' }, KVM, fds), '-cpu'), ['qemu64']);
});

test('more devices than there is room for are refused by number', (t) => {
  const many = { ...config, disks: Array.from({ length: 25 }, () => config.disks[0]!) };
  t.throws(() => machineArguments(many, TCG, fds), {
    code: 'KEMARI_MACHINE_DEVICES',
    message: /room for 24.*has 27/,
  });
});

test('a QEMU that dies of MSI-X without KVM gets none for its NICs', (t) => {
  const nic = (accel: 'kvm' | 'tcg', version: string): string =>
    valuesOf(machineArguments(config, { accel, version, tscKhz: 2_500_000 }, fds), '-device').find((device) =>
      device.includes('id=vif0'),
    )!;
  t.regex(nic('tcg', '7.2.22'), /vectors=0,/);
  t.regex(nic('kvm', '7.2.22'), /vectors=4,/);
  t.regex(nic('tcg', '10.0.2'), /vectors=4,/);
});

test('microvm without KVM tells the kernel the rate of its clock', (t) => {
  const microvm = { ...config, machine: 'microvm' } as const;
  t.regex(valuesOf(machineArguments(microvm, TCG, fds), '-append')[0]!, / tsc_early_khz=2500000 tsc=reliable$/);
  t.notRegex(valuesOf(machineArguments(microvm, KVM, fds), '-append')[0]!, /tsc_early_khz/);
  t.notRegex(valuesOf(machineArguments(config, TCG, fds), '-append')[0]!, /tsc_early_khz/);
});

test('a microvm reboots by a reset, unless its domain file knows better', (t) => {
  const microvm = { ...config, machine: 'microvm' } as const;
  t.regex(valuesOf(machineArguments(microvm, KVM, fds), '-append')[0]!, /^reboot=t console=ttyS0 /);
  t.notRegex(valuesOf(machineArguments(config, KVM, fds), '-append')[0]!, /reboot=/);
});
