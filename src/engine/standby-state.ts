import type { PeerKnowledge } from './peer-knowledge.js';

export interface StandbyOptions {
  /** `auto` takes over by itself once silence has lasted and the fence has succeeded. */
  readonly failover: 'manual' | 'auto';
  /** Whether there is a fence command. `auto` needs one. */
  readonly hasFence: boolean;
  /** Silence that is long enough to act on; longer than the lease. */
  readonly takeoverTimeoutMs: number;
  /** What the primary does when it hears nothing. Where it goes on, an operator's SIGHUP is not enough. */
  readonly primaryOnSilence: 'hold' | 'continue';
  /** `move`: the guest only changes its host. It was never promised anything before `go`. */
  readonly purpose: 'protect' | 'move';
}

/** Why the guest is about to run here; for the log and the report. */
export type TakeoverReason = 'handover' | 'machine-died' | 'peer-dead' | 'fenced' | 'operator' | 'operator-says-dead';

export type StandbyState =
  /** No epoch is complete: there is nothing to run. */
  | { readonly phase: 'receiving'; readonly options: StandbyOptions }
  /**
   * `epoch` is committed and acknowledged, the primary answers. `wantedAtMs`: when an operator asked it for a switchover;
   * should it fall silent instead of answering, the order stands.
   */
  | {
      readonly phase: 'ready';
      readonly options: StandbyOptions;
      readonly epoch: bigint;
      readonly writesPending: boolean;
      readonly wantedAtMs: number | undefined;
    }
  /**
   * The primary does not answer since `sinceMs`. `epoch` is the last that was committed. `linkUp`: the stream stands, and
   * leases are granted as soon as one is asked for. `wanted`: an operator asked for the takeover, which waits for an answer
   * about the peer's process.
   */
  | {
      readonly phase: 'silent';
      readonly options: StandbyOptions;
      readonly epoch: bigint;
      readonly writesPending: boolean;
      readonly sinceMs: number;
      readonly linkUp: boolean;
      readonly peer: PeerKnowledge;
      /** Whether the question about the peer's process was answered once, if only by a deadline. */
      readonly asked: boolean;
      readonly wanted: boolean;
      /** Why a takeover was decided that then failed without the guest's having run: it is tried again for that. */
      readonly again: TakeoverReason | undefined;
    }
  /** The fence runs. Nothing is acknowledged and no lease renewed any more, whatever it answers. */
  | {
      readonly phase: 'fencing';
      readonly options: StandbyOptions;
      readonly epoch: bigint;
      readonly writesPending: boolean;
      readonly sinceMs: number;
      readonly peer: PeerKnowledge;
      readonly byOperator: boolean;
    }
  /** Decided. Waits until every lease this side has granted is over, then for the hypervisor. */
  | {
      readonly phase: 'lease-running-out' | 'taking-over';
      readonly options: StandbyOptions;
      readonly epoch: bigint;
      readonly writesPending: boolean;
      readonly reason: TakeoverReason;
    }
  /** This side runs the guest. Final here: it is a primary from now on. */
  | { readonly phase: 'running'; readonly epoch: bigint; readonly reason: TakeoverReason }
  /** Disarmed: it never runs the guest. Final. */
  | { readonly phase: 'ended' };

export type StandbyInput =
  /**
   * A whole checkpoint is in memory. `writesPending`: it has writes (discards, zeroings) of a disk that are not answered, held
   * ones among them. See late-writes.ts.
   */
  | { readonly type: 'committed'; readonly epoch: bigint; readonly writesPending: boolean }
  /** Nothing was heard on the lease connection for the takeover timeout; the stream still stands. */
  | { readonly type: 'silent' }
  /** The primary is heard again after that. */
  | { readonly type: 'heard' }
  /** The stream broke. */
  | { readonly type: 'link-lost'; readonly reason: string }
  /** This side cannot go on: what it received is damaged, or it has no memory left. The primary may still hear. */
  | { readonly type: 'link-failed'; readonly reason: string }
  /**
   * The machine that waits here has ended. `mayHaveRun`: it may have let the guest run before. `copyLost`: it held the epoch, and
   * has taken it along.
   */
  | {
      readonly type: 'machine-failed';
      readonly reason: string;
      readonly mayHaveRun?: boolean;
      readonly copyLost?: boolean;
    }
  /** This process is to end. */
  | { readonly type: 'terminate' }
  | { readonly type: 'peer'; readonly answer: 'runs' | 'gone' | 'unreachable' }
  | { readonly type: 'peer-says'; readonly word: 'go' | 'goodbye' | 'machine-died' }
  | { readonly type: 'sighup' }
  /** `kemari takeover --primary-is-dead`: the operator answers for it. */
  | { readonly type: 'primary-is-dead' }
  | { readonly type: 'disarm' }
  | { readonly type: 'fence-ended'; readonly ok: boolean; readonly text: string }
  /** Every lease that was granted has run out; only after `stop-granting`. */
  | { readonly type: 'leases-over' }
  | { readonly type: 'taken-over' }
  /** `copyLost`: the machine that failed held the epoch, which is not whole any more. */
  | {
      readonly type: 'takeover-failed';
      readonly reason: string;
      readonly mayHaveRun: boolean;
      readonly copyLost?: boolean;
    }
  | { readonly type: 'timer' };

export type StandbyEffect =
  | { readonly do: 'ack'; readonly epoch: bigint }
  | { readonly do: 'send'; readonly word: 'switchover' | 'taken' | 'disarmed' | 'refused'; readonly text?: string }
  /** Renew no lease any more; `leases-over` follows when the last one has run out, at once if the peer is gone. */
  | { readonly do: 'stop-granting'; readonly peerIsGone: boolean }
  | { readonly do: 'ask-peer' }
  | { readonly do: 'fence' }
  /** The machine that waited is lost, or was used up: another one is to wait in its place. */
  | { readonly do: 'prepare-machine' }
  /** Load the epoch's device state, start rings, replay what it holds, resume. */
  | { readonly do: 'take-over'; readonly epoch: bigint }
  /** Tell the switches where the guest is now. */
  | { readonly do: 'announce' }
  /** Drop the copy and end. */
  | { readonly do: 'discard' }
  | { readonly do: 'set-timer'; readonly atMs: number }
  | { readonly do: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly text: string }
  | { readonly do: 'refuse'; readonly code: `KEMARI_${string}`; readonly text: string };

export interface StandbyStep {
  readonly state: StandbyState;
  readonly effects: readonly StandbyEffect[];
}
