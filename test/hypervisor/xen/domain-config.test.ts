import test from 'ava';
import { domainConfigOf } from '../../../src/hypervisor/xen/domain-config.js';
import type { ToolstackConfig, ToolstackDomain } from '../../../src/hypervisor/xen/toolstack.js';

/** As `xl list -l` of Xen 4.17 prints it, without what nobody looks at. */
const DISK = { pdev_path: '/dev/vdb', vdev: 'xvda', format: 'raw', script: 'block-kemari', readwrite: 1 };
/** Its bridge is xl's own default. */
const NIC = { devid: 0, mac: '00:16:3e:00:09:01', script: '/etc/xen/scripts/vif-kemari', nictype: 'vif' };
const CONFIG: ToolstackConfig = {
  c_info: { type: 'pvh', hap: 'False', name: 'web', uuid: '61a64eda-46c4-4d64-8531-7f732d4f221f' },
  b_info: {
    ...{ max_vcpus: 2, max_memkb: 131072, target_memkb: 131072, video_memkb: 0 },
    ...{ kernel: '/guest/vmlinuz', ramdisk: '/guest/initrd', cmdline: 'console=hvc0' },
  },
  disks: [DISK],
  on_reboot: 'restart',
};

function domain(changes: object): ToolstackDomain {
  return { domid: 7, config: { ...CONFIG, ...changes } };
}

test('a running domain of xl is one of kemari: its name, size, boot files and disks', (t) => {
  const config = domainConfigOf(domain({}));
  t.is(config.name, 'web');
  t.is(config.uuid, '61a64eda-46c4-4d64-8531-7f732d4f221f');
  t.is(config.machine, 'xen');
  t.is(config.memoryBytes, 128 << 20);
  t.is(config.vcpus, 2);
  t.deepEqual(config.boot, {
    ...{ from: 'kernel', kernel: '/guest/vmlinuz', ramdisk: '/guest/initrd', cmdline: 'console=hvc0' },
  });
  t.deepEqual(config.disks, [
    {
      ...{ vdev: 'xvda', target: { kind: 'path', path: '/dev/vdb' }, readOnly: false, discard: true },
      ...{ cache: 'none', queues: 1 },
    },
  ]);
  t.deepEqual(config.vifs, []);
});

test('a disk may be an export, read-only, and without discard', (t) => {
  const disk = { ...DISK, pdev_path: 'nbd://10.0.0.3/web', readwrite: 0, discard_enable: 'False' };
  const [found] = domainConfigOf(domain({ disks: [disk] })).disks;
  t.deepEqual(found?.target, { kind: 'nbd', uri: 'nbd://10.0.0.3/web' });
  t.true(found?.readOnly);
  t.false(found?.discard);
});

test('NICs are those of its configuration, on their bridges', (t) => {
  const named = { ...NIC, mac: '00:16:3e:00:09:02', bridge: 'br1', ifname: 'web1' };
  t.deepEqual(domainConfigOf(domain({ nics: [NIC, named] })).vifs, [
    { mac: '00:16:3e:00:09:01', bridge: 'xenbr0', vifname: undefined, queues: 1 },
    { mac: '00:16:3e:00:09:02', bridge: 'br1', vifname: 'web1', queues: 1 },
  ]);
});

test('a script may be named with its folder', (t) => {
  const disk = { ...DISK, script: '/etc/xen/scripts/block-kemari' };
  t.is(domainConfigOf(domain({ disks: [disk] })).disks.length, 1);
});

for (const [what, changes, said] of [
  ['a disk that others serve', { disks: [{ ...DISK, script: undefined }] }, /disk xvda.*script=block-kemari/],
  [
    'a NIC of the kernel',
    { nics: [{ ...NIC, script: '/etc/xen/scripts/vif-bridge' }] },
    /vif 00:16.*script=vif-kemari/,
  ],
  ['a PV guest', { c_info: { ...CONFIG.c_info, type: 'pv' } }, /type pv/],
] as const) {
  test(`what leaves past the gate is refused: ${what}`, (t) => {
    t.throws(() => domainConfigOf(domain(changes)), { code: 'KEMARI_XEN_GUEST', message: said });
  });
}
