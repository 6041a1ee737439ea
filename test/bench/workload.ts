import type { Client } from './client.js';
import { servingCpuMicroseconds } from './thread-cpu.js';
import type { Variant } from './variant.js';

export interface WorkloadContext {
  readonly client: Client;
  readonly seconds: number;
}

/** What one workload did on one variant, once. */
export interface Sample {
  /** Units of work a second; more is better. */
  readonly rate: number;
  /** Host CPU time outside the guest's vCPUs for one unit of work, in microseconds. */
  readonly cpuMicroseconds: number;
}

/** Something that a guest does for a while, at a rate that tells how well its requests are served. */
export interface Workload {
  readonly name: string;
  /** Of the rate, for people. */
  readonly unit: string;
  /** What one unit of work is called in the row about CPU time. */
  readonly work: string;
  readonly target: { readonly storageDaemon?: number; readonly fastest: number };
  /** Does it once; returns units of work and the seconds that they took. */
  run(variant: Variant, context: WorkloadContext): Promise<{ work: number; seconds: number }>;
}

export async function sample(workload: Workload, variant: Variant, context: WorkloadContext): Promise<Sample> {
  const before = servingCpuMicroseconds(variant.processes);
  const { work, seconds } = await workload.run(variant, context);
  const spent = servingCpuMicroseconds(variant.processes) - before;
  if (!(work > 0 && seconds > 0)) throw new RangeError(`${workload.name} on ${variant.name} did nothing`);
  return { rate: work / seconds, cpuMicroseconds: spent / work };
}
