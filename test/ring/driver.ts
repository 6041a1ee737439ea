import { closeSync } from 'node:fs';
import { testing } from '../native/testing.js';
import type { GuestRam } from './guest-ram.js';

/** Descriptor flags (virtio 1.2 section 2.7.5). */
export const VIRTQ_DESC_F_NEXT = 1;
export const VIRTQ_DESC_F_WRITE = 2;
export const VIRTQ_DESC_F_INDIRECT = 4;

const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
const DESCRIPTOR_BYTES = 16;
const USED_TIMEOUT_MS = 20_000;

/** A piece of guest memory in a chain. */
export interface Piece {
  readonly gpa: number;
  readonly length: number;
}

export interface Descriptor {
  readonly address: bigint;
  readonly length: number;
  readonly flags: number;
  readonly next: number;
}

export interface UsedEntry {
  readonly head: number;
  readonly length: number;
}

/** The driver side of one split virtqueue (virtio 1.2 section 2.7): plays the guest's virtio_ring. */
export class SplitDriver {
  readonly descriptorGpa: number;
  readonly availableGpa: number;
  readonly usedGpa: number;
  readonly kickFd = testing.eventFd();
  readonly callFd = testing.eventFd();
  readonly errorFd = testing.eventFd();
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  /** How often the device was kicked and called. */
  kicks = 0;
  calls = 0;
  availableIndex: number;
  lastUsed: number;
  #free: number[];
  readonly #chains = new Map<number, number[]>();
  readonly #tables = new Map<number, { gpa: number; descriptors: number }>();
  #kickedAt: number;

  constructor(
    readonly ram: GuestRam,
    readonly index: number,
    readonly size: number,
    options: { indirect?: boolean; eventIdx?: boolean; base?: number } = {},
  ) {
    this.indirect = options.indirect ?? false;
    this.eventIdx = options.eventIdx ?? false;
    const base = options.base ?? 0;
    this.availableIndex = base;
    this.lastUsed = base;
    this.#kickedAt = base;
    this.descriptorGpa = ram.allocate(DESCRIPTOR_BYTES * size, 4096);
    this.availableGpa = ram.allocate(6 + 2 * size, 4096);
    this.usedGpa = ram.allocate(6 + 8 * size, 4096);
    this.#free = Array.from({ length: size }, (_, position) => position);
    this.#store(this.availableGpa + 2, base);
    this.#store(this.usedGpa + 2, base);
    this.#store(this.usedEventGpa, base);
  }

  get usedEventGpa(): number {
    return this.availableGpa + 4 + 2 * this.size;
  }

  get availEventGpa(): number {
    return this.usedGpa + 4 + 8 * this.size;
  }

  /** Chains that the device has and has not given back. */
  get outstanding(): number {
    return this.#chains.size;
  }

  get freeDescriptors(): number {
    return this.#free.length;
  }

  /** From here on heads come in descending order: an order of heads that is not the order of requests. */
  reverseHeads(): void {
    this.#free.reverse();
  }

  /** Writes a chain and offers it, without a kick; returns its head. */
  add(readable: readonly Piece[], writable: readonly Piece[]): number {
    const pieces = [
      ...readable.map((piece) => ({ ...piece, flags: 0 })),
      ...writable.map((piece) => ({ ...piece, flags: VIRTQ_DESC_F_WRITE })),
    ];
    return this.indirect && pieces.length > 1 ? this.#addIndirect(pieces) : this.#addDirect(pieces);
  }

  #addDirect(pieces: readonly (Piece & { flags: number })[]): number {
    if (this.#free.length < pieces.length) throw new Error('the test offers more than the ring holds');
    const chain = this.#free.splice(0, pieces.length);
    pieces.forEach((piece, position) => {
      const next = chain[position + 1];
      this.writeDescriptor(chain[position]!, {
        address: BigInt(piece.gpa),
        length: piece.length,
        flags: piece.flags | (next === undefined ? 0 : VIRTQ_DESC_F_NEXT),
        next: next ?? 0,
      });
    });
    this.#chains.set(chain[0]!, chain);
    this.offer(chain[0]!);
    return chain[0]!;
  }

  #addIndirect(pieces: readonly (Piece & { flags: number })[]): number {
    const head = this.#free.shift();
    if (head === undefined) throw new Error('the test offers more than the ring holds');
    const table = this.#tableOf(head, pieces.length);
    pieces.forEach((piece, position) => {
      const last = position === pieces.length - 1;
      this.writeDescriptorAt(table + DESCRIPTOR_BYTES * position, {
        address: BigInt(piece.gpa),
        length: piece.length,
        flags: piece.flags | (last ? 0 : VIRTQ_DESC_F_NEXT),
        next: last ? 0 : position + 1,
      });
    });
    const length = DESCRIPTOR_BYTES * pieces.length;
    this.writeDescriptor(head, { address: BigInt(table), length, flags: VIRTQ_DESC_F_INDIRECT, next: 0 });
    this.#chains.set(head, [head]);
    this.offer(head);
    return head;
  }

  /** Each head has one table, which is used again: thousands of requests need no more memory than the ring has entries. */
  #tableOf(head: number, descriptors: number): number {
    const known = this.#tables.get(head);
    if (known !== undefined && known.descriptors >= descriptors) return known.gpa;
    const gpa = this.ram.allocate(DESCRIPTOR_BYTES * descriptors, DESCRIPTOR_BYTES);
    this.#tables.set(head, { gpa, descriptors });
    return gpa;
  }

  writeDescriptor(position: number, descriptor: Descriptor): void {
    this.writeDescriptorAt(this.descriptorGpa + DESCRIPTOR_BYTES * position, descriptor);
  }

  writeDescriptorAt(gpa: number, descriptor: Descriptor): void {
    const offset = this.ram.offsetOf(gpa);
    this.ram.view.setBigUint64(offset, BigInt.asUintN(64, descriptor.address), true);
    this.ram.view.setUint32(offset + 8, descriptor.length >>> 0, true);
    this.ram.view.setUint16(offset + 12, descriptor.flags, true);
    this.ram.view.setUint16(offset + 14, descriptor.next, true);
  }

  /** Puts a head into the avail ring and publishes it. */
  offer(head: number): void {
    this.#store(this.availableGpa + 4 + 2 * (this.availableIndex % this.size), head);
    this.publish(this.availableIndex + 1);
  }

  /** Publishes an avail index, whatever it is. */
  publish(availableIndex: number): void {
    this.availableIndex = availableIndex & 0xffff;
    this.#store(this.availableGpa + 2, this.availableIndex);
  }

  /** Kicks if the device wants it (virtio 1.2 section 2.7.23) and says whether it did. */
  kick(): boolean {
    const wanted = this.eventIdx ? this.#crossed(this.#load(this.availEventGpa)) : this.#load(this.usedGpa) === 0;
    this.#kickedAt = this.availableIndex;
    if (wanted) this.kickAlways();
    return wanted;
  }

  kickAlways(): void {
    testing.writeEvent(this.kickFd);
    this.kicks += 1;
  }

  #crossed(event: number): boolean {
    const since = (this.availableIndex - event - 1) & 0xffff;
    return since < ((this.availableIndex - this.#kickedAt) & 0xffff);
  }

  get usedIndex(): number {
    return this.#load(this.usedGpa + 2);
  }

  /** Takes what the device has given back, in its order. */
  take(): UsedEntry[] {
    const entries: UsedEntry[] = [];
    const usedIndex = this.usedIndex;
    while (this.lastUsed !== usedIndex) {
      const offset = this.ram.offsetOf(this.usedGpa + 4 + 8 * (this.lastUsed % this.size));
      const head = this.ram.view.getUint32(offset, true);
      const chain = this.#chains.get(head);
      if (chain === undefined) throw new Error(`head ${head} was given back, but the device does not have it`);
      this.#chains.delete(head);
      this.#free.push(...chain);
      entries.push({ head, length: this.ram.view.getUint32(offset + 4, true) });
      this.lastUsed = (this.lastUsed + 1) & 0xffff;
    }
    return entries;
  }

  /** From here on the device calls at the `ahead`-th entry that it gives back (EVENT_IDX). */
  askForCall(ahead = 1): void {
    this.#store(this.usedEventGpa, (this.lastUsed + ahead - 1) & 0xffff);
  }

  /** Without EVENT_IDX: whether the device should call at all. */
  wantCalls(wanted: boolean): void {
    this.#store(this.availableGpa, wanted ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT);
  }

  /** Waits until the device has given back `count` more chains, as an interrupt handler does. */
  wait(count = 1, timeoutMs = USED_TIMEOUT_MS): UsedEntry[] {
    const deadline = performance.now() + timeoutMs;
    const entries = this.take();
    while (entries.length < count) {
      if (this.eventIdx) this.askForCall();
      const more = this.take();
      entries.push(...more);
      if (more.length > 0) continue;
      const left = Math.ceil(deadline - performance.now());
      if (left <= 0)
        throw new Error(`the device gave back ${entries.length} of ${count} chains within ${timeoutMs} ms`);
      this.calls += testing.readEvent(this.callFd, left);
      entries.push(...this.take());
    }
    return entries;
  }

  /** Calls that have arrived since the last look. */
  countCalls(): number {
    const count = testing.readEvent(this.callFd, 0);
    this.calls += count;
    return count;
  }

  /** Waits, without wanting a call, until the device's used index has gone `count` past what was taken. */
  spin(count = 1, timeoutMs = USED_TIMEOUT_MS): UsedEntry[] {
    const deadline = performance.now() + timeoutMs;
    while (((this.usedIndex - this.lastUsed) & 0xffff) < count) {
      if (performance.now() > deadline) throw new Error(`the used index did not move by ${count} in ${timeoutMs} ms`);
    }
    return this.take();
  }

  /** Ring memory is reused after a reset: everything outstanding is forgotten, indices start again. */
  reset(base = 0): void {
    this.#chains.clear();
    this.#free = Array.from({ length: this.size }, (_, position) => position);
    this.availableIndex = this.lastUsed = this.#kickedAt = base;
    this.#store(this.availableGpa + 2, base);
    this.#store(this.usedGpa + 2, base);
  }

  close(): void {
    for (const fd of [this.kickFd, this.callFd, this.errorFd]) closeSync(fd);
  }

  #load(gpa: number): number {
    return Atomics.load(this.ram.word(gpa), 0);
  }

  #store(gpa: number, value: number): void {
    Atomics.store(this.ram.word(gpa), 0, value & 0xffff);
  }
}
