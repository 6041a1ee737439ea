import { KemariError } from '../../base/errors.js';
import { FIRMWARE_BLOCK } from './firmware.js';

/** One RAM block of QEMU. */
export interface RamBlock {
  readonly name: string;
  readonly sizeBytes: number;
}

/** The name of our memory backend; microvm's and the PCs' own (without a backend) end in ".ram". */
const GUEST_RAM_BLOCK = 'ram';

/*
 * The firmware is read-only, but for microvm's (hw/i386/microvm.c), which its own firmware writes to as it boots and nothing
 * afterwards: a takeover has the file's bytes there, and a reboot makes them anew.
 */

/**
 * What no guest can write and what QEMU makes of its arguments and its version: ACPI tables, which it makes anew for every
 * boot, and the place of PC option ROMs.
 */
const MADE_BY_QEMU = /^(?:\/rom@etc\/.+|pc\.rom)$/;

/**
 * The answer to x-query-ramblock, a table for people: name, page size, offset, used bytes, all bytes, and more since 8.0
 * (dump_ramblock). Pure. Errors: `KEMARI_MACHINE_MEMORY` for another table.
 */
export function parseRamBlocks(answer: unknown): RamBlock[] {
  const text = (answer as { 'human-readable-text'?: string } | null)?.['human-readable-text'] ?? '';
  const [head = '', ...rows] = text.split('\n').filter((line) => line.trim() !== '');
  const blocks = rows.map((row) => {
    const found = /^\s*(\S.*?)\s+\d+ [KMG]iB\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s+0x[0-9a-f]+/.exec(row);
    if (found === null) throw unknownTable(row);
    return { name: found[1] ?? '', sizeBytes: Number.parseInt(found[2] ?? '', 16) };
  });
  if (!head.includes('Block Name') || blocks.length === 0) throw unknownTable(head);
  return blocks;
}

/**
 * Whether a checkpoint has all memory of the machine: guest RAM is tracked, the rest does not change. Pure. Errors:
 * `KEMARI_MACHINE_MEMORY`.
 */
export function checkRamBlocks(blocks: readonly RamBlock[], memoryBytes: number): void {
  const ram = blocks.find(({ name }) => name === GUEST_RAM_BLOCK);
  if (ram?.sizeBytes !== memoryBytes) {
    const found = ram === undefined ? 'none' : `${ram.sizeBytes} bytes`;
    throw new KemariError(
      'KEMARI_MACHINE_MEMORY',
      `guest RAM of ${memoryBytes} bytes is expected in one block; found ${found}`,
    );
  }
  const known = (name: string): boolean =>
    name === GUEST_RAM_BLOCK || name === FIRMWARE_BLOCK || MADE_BY_QEMU.test(name);
  const other = blocks.find(({ name }) => !known(name));
  if (other === undefined) return;
  throw new KemariError(
    'KEMARI_MACHINE_MEMORY',
    `the machine has memory "${other.name}" (${other.sizeBytes} bytes) that a checkpoint would not have; ` +
      'run the domain without the device that it belongs to',
  );
}

function unknownTable(found: string): KemariError {
  return new KemariError('KEMARI_MACHINE_MEMORY', `QEMU's table of RAM blocks is not understood: "${found}"`);
}
