import type { LinkShape } from './catalogue.js';
import type { Subject } from './subject.js';

/** Two hosts with a client beside them, on which workloads are measured. */
export interface Site {
  /** Lays the link between the hosts. */
  lay(link: LinkShape): Promise<void>;
  /** Boots what these protections need; what it returns says which guest a protection belongs to. */
  boot(protections: readonly string[], say: (text: string) => void): Promise<(protection: string) => Subject>;
  /** Runs a program of the guest's own userland on the client; returns what it printed. After boot(). */
  client(command: readonly string[], timeoutMs: number): Promise<string>;
}

/** What the guest is to be like. */
export interface GuestShape {
  readonly memoryMib: number;
  readonly vcpus: number;
}

/** The one that all protections can do: COLO fails with others. */
export const MACHINE = 'pc';
/** What the guest starts (hack/guest/start). */
export const SERVICES = 'http,redis,netperf';
