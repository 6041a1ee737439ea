import test from 'ava';
import { KemariError } from '../../src/base/errors.js';
import { compareBootFiles, compareDisks, compareMachines, refuseDifferences } from '../../src/wire/compare.js';
import { MACHINE, offer } from './testing.js';

test('machines that are the same are the same', (t) => {
  t.deepEqual(compareMachines(MACHINE, { ...MACHINE }), []);
  t.notThrows(() => {
    refuseDifferences('web', []);
  });
});

test('every difference of two machines is named with both values', (t) => {
  const other = {
    ...MACHINE,
    ...{
      version: '10.0.2',
      machine: 'pc-q35-10.0',
      cpuModel: 'EPYC',
      cpuFeatures: ['sse', 'avx'],
      memoryBytes: 1 << 30,
    },
    blocks: [{ name: 'pc.bios', sizeBytes: 262_144, sha256: 'cd'.repeat(32) }],
  };
  const found = compareMachines(MACHINE, other);
  t.deepEqual(
    found.map(({ what, primary, standby }) => `${what}: ${primary} / ${standby}`),
    [
      'version of qemu: 7.2.22 / 10.0.2',
      'machine type: pc-q35-7.2 / pc-q35-10.0',
      'CPU model: max,la57=off / EPYC',
      `guest memory in bytes: ${64 << 20} / ${1 << 30}`,
      'CPU features: only here sse2 / only here avx',
      'memory block pc.bios: 262144 bytes, SHA-256 abababababababab / 262144 bytes, SHA-256 cdcdcdcdcdcdcdcd',
    ],
  );
  const error = t.throws(
    () => {
      refuseDifferences('web', found);
    },
    { instanceOf: KemariError },
  );
  t.is(error.code, 'KEMARI_HANDSHAKE_MISMATCH');
  for (const { primary, standby } of found) t.true(error.message.includes(primary) && error.message.includes(standby));
});

test('a disk that is not the same storage, and another kernel, are named', (t) => {
  const { disks } = offer();
  t.deepEqual(compareDisks(disks, disks), []);
  const [disk] = disks;
  t.is(compareDisks(disks, [{ ...disk!, identity: 'another' }])[0]?.what, 'disk xvda: identity');
  t.is(compareDisks(disks, [{ ...disk!, sizeBytes: 5 }])[0]?.what, 'disk xvda: size');
  t.is(compareDisks(disks, [{ ...disk!, kind: 'nbd' }])[0]?.what, 'disk xvda: kind of storage');
  t.is(compareDisks(disks, []).length, 1);
  t.is(
    compareDisks(disks, [{ ...disk!, sample: ['aa', '', '', ''] }])[0]?.what,
    'disk xvda: content of sampled blocks',
  );
  t.deepEqual(compareDisks(disks, [{ ...disk!, sample: ['aa', 'bb', 'xx', 'dd'] }]), [], 'the guest writes meanwhile');
  t.is(compareBootFiles({ kernel: 'aa', ramdisk: null }, { kernel: 'ab', ramdisk: null })[0]?.what, 'kernel (SHA-256)');
});
