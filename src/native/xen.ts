/** What a domain of Xen's is at this moment. */
export interface XenDomainInfo {
  /** By its toolstack: this is not what a capture does. */
  readonly paused: boolean;
  /** It switched itself off, or crashed. */
  readonly shutDown: boolean;
  readonly dying: boolean;
  /** A PV guest, neither PVH nor HVM. */
  readonly paravirtualized: boolean;
  readonly vcpus: number;
  readonly memoryBytes: number;
  /** Its address space ends below it, in frames. */
  readonly frameCount: number;
  readonly cpuSeconds: number;
  /** The hypervisor has patches/xen. */
  readonly hasPvContext: boolean;
}

/** What a domain is made of, beside its configuration: enough to make another that its guest can be moved into. */
export interface XenDomainShape {
  /** The guest's address space ends below it, in frames. */
  readonly frameCount: number;
  /** Where it has memory, ascending: first frame and number. */
  readonly frames: readonly (readonly [first: number, count: number])[];
  /** xen/include/public/hvm/params.h. */
  readonly parameters: readonly { readonly index: number; readonly value: bigint }[];
  /** CPU and platform as they are at some moment; any will do to make a domain. */
  readonly hvmContext: Buffer;
  /** Arrays of xen_cpuid_leaf_t and xen_msr_entry_t. */
  readonly cpuidPolicy: Buffer;
  readonly msrPolicy: Buffer;
  readonly tsc: {
    readonly mode: number;
    readonly khz: number;
    readonly elapsedNs: bigint;
    readonly incarnation: number;
  };
}

/**
 * Hypercalls about one domain of this host. Everything fails with `KEMARI_XEN_GONE` where the domain is no more, and with
 * `KEMARI_XEN_REFUSED`.
 */
export interface XenDomain {
  info(): XenDomainInfo;
  shape(): Promise<XenDomainShape>;
  /**
   * Makes a paused domain, which has never run and whose memory is that of the guest, the guest of this machine state: the next
   * `unpause` lets it go on where it was. What failed half way is good for nothing but to be destroyed. Errors:
   * `KEMARI_XEN_CONTEXT`, `KEMARI_XEN_GUEST`.
   */
  restore(machineState: Buffer): void;
  /** Returns when no vCPU runs any more. Pauses are counted: each needs its `unpause`. */
  pause(): void;
  unpause(): void;
}
