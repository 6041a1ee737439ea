import test from 'ava';
import { parseCpuModel } from '../../../src/hypervisor/qemu/describe.js';
import { checkRamBlocks, parseRamBlocks } from '../../../src/hypervisor/qemu/ram-blocks.js';

const MEMORY_BYTES = 0x10000000;
const OLD_HEAD = '              Block Name    PSize              Offset               Used              Total';
const OLD_ROWS = [
  '                     ram    4 KiB  0x0000000000000000 0x0000000010000000 0x0000000010000000',
  '    /rom@etc/acpi/tables    4 KiB  0x0000000010080000 0x0000000000020000 0x0000000000200000',
  '                 pc.bios    4 KiB  0x0000000010000000 0x0000000000040000 0x0000000000040000',
  '                  pc.rom    4 KiB  0x0000000010040000 0x0000000000020000 0x0000000000020000',
];
const NEW_HEAD = `${OLD_HEAD}                HVA  RO`;
const NEW_ROWS = OLD_ROWS.map((row, index) => `${row} 0x00007f0ff7e0000${index}  ${index === 0 ? 'rw' : 'ro'}`);

function answer(...lines: string[]): unknown {
  return { 'human-readable-text': `${lines.join('\n')}\n` };
}

test("QEMU's table of RAM blocks is understood, with and without addresses", (t) => {
  const expected = [
    { name: 'ram', sizeBytes: MEMORY_BYTES },
    { name: '/rom@etc/acpi/tables', sizeBytes: 0x20000 },
    { name: 'pc.bios', sizeBytes: 0x40000 },
    { name: 'pc.rom', sizeBytes: 0x20000 },
  ];
  t.deepEqual(parseRamBlocks(answer(OLD_HEAD, ...OLD_ROWS)), expected);
  t.deepEqual(parseRamBlocks(answer(NEW_HEAD, ...NEW_ROWS)), expected);
  t.notThrows(() => {
    checkRamBlocks(expected, MEMORY_BYTES);
  });
});

test('another table is refused rather than guessed at', (t) => {
  for (const strange of [undefined, null, {}, answer(), answer(OLD_HEAD), answer(OLD_HEAD, 'ram 4 KiB nothing')]) {
    t.throws(() => parseRamBlocks(strange), { code: 'KEMARI_MACHINE_MEMORY' });
  }
});

test('memory that a checkpoint would not have is refused by its name', (t) => {
  const ram = { name: 'ram', sizeBytes: MEMORY_BYTES };
  const video = { name: '0000:00:02.0/vga.vram', sizeBytes: 1 << 24 };
  t.throws(
    () => {
      checkRamBlocks([ram, video], MEMORY_BYTES);
    },
    { code: 'KEMARI_MACHINE_MEMORY', message: /"0000:00:02.0\/vga.vram" \(16777216 bytes\)/ },
  );
  for (const blocks of [[], [{ ...ram, sizeBytes: 4096 }]]) {
    t.throws(
      () => {
        checkRamBlocks(blocks, MEMORY_BYTES);
      },
      { code: 'KEMARI_MACHINE_MEMORY', message: /guest RAM of 268435456 bytes/ },
    );
  }
});

test('a CPU model with flags becomes what QMP wants', (t) => {
  t.deepEqual(parseCpuModel('host'), { name: 'host', props: {} });
  t.deepEqual(parseCpuModel('max,la57=off'), { name: 'max', props: { la57: false } });
  t.deepEqual(parseCpuModel('qemu64,+avx,-svm,vendor=GenuineIntel,aes=on'), {
    name: 'qemu64',
    props: { avx: true, svm: false, vendor: 'GenuineIntel', aes: true },
  });
});
