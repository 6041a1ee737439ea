import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { KemariError, messageOf } from '../../base/errors.js';
import type { DomainConfig } from '../../model/domain-config.js';
import type { MachineDescription, MemoryBlock } from '../../model/machine-description.js';
import { cpuModel } from './machine-arguments.js';
import type { QmpClient } from './qmp-client.js';
import { checkRamBlocks, FIRMWARE_BLOCK, parseRamBlocks, type RamBlock } from './ram-blocks.js';

export interface DescribedMachine {
  readonly config: DomainConfig;
  readonly pid: number;
  readonly version: string;
  readonly accel: 'kvm' | 'tcg';
}

/** Firmware ends where the first 4 GiB end: its last instruction slot is the processor's first. */
const FIRMWARE_END_GPA = 0x1_0000_0000;

/** What this QEMU is, asked of itself. Errors: `KEMARI_MACHINE_MEMORY`, and those of QMP. */
export async function describeMachine(qmp: QmpClient, machine: DescribedMachine): Promise<MachineDescription> {
  const { config, pid, version, accel } = machine;
  const type = await qmp.execute('qom-get', { path: '/machine', property: 'type' });
  const model = cpuModel(config.cpu, accel);
  const expanded = await qmp.execute('query-cpu-model-expansion', { type: 'full', model: parseCpuModel(model) });
  const blocks = parseRamBlocks(await qmp.execute('x-query-ramblock'));
  checkRamBlocks(blocks, config.memoryBytes);
  const firmware = blocks.filter(({ name }) => name === FIRMWARE_BLOCK);
  return {
    ...{ hypervisor: 'qemu', version, accel, cpuModel: model, vcpus: config.vcpus, memoryBytes: config.memoryBytes },
    machine: String(type).replace(/-machine$/, ''),
    cpuFeatures: featuresOf(expanded),
    blocks: await Promise.all(firmware.map((block) => hashFirmware(qmp, pid, block))),
  };
}

/** `max,la57=off` as QMP's CpuModelInfo. Pure. */
export function parseCpuModel(model: string): { name: string; props: Record<string, boolean | string> } {
  const [name = '', ...rest] = model.split(',');
  const props: Record<string, boolean | string> = {};
  for (const part of rest) {
    const sign = /^([+-])(.+)$/.exec(part);
    const [key = '', value = 'on'] =
      sign === null ? part.split('=', 2) : [sign[2] ?? '', sign[1] === '+' ? 'on' : 'off'];
    props[key] = value === 'on' || value === 'off' ? value === 'on' : value;
  }
  return { name, props };
}

/** The names of what is on in a CpuModelExpansionInfo. */
function featuresOf(expansion: unknown): string[] {
  const props = (expansion as { model?: { props?: Record<string, unknown> } }).model?.props ?? {};
  return Object.entries(props)
    .flatMap(([name, value]) => (value === true ? [name] : []))
    .sort();
}

/** Reads the block out of the process: QMP knows where the firmware lies, and nothing that would tell its bytes. */
async function hashFirmware(qmp: QmpClient, pid: number, { name, sizeBytes }: RamBlock): Promise<MemoryBlock> {
  const gpa = FIRMWARE_END_GPA - sizeBytes;
  const answer = await qmp.execute('human-monitor-command', { 'command-line': `gpa2hva 0x${gpa.toString(16)}` });
  const hva = /\(([^)]*)\) is (0x[0-9a-f]+)/.exec(String(answer));
  if (hva?.[1] !== name) {
    throw new KemariError('KEMARI_MACHINE_MEMORY', `${name} is not at the end of the first 4 GiB: ${String(answer)}`);
  }
  const bytes = readProcess(pid, BigInt(hva[2] ?? '0'), sizeBytes);
  return { name, sizeBytes, sha256: createHash('sha256').update(bytes).digest('hex') };
}

function readProcess(pid: number, address: bigint, sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let fd: number | undefined;
  try {
    fd = openSync(`/proc/${pid}/mem`, 'r');
    if (readSync(fd, bytes, 0, sizeBytes, address) === sizeBytes) return bytes;
    throw new Error('it is not all there');
  } catch (error) {
    const text = `cannot read the firmware of process ${pid}: ${messageOf(error)}`;
    throw new KemariError('KEMARI_MACHINE_MEMORY', text, { cause: error });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
