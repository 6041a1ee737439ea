import { execFile } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { KemariError, messageOf } from '../../base/errors.js';
import type { MachineType } from '../../model/domain-config.js';
import type { QmpClient } from './qmp-client.js';

/** What each machine starts from, as machineArguments has it or as QEMU chooses by itself. */
const FILES: Readonly<Record<MachineType, string>> = {
  q35: 'bios-256k.bin',
  pc: 'bios-256k.bin',
  microvm: 'qboot.rom',
};

/** Firmware ends where the first 4 GiB end: its last instruction slot is the processor's first. */
const END_GPA = 0x1_0000_0000;

/** The firmware's block of RAM (`ram-blocks.ts`). */
export const FIRMWARE_BLOCK = 'pc.bios';

const HELP_TIMEOUT_MS = 10_000;

const run = promisify(execFile);

/**
 * The firmware that this QEMU gives a machine: the first file of that name in its folders. It comes from another package
 * than QEMU's, so that two hosts with the same QEMU may differ in it. Errors: `KEMARI_MACHINE_MEMORY`.
 */
export async function readFirmware(qemu: readonly string[], machine: MachineType): Promise<Buffer> {
  const [program = '', ...args] = qemu;
  const name = FILES[machine];
  try {
    const { stdout } = await run(program, [...args, '-L', 'help'], { timeout: HELP_TIMEOUT_MS });
    const folders = stdout.split('\n').filter((line) => line !== '');
    const path = folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
    if (path === undefined) throw new Error(`it is in none of ${folders.join(', ')}`);
    return readFileSync(path);
  } catch (error) {
    const text = `cannot read QEMU's firmware ${name}: ${messageOf(error)}`;
    throw new KemariError('KEMARI_MACHINE_MEMORY', text, { cause: error });
  }
}

/**
 * Puts the firmware where a machine that waits for a state has it: QEMU leaves the place empty there, since a migration
 * would bring it. Errors: `KEMARI_MACHINE_MEMORY`, those of QMP.
 */
export async function placeFirmware(qmp: QmpClient, pid: number, firmware: Buffer): Promise<void> {
  const gpa = END_GPA - firmware.length;
  const answer = await qmp.execute('human-monitor-command', { 'command-line': `gpa2hva 0x${gpa.toString(16)}` });
  const hva = /\((.*)\) is (0x[0-9a-f]+)/.exec(String(answer));
  if (hva?.[1] !== FIRMWARE_BLOCK) {
    const text = `the firmware of ${firmware.length} bytes is not at the end of the first 4 GiB: ${String(answer)}`;
    throw new KemariError('KEMARI_MACHINE_MEMORY', text);
  }
  let fd: number | undefined;
  try {
    fd = openSync(`/proc/${pid}/mem`, 'r+');
    // Node takes a position of a write as a number only; addresses of x86-64's user space fit.
    writeSync(fd, firmware, 0, firmware.length, Number(hva[2]));
  } catch (error) {
    const text = `cannot write the firmware of process ${pid}: ${messageOf(error)}`;
    throw new KemariError('KEMARI_MACHINE_MEMORY', text, { cause: error });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
