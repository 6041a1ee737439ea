import type { GuestShell } from '../stage/guest-shell.js';
import type { EpochFigures } from './ledger.js';
import type { Profiled } from './profiler.js';

/** A guest that is measured, under one protection at a time. */
export interface Subject {
  readonly shell: GuestShell;
  /** The guest runs, and is protected so, when it resolves. */
  enter(protection: string): Promise<void>;
  /** What its epochs were since the last call; undefined where nobody counts them. */
  epochs(): Promise<EpochFigures | undefined>;
  /** What works for it, by names for people; undefined where nobody is to be looked at. */
  profiled?(): Promise<Profiled>;
  /** It is unprotected, and stands still until it is entered again. */
  leave(): Promise<void>;
}
