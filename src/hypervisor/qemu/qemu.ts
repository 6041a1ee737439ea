import { KemariError } from '../../base/errors.js';
import type { DomainConfig } from '../../model/domain-config.js';
import { addon } from '../../native/addon.js';
import type { Hypervisor, Machine, MachineOptions } from '../contract.js';
import { findQemu, type QemuBinary } from './binary.js';
import { kvmAccess, probeKvm } from './kvm-probe.js';
import { MachineStart } from './machine-start.js';
import { qemuUid } from './privileges.js';

/** Stock QEMU. */
export class Qemu implements Hypervisor {
  readonly #environment: NodeJS.ProcessEnv;

  constructor(environment: NodeJS.ProcessEnv) {
    this.#environment = environment;
  }

  createRam({ name, memoryBytes }: DomainConfig): number {
    return addon.createRam(`kemari-${name}`, memoryBytes);
  }

  /** Errors: `KEMARI_HYPERVISOR_MISSING`, `_TOO_OLD`, `_PROBE`, `_NO_KVM`, `_START`; `KEMARI_BOOT_FILE`, `KEMARI_MACHINE_DEVICES`. */
  async start(options: MachineOptions): Promise<Machine> {
    const qemu = await findQemu(this.#environment);
    const { accel, groups } = await chooseAccel(qemu, options);
    return new MachineStart(options, qemu, accel, { uid: qemuUid(options.domid), groups }).run();
  }
}

interface AccelChoice {
  readonly accel: 'kvm' | 'tcg';
  readonly groups: readonly number[];
}

async function chooseAccel(qemu: QemuBinary, options: MachineOptions): Promise<AccelChoice> {
  const wanted = options.config.accel;
  const access = kvmAccess();
  if (wanted !== 'tcg') {
    const found = await probeKvm(qemu, options.cacheDirectory);
    if (found.usable && 'groups' in access) return { accel: 'kvm', groups: access.groups };
    const reason = found.usable ? 'access to it was taken away' : found.reason;
    if (wanted === 'kvm')
      throw new KemariError('KEMARI_HYPERVISOR_NO_KVM', `accel = "kvm", but KVM does not work: ${reason}`);
    options.onOutput(`KVM is not used: ${reason}`);
  }
  return { accel: 'tcg', groups: [] };
}
