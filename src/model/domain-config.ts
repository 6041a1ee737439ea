/** What a domain file says, checked and complete: every default is filled in. Sizes are bytes. */
export interface DomainConfig {
  /** xl's `name`: [A-Za-z0-9_.-]{1,64}, unique on a host. */
  readonly name: string;
  /** xl's `uuid`, lower case with dashes; derived from the name where the file has none. */
  readonly uuid: string;
  /** `xen`: a guest of this host's Xen, which `xl` created; of what follows, what only QEMU has means nothing. */
  readonly machine: MachineType | 'xen';
  /** `auto` uses KVM where a probe shows that it runs guests, TCG else. */
  readonly accel: 'auto' | 'kvm' | 'tcg';
  /** Which virtio the guest's devices speak. With the older one the machine's state is a tenth, and so a capture is shorter. */
  readonly virtio: 'legacy' | 'modern';
  /** QEMU's CPU model; `max` (default) is the host's CPU with KVM, all that is emulated with TCG. */
  readonly cpu: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly boot: BootConfig;
  /** In the order of their vdev, which is the guest's order: the index is the disk's place (0 is the first). */
  readonly disks: readonly DiskConfig[];
  readonly vifs: readonly VifConfig[];
  /** Whether QEMU's guest agent listens on the guest's second serial port. */
  readonly guestAgent: boolean;
  readonly onPoweroff: EndAction;
  readonly onReboot: EndAction;
  readonly onCrash: EndAction;
}

export type MachineType = 'q35' | 'pc' | 'microvm';

/** xl's event actions that kemari knows. */
export type EndAction = 'destroy' | 'restart' | 'preserve';

export type BootConfig =
  | {
      readonly from: 'kernel';
      readonly kernel: string;
      readonly ramdisk: string | undefined;
      /** xl's `cmdline`, or `root` and `extra` joined. */
      readonly cmdline: string;
    }
  | { readonly from: 'disk' };

/** One entry of xl's `disk` list (xl-disk-configuration(5)). */
export interface DiskConfig {
  /** Name in the guest as written, for example `xvda`. */
  readonly vdev: string;
  readonly target: DiskTarget;
  readonly readOnly: boolean;
  /** Whether the guest may discard (`discard`, the default, or `no-discard`). */
  readonly discard: boolean;
  /** `none` (O_DIRECT, default) or `writeback` (host page cache: never for a disk that two hosts reach). */
  readonly cache: 'none' | 'writeback';
  /** Virtqueues of the disk, [1, 16]. */
  readonly queues: number;
}

export type DiskTarget =
  | { readonly kind: 'path'; readonly path: string }
  /** An NBD URI as libnbd takes it: `nbd://`, `nbd+unix://`, `nbds://`. */
  | { readonly kind: 'nbd'; readonly uri: string };

/** One entry of xl's `vif` list (xl-network-configuration(5)). */
export interface VifConfig {
  /** Lower case, colons. From the file, or derived from the domain's name and the place in the list (00:16:3e:...). */
  readonly mac: string;
  /** Bridge the tap is put on (`xenbr0` where the file names none, as in xl); undefined: on none (`bridge=none`). */
  readonly bridge: string | undefined;
  /** Name of the tap on the host; undefined: `vif<domid>.<index>`. */
  readonly vifname: string | undefined;
  /** Queue pairs, [1, 8]. */
  readonly queues: number;
}
