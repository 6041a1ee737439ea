import { cpus, loadavg, release, totalmem } from 'node:os';
import type { BenchOptions } from './options.js';
import type { DomainInfo } from '../../src/host/contract.js';
import type { Accel } from '../../src/model/machine-description.js';

/** What the figures were measured on. */
export interface HostDescription {
  readonly cpuModel: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly qemu: string;
  readonly accel: Accel;
  readonly guest: { readonly machine: string; readonly vcpus: number; readonly diskQueues: number };
  readonly repeats: number;
  readonly secondsEach: number;
  readonly date: string;
  /** Load of the last minute when the run began: what else the machine did. */
  readonly loadAverage: number;
}

export function describeHost(options: BenchOptions, info: DomainInfo, loadBefore: number): HostDescription {
  return {
    cpuModel: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    qemu: info.qemuVersion,
    accel: info.accel,
    guest: { machine: info.config.machine, vcpus: info.config.vcpus, diskQueues: options.diskQueues },
    repeats: options.repeats,
    secondsEach: options.seconds,
    date: new Date().toISOString(),
    loadAverage: loadBefore,
  };
}

export function loadNow(): number {
  return loadavg()[0]!;
}
