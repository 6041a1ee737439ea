import { createRequire } from 'node:module';
import type { Capture, CaptureOptions } from './capture.js';
import type { LinkReceiver, LinkReceiverOptions, LinkSender, LinkSenderOptions } from './link.js';

/** What a ring device tells its owner. */
export interface DeviceEvent {
  readonly type: 'started' | 'disconnected' | 'protocol-error' | 'queue-broken' | 'io-error';
  /** `KEMARI_...` for errors, empty otherwise. */
  readonly code: string;
  readonly text: string;
}

/** The domain's output gate (addon/ring/output_gate.h). */
export interface OutputGate {
  close(): void;
  open(): void;
  /** Lets everything up to this sequence leave. */
  release(throughSequence: bigint): void;
  readonly isOpen: boolean;
  readonly lastSequence: bigint;
  counters(): { passed: number; held: number; released: number };
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
}

export interface DiskOptions {
  readonly name: string;
  readonly socketFd: number;
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
  inFlight: number;
}

export interface Disk extends RingDevice {
  stats(): DiskStats;
}

export interface NicOptions {
  readonly name: string;
  readonly socketFd: number;
  readonly gate: OutputGate;
  readonly mac: string;
  /** Tap to create; it goes with the device. */
  readonly tap: string;
  readonly bridge: string | undefined;
  readonly queues: number;
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
}

/** Features of this host that kemari needs or can use. `error` tells why not. */
export interface HostProbe {
  ioUring: boolean;
  pagemapScan: boolean;
  userfaultfdWpAsync: boolean;
  tun: boolean;
}

/** The table that addon/binding.cc exports. Errors it throws carry `code` (KEMARI_...), `errno` and `syscall`. */
export interface Addon {
  OutputGate: new () => OutputGate;
  Disk: new (options: DiskOptions) => Disk;
  Nic: new (options: NicOptions) => Nic;
  Console: new (options: ConsoleOptions) => Console;
  Capture: new (options: CaptureOptions) => Capture;
  LinkSender: new (options: LinkSenderOptions) => LinkSender;
  LinkReceiver: new (options: LinkReceiverOptions) => LinkReceiver;
  /** A memfd of this size, for guest RAM; the caller closes it. */
  createRam(name: string, sizeBytes: number): number;
  /** Two connected Unix stream sockets, close-on-exec. */
  socketPair(): [number, number];
  /** A Unix stream socket that listens on this path, close-on-exec and non-blocking; the caller closes it. */
  listenUnix(path: string): number;
  /** The next connection of a listening socket, close-on-exec, or -1 when nobody has connected. */
  acceptUnix(listenFd: number): number;
  /** Takes an exclusive lock of the open file (flock), without waiting; false when another process has it. */
  tryLock(fd: number): boolean;
  /** The processor's time stamp counter, and CLOCK_MONOTONIC_RAW at the same moment. */
  readTsc(): { ticks: bigint; nanoseconds: bigint };
  /**
   * The pages of this RAM file that devices wrote since the last call, ascending, in pages of 4096 bytes; taking clears
   * them. What a running device writes meanwhile may be in this answer or in the next.
   */
  takeDirty(ramFd: number): { first: number; count: number }[];
  probeHost(): HostProbe;
}

const require = createRequire(import.meta.url);

/** The native addon; `dist/src/native/` lies three folders below the package. */
export const addon = require('../../../build/Release/kemari.node') as Addon;
