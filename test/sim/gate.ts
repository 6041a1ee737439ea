import type { Output } from './guest.js';
import type { Host, Thread } from './host.js';

interface Held {
  readonly output: Output;
  readonly sequence: number;
}

/** A ring thread's part of the gate: what is held, first in, first out. */
interface Lane {
  readonly thread: Thread;
  readonly held: Held[];
  /** Admitted, and not answered yet: held, about to be submitted, or with storage. */
  unanswered: number;
  /** The lease was tested, the system call is the next thing. */
  isSubmitting: boolean;
}

type HeldListener = (output: 'request' | 'console', sequence: number) => void;

const NOBODY_ARMED = Infinity;

/** The native gate (addon/ring/output_gate.cc): numbers, holds, tests the lease at submission, tells what it holds. */
export class Gate {
  isOpen = true;
  lastSequence = 0;
  #releasedThrough = 0;
  #leaseRequired = false;
  #leaseUntilMs = -Infinity;
  #leaseEnded = false;
  #leaseAwaited = false;
  #isShut = false;
  readonly #armedFrom = { request: NOBODY_ARMED, console: NOBODY_ARMED };
  #listener: HeldListener | undefined;
  readonly #disk: Lane;
  readonly #net: Lane;

  constructor(
    readonly host: Host,
    disk: Thread,
    net: Thread,
    /** The system call: from there on nothing holds the output back. `testedAtMs`: when the lease was found valid. */
    readonly submit: (output: Output, testedAtMs: number) => void,
    /** A flaw (mutations.ts). */
    readonly ignoresLease: boolean,
  ) {
    this.#disk = { thread: disk, held: [], unanswered: 0, isSubmitting: false };
    this.#net = { thread: net, held: [], unanswered: 0, isSubmitting: false };
  }

  admit(output: Output): void {
    const lane = this.#laneOf(output);
    lane.thread.post('gate: admit', () => {
      if (this.#isShut) return;
      const sequence = ++this.lastSequence;
      lane.unanswered++;
      if (lane.held.length === 0 && this.isOpen && this.#leaseHolds()) {
        this.#submit(lane, output);
        return;
      }
      lane.held.push({ output, sequence });
      this.#tellHeld(output.kind === 'console' ? 'console' : 'request', sequence);
    });
  }

  answered(output: Output): void {
    this.#laneOf(output).unanswered--;
  }

  /** Disk writes that are not kept back (RingDevice::submitted): with storage, or on their way there. */
  get writesSubmitted(): number {
    const { unanswered, held } = this.#disk;
    return unanswered - held.filter(({ sequence }) => !this.#wasReleased(sequence)).length;
  }

  /** No ring thread is between the test and the system call: the devices can be closed. */
  get isQuiet(): boolean {
    return !this.#disk.isSubmitting && !this.#net.isSubmitting;
  }

  close(): void {
    this.isOpen = false;
  }

  open(): void {
    this.isOpen = true;
    this.#wakeLanes();
  }

  /** The machine's devices are gone: what is here never leaves. */
  shut(): void {
    this.#isShut = true;
  }

  release(throughSequence: number): void {
    if (throughSequence > this.lastSequence || throughSequence < this.#releasedThrough) {
      throw new Error(`assertion failed: the gate was told to release ${throughSequence} of ${this.lastSequence}`);
    }
    this.#releasedThrough = throughSequence;
    this.#wakeLanes();
  }

  cut(): number {
    this.#armedFrom.request = this.#armedFrom.console = this.lastSequence + 1;
    return this.lastSequence;
  }

  setHeldListener(listener: HeldListener | undefined): void {
    this.#listener = listener;
    this.cut();
  }

  requireLease(isRequired: boolean): void {
    this.#leaseRequired = isRequired;
    if (!isRequired) this.#leaseUntilMs = -Infinity;
    this.#leaseEnded = false;
    this.#wakeLanes();
  }

  endLease(): void {
    this.#leaseEnded = true;
  }

  renewLease(untilMs: number): void {
    this.#leaseUntilMs = Math.max(this.#leaseUntilMs, untilMs);
    if (!this.#leaseAwaited) return;
    this.#leaseAwaited = false;
    this.#wakeLanes();
  }

  #laneOf(output: Output): Lane {
    return output.kind === 'write' ? this.#disk : this.#net;
  }

  #wasReleased(sequence: number): boolean {
    return this.isOpen || sequence <= this.#releasedThrough;
  }

  #leaseHolds(): boolean {
    if (!this.#leaseRequired || this.ignoresLease) return true;
    if (!this.#leaseEnded && this.host.nowMs < this.#leaseUntilMs) return true;
    this.#leaseAwaited = true;
    return false;
  }

  #tellHeld(kind: 'request' | 'console', sequence: number): void {
    if (sequence < this.#armedFrom[kind]) return;
    this.#armedFrom[kind] = NOBODY_ARMED;
    this.#listener?.(kind, sequence);
  }

  #wakeLanes(): void {
    this.#wake(this.#disk);
    this.#wake(this.#net);
  }

  #wake(lane: Lane): void {
    if (lane.held.length === 0) return;
    lane.thread.post('gate: look', () => {
      this.#look(lane);
    });
  }

  #look(lane: Lane): void {
    const first = lane.held[0];
    if (first === undefined || this.#isShut || !this.#wasReleased(first.sequence) || !this.#leaseHolds()) return;
    lane.held.shift();
    this.#submit(lane, first.output);
    this.#wake(lane);
  }

  /** A step of its own: a thread may stall, or die, between the test and the call. */
  #submit(lane: Lane, output: Output): void {
    const testedAtMs = this.host.clock.nowMs;
    lane.isSubmitting = true;
    lane.thread.next([
      {
        step: 'gate: submit',
        act: (): void => {
          lane.isSubmitting = false;
          this.submit(output, testedAtMs);
        },
      },
    ]);
  }
}
