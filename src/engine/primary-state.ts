import type { SyncPolicy } from '../model/protection.js';
import type { Pacing } from './pacing.js';
import type { PeerKnowledge } from './peer-knowledge.js';
import type { OnItsWay, WirePace } from './wire-pace.js';

/** An epoch that was captured and not acknowledged. */
export interface UnackedEpoch extends OnItsWay {
  readonly epoch: bigint;
  /** The newest output the cut covers; it and all before it may leave after the ack. */
  readonly throughSequence: bigint;
  /** Of its checkpoint, before encoding. */
  readonly bytes: number;
}

/** What a protected primary keeps, whatever phase it is in. */
export interface PrimaryCore {
  readonly options: PrimaryOptions;
  /** The newest epoch that was captured or is being captured; 0 before the first. */
  readonly epoch: bigint;
  /** A capture is under way; its result is the next thing heard of it. */
  readonly capturing: boolean;
  /** Oldest first, epochs ascending. Invariant: all are above `ackedEpoch` and at most `epoch`. */
  readonly unacked: readonly UnackedEpoch[];
  readonly ackedEpoch: bigint;
  /** The guest stands still until the ack of this epoch; undefined: no capture keeps it from running. */
  readonly standsFor: bigint | undefined;
  /** The domain wants the guest to stand still: nothing of protection lets it go on. */
  readonly paused: boolean;
  /** And that for its operator, whom the standby is to obey, too. */
  readonly operatorPaused: boolean;
  /** What epochs say of that, from `sinceEpoch` on. */
  readonly told: { readonly operatorPaused: boolean; readonly sinceEpoch: bigint };
  /** Since when a request or frame (`heldSinceMs`) or console bytes (`consoleSinceMs`) wait that no capture covers. */
  readonly heldSinceMs: number | undefined;
  readonly consoleSinceMs: number | undefined;
  /** The newest sequence that either of them was told with. */
  readonly heldSequence: bigint;
  readonly dirtyLimitReached: boolean;
  readonly lastCaptureMs: number;
  readonly pacing: Pacing;
  readonly wire: WirePace;
}

export interface PrimaryOptions {
  /** `move`: once the first epoch is acknowledged the guest goes on over there. */
  readonly purpose: 'protect' | 'move';
  readonly policy: SyncPolicy;
  /** What to do when the standby is silent: hold all output, or go on unprotected. */
  readonly onSilence: 'hold' | 'continue';
  readonly maxAgeMs: number;
  readonly maxPauseShare: number;
}

export type PrimaryState =
  /** Runs without protection: an explicit, logged state. The gate is open. */
  | { readonly phase: 'unprotected' }
  /** The link is up, memory is being copied while the guest runs. The gate is still open: nothing was promised yet. */
  | { readonly phase: 'copying'; readonly options: PrimaryOptions; readonly paused: boolean }
  /** The gate is closed. Protected once `core.ackedEpoch` is 1 or more. */
  | { readonly phase: 'protected'; readonly core: PrimaryCore }
  /** The standby was told to forget the domain. Outputs stay held until it says that it did. */
  | { readonly phase: 'disarming'; readonly core: PrimaryCore; readonly then: 'unprotected' | 'ended' }
  /** The link (`linkUp` false) or the lease is lost; outputs are held until something is known. */
  | { readonly phase: 'silent'; readonly core: PrimaryCore; readonly linkUp: boolean; readonly peer: PeerKnowledge }
  /**
   * The guest stands still for a planned switchover, its last epoch is on its way. Until `go` was sent it may still come
   * back; from then on it never does by itself: only the peer's answer or the operator ends `unknown`. A fence alone does not:
   * it says that the standby is off, not that it had not run the guest before.
   */
  | {
      readonly phase: 'handing-over';
      readonly core: PrimaryCore;
      /** `capture-first`: an epoch is just being captured, the last one follows it. */
      readonly handover: 'capture-first' | 'last-epoch' | 'draining' | 'go-sent' | 'unknown';
    }
  /** The standby runs the guest. Final. */
  | { readonly phase: 'handed-over' }
  /** The domain ended or its machine died; the standby was told. Final. */
  | { readonly phase: 'ended' };

/** The phases in which the gate is closed and the guest still this side's. */
export type GuardedState = PrimaryState & { readonly phase: 'protected' | 'disarming' | 'silent' };

export type PrimaryInput =
  /** The operator wants protection; the link to the standby stands and the handshake was accepted. */
  | { readonly type: 'start'; readonly options: PrimaryOptions; readonly paused: boolean }
  /** Pre-copy has come down to what one epoch may carry. `roundTripMs`: the shortest that the link has shown. */
  | { readonly type: 'copied'; readonly roundTripMs: number }
  /** Something new is held. */
  | { readonly type: 'held'; readonly output: 'request' | 'console'; readonly sequence: bigint }
  | { readonly type: 'dirty-limit' }
  /** Comes before any ack of the epoch. */
  | {
      readonly type: 'captured';
      readonly epoch: bigint;
      readonly throughSequence: bigint;
      readonly pauseUs: number;
      /** Of the time before, in [0, 1]: how much of it the guest wanted to run. */
      readonly busyShare: number;
      readonly dirtyPages: number;
      readonly bytes: number;
    }
  | { readonly type: 'capture-failed'; readonly reason: string }
  | { readonly type: 'acked'; readonly epoch: bigint }
  /** What had been submitted to storage has landed. */
  | { readonly type: 'drained' }
  | { readonly type: 'link-lost'; readonly reason: string }
  /** The native lease ran out, or was renewed after it had. */
  | { readonly type: 'lease'; readonly valid: boolean }
  | { readonly type: 'peer'; readonly answer: 'runs' | 'gone' | 'unreachable' }
  /**
   * The standby's words: it runs the guest (`taken`), it never will (`disarmed`), it cannot (`refused`, the same), or its
   * operator wants it to (`switchover`).
   */
  | { readonly type: 'peer-says'; readonly word: 'taken' | 'disarmed' | 'refused' | 'switchover' }
  | { readonly type: 'operator'; readonly verb: 'unprotect' | 'switchover' | 'resume-unprotected' }
  /**
   * The domain's operator wants the guest to stand still, or to go on; its life is none of protection's business otherwise.
   * `forReset`: it only stands still to start anew.
   */
  | { readonly type: 'guest'; readonly wanted: 'paused' | 'running'; readonly forReset?: boolean }
  | { readonly type: 'domain-ended'; readonly reason: string }
  | { readonly type: 'machine-died'; readonly reason: string }
  /** A timer that was set has run out. */
  | { readonly type: 'timer' };

export type PrimaryEffect =
  | { readonly do: 'close-gate' }
  /** Runs without protection from here on. Only from an explicit decision; always logged beside. */
  | { readonly do: 'open-gate' }
  /**
   * `resume`: `at-once` after the local copy, `after-ack`, or `never` (the last epoch of a handover). A guest that was paused
   * before stays so. `guestPaused`: its operator wants it to stand still, wherever it is.
   */
  | {
      readonly do: 'capture';
      readonly epoch: bigint;
      readonly resume: 'at-once' | 'after-ack' | 'never';
      readonly guestPaused: boolean;
    }
  /** The standby has everything up to this sequence. The gate tests the lease once more. */
  | { readonly do: 'release'; readonly throughSequence: bigint }
  /** Once the capture that is under way has ended, if one is. */
  | { readonly do: 'resume-guest' | 'pause-guest' }
  /** Wait until nothing that was submitted to storage is under way; `drained` follows. */
  | { readonly do: 'drain' }
  /**
   * Before `go`: nothing leaves any more, not even what was released, whatever lease was granted. The standby does not wait
   * for it, and lets out what is still here.
   */
  | { readonly do: 'end-lease' }
  | { readonly do: 'start-tracking' | 'stop-tracking' }
  /**
   * `go`: run the guest. `goodbye`: protection ends, forget it. `machine-died`: take over, this side never runs again;
   * it is sent once nothing that was submitted to storage is under way, and not at all where storage does not answer.
   */
  | { readonly do: 'send'; readonly word: 'go' | 'goodbye' | 'machine-died' }
  | { readonly do: 'drop-link' }
  /** Ask the peer's kemarid, over every path, whether its process still runs. */
  | { readonly do: 'ask-peer' }
  | { readonly do: 'end-machine' }
  /** Replaces the timer that was set before. */
  | { readonly do: 'set-timer'; readonly atMs: number }
  | { readonly do: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly text: string }
  | { readonly do: 'refuse'; readonly code: `KEMARI_${string}`; readonly text: string };

export interface PrimaryStep {
  readonly state: PrimaryState;
  readonly effects: readonly PrimaryEffect[];
}
