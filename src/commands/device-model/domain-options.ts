import type { Logger } from 'pino';
import type { Hypervisor } from '../../hypervisor/contract.js';
import type { DomainConfig } from '../../model/domain-config.js';
import type { ProtectionWorld } from './domain-protection.js';

/** What a domain is made of and works with. */
export interface DomainOptions {
  readonly domid: number;
  readonly config: DomainConfig;
  /** Milliseconds since the epoch of Unix time. */
  readonly createdAtMs: number;
  /** As MachineOptions has them. */
  readonly cacheDirectory: string;
  readonly privateDirectory: string;
  readonly onProcess: (pid: number) => void;
  readonly onXenDomain: (domid: number) => void;
  readonly hypervisor: Hypervisor;
  readonly logger: Logger;
  /** How it begins: by `start`, with or without letting the guest run, or by `standBy`. */
  readonly begins: 'running' | 'paused' | 'standby';
  readonly attachConsole: (outletFd: number) => void;
  readonly protection: ProtectionWorld;
  /** The machine that waits for another host's state is of no use any more. */
  readonly onStandbyLost: (reason: string) => void;
  /** Lets go of what the domain holds on its host; called once, when nothing of it runs any more. */
  readonly release: () => void;
}
