import { diskWorkloads } from './disk-workloads.js';
import { networkWorkloads } from './network-workloads.js';
import type { BenchOptions } from './options.js';
import type { TestStorage } from './storage.js';
import type { Workload } from './workload.js';

/** What of the benchmark one run does: everything, or what `--only` matches. */
export interface Plan {
  readonly disk: readonly Workload[];
  readonly network: readonly Workload[];
  readonly memory: boolean;
  readonly stopCont: boolean;
  readonly boots: boolean;
}

export const DISK_PEERS = ['qemu', 'qemu+iothread', 'qemu-storage-daemon'] as const;
export const NETWORK_PEERS = ['qemu'] as const;

export function makePlan(options: BenchOptions, storage: TestStorage, pingpong: string): Plan {
  const wanted = (name: string): boolean => options.only?.test(name) ?? true;
  return {
    disk: diskWorkloads(storage).filter((workload) => wanted(workload.name)),
    network: networkWorkloads(pingpong).filter((workload) => wanted(workload.name)),
    memory: wanted('memory'),
    stopCont: wanted('stop and cont'),
    boots: wanted('boots'),
  };
}

/** How many measurements of about the same length it takes, for the time that is left. */
export function countSteps(plan: Plan, options: BenchOptions): number {
  const workloads = plan.disk.length * (1 + DISK_PEERS.length) + plan.network.length * (1 + NETWORK_PEERS.length);
  return (workloads + (plan.stopCont ? 1 : 0)) * options.repeats + (plan.boots ? options.boots : 0);
}
