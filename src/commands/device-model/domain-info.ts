import type { DomainInfo } from '../../host/contract.js';
import type { Machine } from '../../hypervisor/contract.js';
import type { DomainOptions } from './domain-options.js';
import type { MachineRun } from './machine-run.js';

/** What of a domain's description its machine and its devices say. `last`: of the machine that there was last. */
export function domainInfo(
  { domid, config, createdAtMs }: Pick<DomainOptions, 'domid' | 'config' | 'createdAtMs'>,
  { machine, devices }: MachineRun,
  last: Pick<Machine, 'version' | 'accel'>,
): Omit<DomainInfo, 'state' | 'protection'> {
  return {
    ...{ domid, config, createdAtMs, dmPid: process.pid },
    ...{ qemuPid: machine?.pid, qemuVersion: last.version, accel: last.accel, cpuSeconds: machine?.cpuSeconds() ?? 0 },
    ...{ gate: devices.gateInfo(), disks: devices.diskInfo(), vifs: devices.vifInfo() },
  };
}
