/** What a domain's standby says of itself. Times are milliseconds since the epoch of Unix time. */
export interface StandbyInfo {
  /** The engine's phase: `receiving`, `ready`, `silent`, `fencing`, `lease-running-out`, `taking-over`. */
  readonly phase: string;
  /** Where the guest runs, for people. */
  readonly primary: string;
  readonly policy: string;
  readonly failover: 'manual' | 'auto';
  /** What is known of the primary's process. */
  readonly known: 'alive' | 'silent' | 'dead';
  /** The last epoch that is whole here; 0: none. */
  readonly epoch: number;
  /** The guest's operator has paused it: it would stand still here, too. */
  readonly guestPaused: boolean;
  /** Why the last takeover failed; what is committed was kept. */
  readonly failure?: TakeoverFailure | undefined;
  readonly sinceMs: number;
  readonly receivedBytes: number;
  readonly pagesReceived: number;
  /** The most memory that epochs in progress took, beside guest memory. */
  readonly stagedBytesPeak: number;
  /** Time that the last epoch took to copy into guest memory. */
  readonly applyUs: number;
}

/** A takeover that came to nothing. */
export interface TakeoverFailure {
  /** With its code. */
  readonly text: string;
  readonly atMs: number;
  /** How often it was tried by now. */
  readonly attempts: number;
}

/** How a domain came to run on this host. */
export interface TakeoverInfo {
  /** As the engine names it: `handover`, `machine-died`, `peer-dead`, `fenced`, `operator`, `operator-says-dead`. */
  readonly reason: string;
  readonly epoch: number;
  /** When it was asked for, or decided where nobody asked. */
  readonly atMs: number;
  readonly resumedAtMs: number;
  /** What it took, in milliseconds, one after another: to decide, for the leases to run out, to have the last epoch, to load it. */
  readonly ms: { readonly asked: number; readonly leases: number; readonly take: number; readonly load: number };
}
