import { createRequire } from 'node:module';
import type { Capture, CaptureOptions } from './capture.js';
import type { DelayLine, DelayLineOptions } from './delay-line.js';
import type { LinkReceiver, LinkReceiverOptions, LinkSender, LinkSenderOptions } from './link.js';
import type { Console, ConsoleOptions, Disk, DiskOptions, Nic, NicOptions, OutputGate } from './ring.js';
import type { XenDomain } from './xen.js';

export type * from './ring.js';

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
  /** Errors: `KEMARI_XEN_MISSING`, `KEMARI_XEN_VERSION`, `KEMARI_XEN_GONE`, `KEMARI_XEN_REFUSED`. */
  XenDomain: new (options: { readonly domid: number }) => XenDomain;
  LinkSender: new (options: LinkSenderOptions) => LinkSender;
  LinkReceiver: new (options: LinkReceiverOptions) => LinkReceiver;
  DelayLine: new (options: DelayLineOptions) => DelayLine;
  /** A memfd of this size, for guest RAM; the caller closes it. */
  createRam(name: string, sizeBytes: number): number;
  /** Two connected Unix stream sockets, close-on-exec. */
  socketPair(): [number, number];
  /** A Unix stream socket that listens on this path, close-on-exec and non-blocking; the caller closes it. */
  listenUnix(path: string): number;
  /** A Unix stream socket that is connected to whoever listens on this path, close-on-exec; the caller closes it. */
  connectUnix(path: string): number;
  /** The next connection of a listening socket, close-on-exec, or -1 when nobody has connected. */
  acceptUnix(listenFd: number): number;
  /** Another descriptor of the same open file or socket, close-on-exec. */
  duplicateDescriptor(fd: number): number;
  /** Hands a copy of a descriptor to the process at the other end of a Unix stream socket, without waiting. */
  sendDescriptor(socketFd: number, fd: number): void;
  /** The next descriptor that was sent through this Unix socket, close-on-exec; -1 when none is waiting. */
  receiveDescriptor(socketFd: number): number;
  /**
   * Reads this many blocks of 4096 bytes of a disk, spread evenly from its first to its last, past the host's cache; no block of
   * a disk that has not one. Errors: `KEMARI_DISK_OPEN`, `KEMARI_NBD_CONNECT`.
   */
  sampleDisk(options: {
    readonly target: { readonly path: string } | { readonly nbdUri: string };
    readonly blocks: number;
  }): Promise<{ sizeBytes: number; bytes: Buffer }>;
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
  /** Once a process: what src/native/fault.ts arms. `pass`: the time that it happens, from 1. */
  armFault(fault: {
    readonly point: string;
    readonly action: 'kill' | 'stop' | 'stall' | 'delay';
    readonly durationMs: number;
    readonly pass: number;
  }): void;
  /** Once a process: src/native/evidence.ts. Errors: `KEMARI_EVIDENCE_FILE`. */
  keepEvidence(options: { readonly path: string }): void;
  /** Somebody is at the armed point, outside of the addon. May not return. */
  passArmedFault(): void;
}

const require = createRequire(import.meta.url);

/** The native addon; `dist/src/native/` lies three folders below the package. */
export const addon = require('../../../build/Release/kemari.node') as Addon;
