/** What runs the guest's instructions: the processor by KVM or by Xen, or QEMU's emulation. */
export type Accel = 'kvm' | 'tcg' | 'xen';

/**
 * What a machine is made of, as far as the other host's must be the same for a checkpoint of one to run on the other.
 * Taken from the hypervisor that runs, not from a configuration.
 */
export interface MachineDescription {
  /** Which hypervisor, for example `qemu`. */
  readonly hypervisor: string;
  /** Its version, for example `7.2.22`. */
  readonly version: string;
  /** The versioned machine type, for example `pc-q35-7.2`. */
  readonly machine: string;
  readonly accel: Accel;
  /** The CPU model as it was asked for, for example `max,la57=off`. */
  readonly cpuModel: string;
  /** What the guest sees of the CPU: the features that are on, sorted. */
  readonly cpuFeatures: readonly string[];
  readonly vcpus: number;
  readonly memoryBytes: number;
  /** Memory besides guest RAM that has contents of its own (firmware, option ROMs), sorted by name. */
  readonly blocks: readonly MemoryBlock[];
}

export interface MemoryBlock {
  readonly name: string;
  readonly sizeBytes: number;
  /** SHA-256 of its contents, hexadecimal. */
  readonly sha256: string;
}
