import { createRequire } from 'node:module';
import type { LinkSender } from '../../src/native/link.js';

/** System calls that Node has no name for (test/native/testing.cc). They block; every wait has a deadline. */
export interface Testing {
  memoryFile(name: string, sizeBytes: number): number;
  /** The file, mapped shared; unmapped when the buffer is collected. */
  map(fd: number, sizeBytes: number): ArrayBuffer;
  eventFd(): number;
  /** The eventfd's counter, 0 when the deadline passed first. */
  readEvent(fd: number, timeoutMs: number): number;
  writeEvent(fd: number): void;
  socketPair(): [number, number];
  /** Sends bytes with these descriptors, which stay the caller's; at most 253 (SCM_MAX_FD). */
  sendMessage(fd: number, bytes: Uint8Array, fds: readonly number[]): number;
  /** One read; null when the deadline passed first, no bytes at the end of the stream. */
  receiveMessage(fd: number, maxBytes: number, timeoutMs: number): { bytes: Buffer; fds: number[] } | null;
  /** A raw packet socket on an interface; with `vnetHeader` each frame is preceded by a virtio_net_hdr. */
  packetSocket(interfaceName: string, vnetHeader: boolean): number;
  /** Gives this thread and what it starts from now on an empty network of its own, gone when they are. */
  unshareNetwork(): void;
  BlkifRing: new (pages: number) => BlkifRing;
  /** `segments`: the driver takes frames with a blank checksum, and segments. */
  NetifRing: new (options: { pages: number; receives: boolean; segments: boolean }) => NetifRing;
  CheckpointImage: new (sizeBytes: number) => CheckpointImage;
  /** Plays a capture (test/native/checkpoints.cc). */
  submitCheckpoint(options: { readonly link: LinkSender }, checkpoint: TestCheckpoint): void;
  /** CheckpointSink::wait_for_room(), off this thread. */
  waitForRoom(options: { readonly link: LinkSender }): Promise<boolean>;
  /** Sends bytes by bare TLS 1.3 as fast as one thread can, until the other end says that all came; closes the socket. */
  pumpOut(fd: number, key: Buffer, bytes: number): Promise<void>;
  pumpIn(fd: number, key: Buffer, bytes: number): Promise<void>;
}

/** A request as the disk finds it; `writable` are lengths, the status last. */
export interface BlkifRequest {
  readonly head: number;
  readonly readable: Buffer;
  readonly writable: readonly number[];
}

/** What a checkpoint says of a request of a ring of Xen's (addon/ring/ring_state.h). */
export interface BlkifPending {
  readonly token: bigint;
  readonly writable: readonly (readonly [address: bigint, length: number])[];
}
export interface BlkifKept {
  readonly head: number;
  readonly operation: number;
  readonly written: number;
  readonly token: bigint;
}

/** The back-end's side of a block ring of Xen's (addon/ring/xen/blkif_queue.h), whose guest is the test. */
export interface BlkifRing {
  /** The shared page, and the pages that are granted: grant n is page n. */
  readonly ring: Buffer;
  readonly pages: Buffer;
  /** Begins at `base`, with what was adopted; without: goes on where it was stopped. */
  start(base?: number): void;
  stop(): number;
  /** With the next start. */
  adopt(request: BlkifPending & { readonly head: number; readonly kind: number }): void;
  adoptKept(kept: BlkifKept): void;
  /** `empty`, or what the guest did wrong. */
  pop(): BlkifRequest | string;
  unpop(count: number): void;
  /** The disk has filled what it may write with this octet, and said how it went. */
  land(head: number, status: number, fill: number): void;
  answer(head: number): void;
  publish(): boolean;
  arm(): boolean;
  describe(head: number): BlkifPending;
  describeKept(head: number): BlkifKept;
}

/** The back-end's side of a network ring of Xen's (addon/ring/xen/netif_*_queue.h), whose guest is the test. */
export interface NetifRing {
  /** As of a BlkifRing. */
  readonly ring: Buffer;
  readonly pages: Buffer;
  start(base?: number): void;
  stop(): number;
  /** `empty`, or what the guest did wrong; else a frame behind its virtio header, or a receive buffer. */
  pop(): { readonly head: number; readonly readable: Buffer; readonly writableBytes: number } | string;
  unpop(count: number): void;
  /** The buffer begins with these bytes, the first of a frame with its virtio header; it is answered. */
  land(head: number, bytes: Buffer): void;
  answer(head: number): void;
  publish(): boolean;
  arm(): boolean;
}

/** What a capture hands to a link. */
export interface TestCheckpoint {
  readonly epoch: bigint;
  /** First page and number of pages; `pages` has their contents in this order. */
  readonly ranges: readonly (readonly [first: number, count: number])[];
  readonly pages: Uint8Array;
  readonly machineState: Uint8Array;
  readonly devices: readonly Uint8Array[];
  readonly console: Uint8Array;
  readonly guestPaused: boolean;
  /** Of bytes of a device: where in the file of guest memory they were copied from; ascending for each device. */
  readonly origins?: readonly (readonly [device: number, at: number, offset: number, length: number])[];
}

/** Takes checkpoints in the place of a link, and keeps the image of guest memory that they make. */
export interface CheckpointImage extends LinkSender {
  /** Pages in which guest memory differs from the image, the first `atMost` of them. */
  differingPages(ramFd: number, atMost: number): number[];
  /** As `differingPages` for a domain of this Xen, always the same, whose pages are its frames; `pages`: how many it has. */
  compareXen(domid: number, atMost: number): { pages: number; differing: number[] };
  /** Counts of all that came, and the last epoch. */
  received(): {
    epoch: bigint;
    pages: number;
    /** The pages of every checkpoint came in ascending ranges, without a page twice. */
    ordered: boolean;
    ranges: { first: number; count: number }[];
    machineState: Buffer;
    devices: Buffer[];
  };
  /** There is no room for pages that are sent ahead. */
  setFull(full: boolean): void;
  /** The link is lost. */
  setLost(lost: boolean): void;
}

const require = createRequire(import.meta.url);

export const testing = require('../../../build/Release/kemari_testing.node') as Testing;
