import type { DomainInfo } from '../host/contract.js';
import type { EpochRecord } from '../host/epoch-record.js';
import type { GuestShell } from '../stage/guest-shell.js';
import type { HostName } from '../stage/names.js';

/** A guest that kemari serves, on host A and, protected, on host B: what the benchmark asks of it, wherever the hosts are. */
export interface ServedGuest {
  readonly shell: GuestShell;
  /** What a host's kemari-dm says of the guest. */
  info(host: HostName): Promise<DomainInfo>;
  /** The last epochs of its protection from host A, oldest first. */
  trace(): Promise<readonly EpochRecord[]>;
  /** Protects it on host B with these options of `kemari migrate`; resolves once it is protected. */
  protect(options: readonly string[]): Promise<void>;
  unprotect(): Promise<void>;
  /** Processes of host A stand still (freeze.ts), or go on. */
  freeze(processes: readonly number[]): Promise<void>;
  thaw(processes: readonly number[]): Promise<void>;
}
