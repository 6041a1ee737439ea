import { closeSync } from 'node:fs';
import { addon } from '../../src/native/addon.js';
import { testing } from '../native/testing.js';

/** One region of guest memory as the front-end describes it. All values in bytes. */
export interface Region {
  readonly gpa: bigint;
  readonly sizeBytes: bigint;
  /** Where the front-end says that the region lies in its own address space. */
  readonly frontEndAddress: bigint;
  readonly fileOffset: bigint;
}

const MIB = 1024 * 1024;
/** A made-up address space of the front-end: a back-end that confuses it with its own faults at once. */
const FRONT_END_BASE = 0x5000_0000_0000n;

/**
 * Guest memory in a memfd, half of it at address 0 and half from 4 GiB on, as a PC has it: so there is a hole to fall into.
 * A guest physical address below is a number (always under 2^53).
 */
export class GuestRam {
  static readonly HALF = 32 * MIB;
  static readonly HIGH_GPA = 4096 * MIB;
  readonly fd: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly regions: readonly Region[];
  readonly #buffer: ArrayBuffer;
  #next = 4096;

  constructor() {
    this.fd = addon.createRam('guest-ram', 2 * GuestRam.HALF);
    this.#buffer = testing.map(this.fd, 2 * GuestRam.HALF);
    this.bytes = new Uint8Array(this.#buffer);
    this.view = new DataView(this.#buffer);
    const sizeBytes = BigInt(GuestRam.HALF);
    this.regions = [
      { gpa: 0n, sizeBytes, frontEndAddress: FRONT_END_BASE, fileOffset: 0n },
      {
        gpa: BigInt(GuestRam.HIGH_GPA),
        sizeBytes,
        frontEndAddress: FRONT_END_BASE + 0x10_0000_0000n,
        fileOffset: sizeBytes,
      },
    ];
  }

  /** Takes `sizeBytes` of the low half, zeroed; never given back before `forget`. */
  allocate(sizeBytes: number, align = 64): number {
    const gpa = Math.ceil(this.#next / align) * align;
    if (gpa + sizeBytes > GuestRam.HALF) throw new Error('the test wants more guest memory than there is');
    this.#next = gpa + sizeBytes;
    this.bytes.fill(0, gpa, gpa + sizeBytes);
    return gpa;
  }

  /** Gives back all that was allocated. */
  forget(): void {
    this.#next = 4096;
  }

  /** The place of a guest physical address in the file. */
  offsetOf(gpa: number): number {
    return gpa < GuestRam.HALF ? gpa : gpa - GuestRam.HIGH_GPA + GuestRam.HALF;
  }

  slice(gpa: number, lengthBytes: number): Buffer {
    return Buffer.from(this.#buffer, this.offsetOf(gpa), lengthBytes);
  }

  /** A 16-bit word shared with the device: reads and writes of it are ordered like a driver's with its barriers. */
  word(gpa: number): Uint16Array {
    return new Uint16Array(this.#buffer, this.offsetOf(gpa), 1);
  }

  frontEndAddressOf(gpa: number): bigint {
    const region = this.regions[gpa < GuestRam.HALF ? 0 : 1]!;
    return region.frontEndAddress + BigInt(gpa) - region.gpa;
  }

  close(): void {
    closeSync(this.fd);
  }
}
