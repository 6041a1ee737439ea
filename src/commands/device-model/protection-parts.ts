import type { Logger } from 'pino';
import type { PeerFinding } from '../../cluster/contract.js';
import type { PrimaryState } from '../../engine/primary-state.js';
import type { Machine } from '../../hypervisor/contract.js';
import type { ProtectionOptions } from '../../model/protection.js';
import type { OutputGate, RingDevice } from '../../native/addon.js';
import type { Capture } from '../../native/capture.js';
import type { LinkSender, SenderEvent } from '../../native/link.js';
import type { CopyProgress } from './memory-copy.js';

/** What protection works on, and whom it asks and tells. */
export interface ProtectionParts {
  readonly options: ProtectionOptions;
  /** The operator had paused the guest. */
  readonly paused: boolean;
  readonly gate: OutputGate;
  readonly disks: readonly Pick<RingDevice, 'submitted'>[];
  readonly machine: Pick<Machine, 'pause' | 'resume'>;
  /** The link, not connected yet; what it tells goes to `onEvent`. */
  readonly openLink: (onEvent: (event: SenderEvent) => void) => LinkSender;
  readonly openCapture: (link: LinkSender) => Capture;
  /** Asks the standby's kemarid whether its process runs. Never rejected. */
  readonly askPeer: () => Promise<PeerFinding>;
  /** Noted for good before the gate opens without the standby's having forgotten the domain. */
  readonly goesOnAlone: () => void;
  /**
   * Ends the machine and its devices: fulfilled when nothing that they submitted is under way; with false where storage has
   * not answered in time, so that it may.
   */
  readonly endMachine: () => Promise<boolean>;
  /** Whether the machine's process is there. */
  readonly machineRuns: () => boolean;
  readonly logger: Logger;
  readonly onState: (state: PrimaryState) => void;
  readonly onCopying: (progress: CopyProgress) => void;
  readonly onLog: (level: 'info' | 'warn' | 'error', text: string) => void;
}

/** How it ended, and the engine's last word about it. */
export interface ProtectionOutcome {
  readonly outcome: 'unprotected' | 'handed-over' | 'ended';
  readonly text: string;
  /** It is known that the standby never runs the guest. */
  readonly standbyForgot: boolean;
  /** The machine died: the standby was told, if it heard. */
  readonly machineDied: boolean;
}
