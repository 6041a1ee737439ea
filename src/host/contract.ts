import type { DomainConfig } from '../model/domain-config.js';
import type { DomainState } from '../model/domain-state.js';
import type { StandbyInfo, TakeoverInfo } from './standby-info.js';

/**
 * What the command line and a domain's kemari-dm say to each other: one JSON object a line over
 * `<root>/domains/<domid>/control.sock`. A request is answered by exactly one reply with its `id`.
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
  readonly 'bench-stop-cont': readonly number[];
}

/** What `info` shows; also what `list` needs of each domain. Times are milliseconds since the epoch of Unix time. */
export interface DomainInfo {
  readonly domid: number;
  readonly config: DomainConfig;
  readonly state: DomainState;
  readonly createdAtMs: number;
  readonly dmPid: number;
  readonly qemuPid: number | undefined;
  readonly qemuVersion: string;
  readonly accel: 'kvm' | 'tcg';
  /** CPU time of QEMU (vCPUs included) in seconds, as xl list's Time(s). */
  readonly cpuSeconds: number;
  readonly gate: { readonly open: boolean; readonly passed: number; readonly held: number };
  readonly disks: readonly DiskInfo[];
  readonly vifs: readonly VifInfo[];
  /** Of a domain that another host runs. */
  readonly standby?: StandbyInfo;
  /** Of a domain that ran on another host before. */
  readonly takeover?: TakeoverInfo;
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
  readonly inFlight: number;
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
