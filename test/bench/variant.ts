import type { GuestShell } from '../../src/stage/guest-shell.js';

/** The same guest, its requests served in one of the ways that are compared. */
export interface Variant {
  readonly name: string;
  readonly shell: GuestShell;
  /** Every process that serves the guest, QEMU included. */
  readonly processes: readonly number[];
  /** Round trips of QMP's `stop` and `cont`, one after the other, in microseconds each. The guest runs before and after. */
  stopCont(count: number): Promise<readonly number[]>;
  close(): Promise<void>;
}
