import type { Accel } from '../model/machine-description.js';
import type { DomainConfig } from '../model/domain-config.js';
import type { DomainState } from '../model/domain-state.js';
import type { EpochRecord } from './epoch-record.js';
import type { StandbyInfo, TakeoverInfo } from './standby-info.js';
import type { ProtectionOptions } from '../model/protection.js';

/**
 * What the command line and a domain's kemari-dm say to each other: one JSON object a line over
 * `<root>/domains/<domid>/control.sock`. A request is answered by exactly one reply with its `id`; those that go on for
 * long (EventRequest) are answered by any number of events before it. Hanging up ends the watching, nothing else.
 */
export type ControlRequest =
  | { readonly verb: 'info' }
  | { readonly verb: 'pause' }
  | { readonly verb: 'unpause' }
  /** Asks the guest to power off (ACPI); answered once asked, not once off. */
  | { readonly verb: 'shutdown' }
  | { readonly verb: 'reboot' }
  /** Answered when QEMU is gone and everything of the domain is taken down; the process then ends. */
  | { readonly verb: 'destroy' }
  /** To a standby: run the guest here. Answered when it does. `primaryIsDead`: the operator answers for that. */
  | { readonly verb: 'takeover'; readonly primaryIsDead: boolean }
  /** To a standby whose primary is silent: never run the guest. Answered once that is decided. */
  | { readonly verb: 'disarm' }
  /** Answered when protection has ended, for whatever reason. */
  | { readonly verb: 'protect'; readonly request: ProtectionRequest }
  /** The events of a protection that somebody else asked for. */
  | { readonly verb: 'protection-events' }
  /** Answered when the standby has forgotten the domain and it runs unprotected. */
  | { readonly verb: 'unprotect' }
  /** Answered when the guest runs on the standby; this kemari-dm then ends. */
  | { readonly verb: 'switchover' }
  /** The operator answers for it that the standby does not run the guest. */
  | { readonly verb: 'resume-unprotected' }
  /** The last epochs, for whoever wants to see where their time went. */
  | { readonly verb: 'trace' }
  /** A diagnostic of test/bench: `count` round trips of stop and cont on a running guest, in microseconds each. */
  | { readonly verb: 'bench-stop-cont'; readonly count: number };

export interface ControlReplies {
  readonly info: DomainInfo;
  readonly pause: null;
  readonly unpause: null;
  readonly shutdown: null;
  readonly reboot: null;
  readonly destroy: null;
  readonly takeover: null;
  readonly disarm: null;
  readonly protect: ProtectionEnd;
  readonly 'protection-events': ProtectionEnd;
  readonly unprotect: null;
  readonly switchover: null;
  readonly 'resume-unprotected': null;
  readonly trace: readonly EpochRecord[];
  readonly 'bench-stop-cont': readonly number[];
}

/** The requests that are answered by events first. */
export type EventVerb = 'protect' | 'protection-events';

export interface ProtectionRequest {
  /** Where the standby's kemarid listens. */
  readonly host: string;
  readonly port: number;
  /** Absolute path of the key; null: plain, because the operator said so. */
  readonly keyFile: string | null;
  readonly options: ProtectionOptions;
}

/** What became of a protection. */
export interface ProtectionEnd {
  /** `ended`: the domain did. */
  readonly outcome: 'unprotected' | 'handed-over' | 'ended';
  readonly text: string;
}

/** How a protection goes on, as it is told to those who watch it. Times are milliseconds since the epoch of Unix time. */
export type ProtectionEvent = { readonly atMs: number } & (
  | { readonly type: 'connecting'; readonly text: string }
  | ({ readonly type: 'copying' } & CopyInfo)
  | { readonly type: 'state'; readonly state: ProtectionInfo['state'] }
  | { readonly type: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly text: string }
  /** Once a second while the domain is protected. */
  | { readonly type: 'counters'; readonly info: ProtectionInfo }
);

/** How far the first copy of memory has come. */
export interface CopyInfo {
  /** Each copies what the guest wrote during the one before. From 1. */
  readonly round: number;
  readonly pagesLeft: number;
  readonly bytesPerSecond: number;
  /** Undefined until a rate is known. */
  readonly secondsLeft: number | undefined;
}

/** The primary's side of a protection. Counters look back ten seconds; times in their names' units. */
export interface ProtectionInfo {
  readonly role: 'primary';
  /** `protecting`: the gate is closed, the first epoch is on its way. `silent`: nothing is heard of the standby. */
  readonly state: 'connecting' | 'copying' | 'protecting' | 'protected' | 'silent' | 'ending' | 'handing-over';
  readonly policy: string;
  readonly failover: 'manual' | 'auto';
  readonly onSilence: 'hold' | 'continue';
  /** The standby as it was named, and by its own name. */
  readonly host: string;
  readonly port: number;
  readonly standby: string;
  readonly encrypted: boolean;
  /** Milliseconds since the epoch of Unix time: when the gate was closed; undefined before. */
  readonly sinceMs: number | undefined;
  readonly copying: CopyInfo | undefined;
  readonly epoch: string;
  readonly ackedEpoch: string;
  readonly epochsPerSecond: number;
  /** An epoch's, the median. */
  readonly dirtyPages: number;
  readonly checkpointBytes: number;
  readonly pauseUs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** From holding a request to releasing it. */
  readonly releaseUs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Of that time, [0, 1]: what was JavaScript. */
  readonly scriptShare: number;
  /** Of the guest's time, [0, 1]. */
  readonly pauseShare: number;
  /** Outbound requests that are held now. */
  readonly held: number;
  /** Age of the oldest epoch that is not acknowledged, and the bytes of all of them. */
  readonly lagMs: number;
  readonly unackedBytes: number;
  readonly linkBytesPerSecond: number;
  readonly sentBytes: number;
  /** What the sent bytes were before encoding. */
  readonly rawBytes: number;
  /** Pages that were in them, and the CPU time that encoding, encrypting and sending took. */
  readonly sentPages: number;
  readonly linkCpuMs: number;
  /** A checkpoint's commit to its ack, the median. */
  readonly ackUs: number;
  readonly leaseValid: boolean;
  /** How long the guest stood still since protection began. */
  readonly lostGuestMs: number;
  readonly regime: 'at-once' | 'paced';
}

/** Whether storage owes the guest an answer for longer than a busy one would. */
export function isStorageSilent({ disks }: Pick<DomainInfo, 'disks'>): boolean {
  return disks.some(({ silentMs }) => silentMs >= STORAGE_SILENT_MS);
}

/** Storage that answers nothing for so long is told of; a guest's own patience ends after 30 to 120 seconds. */
export const STORAGE_SILENT_MS = 5_000;

/** What `info` shows; also what `list` needs of each domain. Times are milliseconds since the epoch of Unix time. */
export interface DomainInfo {
  readonly domid: number;
  readonly config: DomainConfig;
  readonly state: DomainState;
  readonly createdAtMs: number;
  readonly dmPid: number;
  readonly qemuPid: number | undefined;
  readonly qemuVersion: string;
  readonly accel: Accel;
  /** CPU time of QEMU (vCPUs included) in seconds, as xl list's Time(s). */
  readonly cpuSeconds: number;
  readonly gate: { readonly open: boolean; readonly passed: number; readonly held: number };
  readonly disks: readonly DiskInfo[];
  readonly vifs: readonly VifInfo[];
  /** Of a domain that another host runs. */
  readonly standby?: StandbyInfo;
  /** Of a domain that ran on another host before. */
  readonly takeover?: TakeoverInfo;
  /** Undefined while nothing protects the domain. */
  readonly protection: ProtectionInfo | undefined;
}

export interface DiskInfo {
  readonly vdev: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly sizeBytes: number;
  /** How bytes reach it: `io_uring`, `threads` or `nbd`. */
  readonly engine: string;
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly discards: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly errors: number;
  /** That storage had not answered when the disk was closed, or its connection lost: they may land at any later time. */
  readonly unansweredWrites: number;
  readonly inFlight: number;
  /** For how long storage has answered none of what it was asked; 0 while it owes no answer. */
  readonly silentMs: number;
}

export interface VifInfo {
  readonly mac: string;
  readonly tap: string;
  readonly bridge: string | undefined;
  readonly txFrames: number;
  readonly txBytes: number;
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly dropped: number;
}
