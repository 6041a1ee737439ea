/** What a ring device tells its owner. */
export interface DeviceEvent {
  /** `started`: the guest's driver is served; once, and of a guest of Xen's when all the rings that `connectRings` named are. */
  readonly type: 'started' | 'disconnected' | 'protocol-error' | 'queue-broken' | 'io-error';
  /** `KEMARI_...` for errors, empty otherwise. */
  readonly code: string;
  readonly text: string;
}

/** Where a device finds the guest's driver: on a connected vhost-user socket, which is the device's then, or in a domain of Xen's. */
export type DriverPlace = { readonly socketFd: number } | { readonly xen: { readonly domid: number } };

/** The domain's output gate (addon/ring/output_gate.h). */
export interface OutputGate {
  close(): void;
  open(): void;
  /** Lets everything up to this sequence leave. */
  release(throughSequence: bigint): void;
  readonly isOpen: boolean;
  readonly lastSequence: bigint;
  /**
   * At a cut, before the devices are cut: the newest sequence, which the cut covers. What is held with a later one is told
   * to the listener: the first request and the first console bytes, nothing more until the next cut.
   */
  cut(): bigint;
  /** Who is told; nothing of before is. It does not keep the process alive. */
  setHeldListener(listener: ((held: HeldOutput) => void) | undefined): void;
  /** With a lease required nothing leaves unless it is valid; what was released meanwhile leaves after the next renewal. */
  requireLease(required: boolean): void;
  /** Nanoseconds of CLOCK_BOOTTIME until which the lease is valid. Never shortens it. */
  renewLease(untilBoottimeNs: bigint): void;
  /** Nothing leaves from here on, released or not, whatever is renewed later; until `requireLease` is called again. */
  endLease(): void;
  /** True also where none is required. */
  readonly hasLease: boolean;
  counters(): { passed: number; held: number; released: number };
}

/** Something was held since the last cut; console bytes do not trigger an epoch by themselves. */
export interface HeldOutput {
  readonly output: 'request' | 'console';
  readonly sequence: bigint;
}

/** What every vhost-user device has. Construction starts its thread; the socket then belongs to it. */
export interface RingDevice {
  /** Ends the thread, completes or abandons what is in flight, closes the socket. Idempotent. */
  close(): Promise<void>;
  setSuspendOnStop(suspend: boolean): void;
  /** Copies the bytes of all that is held (a cut); for tests until the capture does it. */
  freezeHeld(): void;
  /** Heads popped and not completed, per queue, oldest first. */
  pending(): { queue: number; head: number; held: boolean }[];
  /** Of those, how many are with the host or will be any moment: neither kept back by the gate nor completed. */
  submitted(): number;
  /**
   * The device's part of a checkpoint (addon/ring/ring_state.h). The machine stands still; the gate was cut before. For
   * tests: the capture does it natively.
   */
  cut(): Buffer;
  /**
   * Takes over what `cut` gave on another host, before the guest runs: pending requests are then submitted again, in their
   * order and with the bytes of the cut. Errors: `KEMARI_RING_STATE` for bytes that are wrong in any way.
   */
  restore(bytes: Buffer): void;
  /**
   * For a guest of Xen's, where nobody else says so: the machine stands still from here on, and goes on. With suspending on
   * `cut` may come in between. For tests: the capture does it natively.
   */
  machineStopped(): void;
  machineContinues(): void;
  /**
   * Where the driver of a guest of Xen's has put its rings (`xen`). They are mapped and served from here on; a device that
   * was restored first answers what the checkpoint has, and sends what it holds. Either an event `started` follows, or what is
   * wrong with them as an event `protocol-error`: `KEMARI_XEN_GRANT`, `KEMARI_XEN_EVENT`, `KEMARI_XEN_RING`, `KEMARI_RING_STATE`.
   */
  connectRings(rings: XenRings): void;
}

/** The rings of a driver of Xen's: a disk's one, or where a NIC receives and where it sends. */
export interface XenRings {
  /** The grants of a ring's pages in order, and the guest's event channel for it; several may have the same one. */
  readonly rings: readonly { readonly refs: readonly number[]; readonly port: number }[];
  /** Of a NIC, what the driver takes: frames in pieces, without a checksum, and TCP to be cut into segments. */
  readonly offloads?: {
    readonly scatter: boolean;
    readonly checksum: boolean;
    readonly tcp4: boolean;
    readonly tcp6: boolean;
  };
}

/** What a disk's storage is and can. Sizes in bytes. Known before the storage is opened where another host told it. */
export interface DiskGeometry {
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly optimalIoBytes: number;
  readonly discardGranularityBytes: number;
  readonly readOnly: boolean;
  readonly canFlush: boolean;
  readonly canDiscard: boolean;
  readonly canWriteZeroes: boolean;
}

export interface DiskOptions {
  readonly name: string;
  /** A connected vhost-user socket; undefined with `xen`. */
  readonly socketFd?: number | undefined;
  /** The guest is this domain of Xen's: its driver's rings are named by `connectRings`. */
  readonly xen?: { readonly domid: number } | undefined;
  readonly gate: OutputGate;
  readonly target: { readonly path: string } | { readonly nbdUri: string };
  readonly readOnly: boolean;
  readonly direct: boolean;
  readonly discard: boolean;
  readonly queues: number;
  /** At most 20 bytes; what GET_ID answers. */
  readonly serial: string;
  /** `auto`: io_uring, threads where the kernel refuses it. */
  readonly engine: 'auto' | 'io_uring' | 'threads';
  /**
   * A standby's disk: it is neither opened nor locked until `open`, and shows the guest this geometry, which is the
   * primary's. undefined: opened at once.
   */
  readonly deferred?: DiskGeometry | undefined;
  readonly onEvent: (event: DeviceEvent) => void;
}

export interface DiskStats {
  engine: 'io_uring' | 'threads' | 'nbd';
  sizeBytes: number;
  reads: number;
  writes: number;
  flushes: number;
  discards: number;
  readBytes: number;
  writtenBytes: number;
  errors: number;
  /** Writes, discards and zeroings that the storage had not answered when the disk was closed: they may land late. */
  unansweredWrites: number;
  inFlight: number;
}

export interface Disk extends RingDevice {
  readonly geometry: DiskGeometry;
  /**
   * Opens and locks the storage of a deferred disk. `steal`: a lock that a stalled or fenced host still holds does not
   * prevent it; whoever says so knows that nobody writes there any more. Errors: those of a disk that is opened at once;
   * `KEMARI_DISK_GEOMETRY` when the storage is not what the geometry says.
   */
  open(options: { readonly steal: boolean }): Promise<void>;
  stats(): DiskStats;
}

export interface NicOptions {
  readonly name: string;
  /** A connected vhost-user socket; undefined with `xen`. */
  readonly socketFd?: number | undefined;
  /** As of a disk; `queues` is 1. */
  readonly xen?: { readonly domid: number } | undefined;
  readonly gate: OutputGate;
  readonly mac: string;
  /** Tap to create; it goes with the device. */
  readonly tap: string;
  readonly bridge: string | undefined;
  readonly queues: number;
  /** A standby's NIC: the tap is made, but is down and on no bridge until `open`. */
  readonly deferred?: boolean | undefined;
  readonly onEvent: (event: DeviceEvent) => void;
}

export interface NicStats {
  txFrames: number;
  txBytes: number;
  rxFrames: number;
  rxBytes: number;
  dropped: number;
}

export interface Nic extends RingDevice {
  /** Puts the tap of a deferred NIC on its bridge and brings it up. Errors: those of a NIC that is not deferred. */
  open(): void;
  /**
   * Puts a frame into the host's network as if the guest had sent it, past the gate: for what the host says of the guest.
   * Errors: `KEMARI_NET_TAP`.
   */
  send(frame: Buffer): void;
  /** The guest's IPv4 addresses, 4 octets each: learned from what it sends, here or on the host that it comes from. */
  addresses(): Buffer[];
  stats(): NicStats;
}

export interface ConsoleOptions {
  /** QEMU's side of the serial port, connected. Output is read from it and passes the gate. */
  readonly guestFd: number;
  /** Where output goes once it passed; the owner reads the other end. What is written to that end reaches the guest. */
  readonly outletFd: number;
  readonly gate: OutputGate;
}

export interface Console {
  close(): Promise<void>;
  /** What the guest has written by now and has not left, in order. The machine stands still. */
  cut(): Buffer;
  /** What another host's `cut` gave: it passes the gate as if the guest had just written it. */
  restore(bytes: Buffer): void;
}
