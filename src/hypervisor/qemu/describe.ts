import { createHash } from 'node:crypto';
import { KemariError } from '../../base/errors.js';
import type { DomainConfig } from '../../model/domain-config.js';
import type { MachineDescription } from '../../model/machine-description.js';
import { FIRMWARE_BLOCK } from './firmware.js';
import { cpuModel } from './machine-arguments.js';
import type { QmpClient } from './qmp-client.js';
import { checkRamBlocks, parseRamBlocks } from './ram-blocks.js';

export interface DescribedMachine {
  readonly config: DomainConfig;
  /** What the machine starts from. */
  readonly firmware: Buffer;
  readonly version: string;
  readonly accel: 'kvm' | 'tcg';
}

/** What this QEMU is, asked of itself. Errors: `KEMARI_MACHINE_MEMORY`, and those of QMP. */
export async function describeMachine(qmp: QmpClient, machine: DescribedMachine): Promise<MachineDescription> {
  const { config, firmware, version, accel } = machine;
  const type = await qmp.execute('qom-get', { path: '/machine', property: 'type' });
  const model = cpuModel(config.cpu, accel);
  const expanded = await qmp.execute('query-cpu-model-expansion', { type: 'full', model: parseCpuModel(model) });
  const blocks = parseRamBlocks(await qmp.execute('x-query-ramblock'));
  checkRamBlocks(blocks, config.memoryBytes);
  const sizeBytes = blocks.find(({ name }) => name === FIRMWARE_BLOCK)?.sizeBytes;
  if (sizeBytes !== firmware.length) {
    const text = `the machine has ${sizeBytes ?? 0} bytes of firmware; the file that is QEMU's has ${firmware.length}`;
    throw new KemariError('KEMARI_MACHINE_MEMORY', text);
  }
  return {
    ...{ hypervisor: 'qemu', version, accel, cpuModel: model, vcpus: config.vcpus, memoryBytes: config.memoryBytes },
    machine: String(type).replace(/-machine$/, ''),
    cpuFeatures: featuresOf(expanded),
    blocks: [{ name: FIRMWARE_BLOCK, sizeBytes, sha256: createHash('sha256').update(firmware).digest('hex') }],
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
