import type { OutputGate } from './addon.js';

/** What both sides tell each other beside checkpoints and acks, ordered with them (src/wire/README.md, "WORD"). */
export type PrimaryWord = 'go' | 'goodbye' | 'machine-died';
export type StandbyWord = 'switchover' | 'taken' | 'disarmed' | 'refused';

/** Parts of an epoch's way from its capture to the standby's ack, one after another, in microseconds. */
export interface EpochWay {
  /** Making it smaller: the encoder's own time. */
  readonly encodeUs: number;
  /** All else until the socket had its last byte: waiting for what is ahead, encrypting, copying. */
  readonly sendUs: number;
  /** Until the ack was heard: the cable, the standby's checks and its answer. */
  readonly ackUs: number;
  /** When that was, on CLOCK_MONOTONIC. */
  readonly heardAtUs: number;
}

/** `text` comes from the peer: for the log and for people, at most 1000 bytes, without control characters. */
export type SenderEvent =
  /** Both connections stand: the peer has the key, and this protection's token. */
  | { readonly type: 'connected' }
  /** The standby has this epoch, and with it all before it. `way`: where its time went, while that is known. */
  | { readonly type: 'acked'; readonly epoch: bigint; readonly way?: EpochWay }
  | { readonly type: 'word'; readonly word: StandbyWord; readonly text: string }
  /** The native lease ran out, or is valid (again). The first `true` comes with the first renewal. */
  | { readonly type: 'lease'; readonly valid: boolean }
  /** The stream is gone; nothing more is sent or heard. Once. What it means for the peer is not known. */
  | { readonly type: 'lost'; readonly code: `KEMARI_${string}`; readonly text: string };

export type ReceiverEvent =
  | { readonly type: 'connected' }
  /** A whole checkpoint was checked and is in memory; `ack` may be called. Epochs come in order, without a gap. */
  | {
      readonly type: 'committed';
      readonly epoch: bigint;
      readonly pages: number;
      readonly bytes: number;
      /** It has disk writes pending, of which the primary may have any with its storage. */
      readonly writesPending: boolean;
      /** As for TakenCheckpoint. */
      readonly guestPaused: boolean;
    }
  | { readonly type: 'word'; readonly word: PrimaryWord; readonly text: string }
  /** Nothing was heard on the lease connection for `takeoverTimeoutMs`. */
  | { readonly type: 'silent' }
  /** The primary is heard again after `silent`. */
  | { readonly type: 'heard' }
  /** As for the sender. RAM is that of the last committed epoch. */
  | { readonly type: 'lost'; readonly code: `KEMARI_${string}`; readonly text: string };

interface LinkOptions {
  /** Connected TCP sockets after the clear preamble. They belong to the link from here on, also when it cannot be made. */
  readonly streamFd: number;
  readonly leaseFd: number;
  /** 32 bytes; undefined: plain, nothing is encrypted and nobody proves anything. */
  readonly key: Buffer | undefined;
  /** 16 bytes that the standby gave at the handshake: bind both connections to this protection. */
  readonly token: Buffer;
  /** Ring devices of the domain, disks and NICs. */
  readonly deviceCount: number;
  readonly leaseMs: number;
  /** Both connections must be secured within this time. Default 5000. */
  readonly connectTimeoutMs?: number;
}

export interface LinkSenderOptions extends LinkOptions {
  readonly ramBytes: number;
  readonly gate: OutputGate;
  /** Memory for copies of pages that were sent, for deltas; 0: none. Default 64 MiB. */
  readonly cacheBytes?: number;
  /** `auto` (default): deltas and lz4 where they cost less time than they save on this link; or `always`, or `never`. */
  readonly compress?: 'auto' | 'always' | 'never';
  readonly onEvent: (event: SenderEvent) => void;
}

/** Where a standby keeps guest memory. */
export type StandbyMemory =
  /** The memfd of guest memory; stays the caller's. */
  | { readonly ramFd: number }
  /**
   * A domain of this Xen that has never run and has memory where the guest has it: frames below `frames` may come. Errors:
   * those of XenDomain.
   */
  | { readonly xen: { readonly domid: number; readonly frames: number } };

interface LinkReceiverBaseOptions extends LinkOptions {
  readonly takeoverTimeoutMs: number;
  /** Most memory that one epoch may take beside guest memory. Default: the size of guest memory and 64 MiB. */
  readonly stagingBytes?: number;
  readonly onEvent: (event: ReceiverEvent) => void;
}

export type LinkReceiverOptions = LinkReceiverBaseOptions & StandbyMemory;

/** Counters are since the start; times in microseconds. */
export interface LinkSenderStats {
  /** Submitted and not handed to the socket yet. */
  readonly queuedBytes: number;
  /** Bytes of records on the stream, before TLS. */
  readonly sentBytes: number;
  /** Bytes of all that was submitted and sent, before encoding. */
  readonly rawBytes: number;
  readonly pagesSent: number;
  /** Pages by the way they travelled; `unchanged` were left out, since the standby has the same. */
  readonly pages: {
    readonly raw: number;
    readonly zero: number;
    readonly lz4: number;
    readonly delta: number;
    readonly unchanged: number;
  };
  readonly ackedEpoch: bigint;
  /** Commit sent to ack received: the last, and the median and the 99th percentile of the last 1000. 0 without any. */
  readonly ackUs: { readonly last: number; readonly p50: number; readonly p99: number };
  /** Bytes a second on the stream, over the last second or so. */
  readonly bytesPerSecond: number;
  /** The shortest round trip of a renewal and its answer; 0 before the first. */
  readonly rttUs: number;
  readonly leaseValid: boolean;
  /** CPU time that making pages smaller, encrypting and sending took. */
  readonly cpuUs: number;
}

export interface LinkReceiverStats {
  readonly receivedBytes: number;
  readonly pagesReceived: number;
  readonly committedEpoch: bigint;
  /** Memory that epochs in progress take now, and the most that it ever was. */
  readonly stagedBytes: number;
  readonly stagedBytesPeak: number;
  /** Time that the last epoch took to copy into guest memory. */
  readonly applyUs: number;
}

/** The primary's end of the stream. Captures submit checkpoints to it natively. */
export interface LinkSender {
  /** Queued behind every checkpoint that was submitted. Nothing happens when the link is lost. */
  send(word: PrimaryWord, text?: string): void;
  stats(): LinkSenderStats;
  /**
   * Sends what is queued, for at most a second, then ends both connections and their threads. No event comes after it has
   * resolved. Idempotent.
   */
  close(): Promise<void>;
}

/** The last committed epoch, as a takeover needs it. */
export interface TakenCheckpoint {
  readonly epoch: bigint;
  readonly machineState: Buffer;
  readonly devices: readonly Buffer[];
  readonly console: Buffer;
  /** The guest's operator had paused it by the cut: it is to stand still where it is taken over. */
  readonly guestPaused: boolean;
}

/** The standby's end of the stream. */
export interface LinkReceiver {
  /** Tells the primary that this epoch is safe here. Only for what was committed (`KEMARI_ARGUMENT`). */
  ack(epoch: bigint): void;
  /** Ordered with acks. Also works after `take`. */
  send(word: StandbyWord, text?: string): void;
  /** Answers no renewal any more. Resolves when every granted lease is over; at once if the peer cannot act any more. */
  stopGranting(peerIsGone: boolean): Promise<void>;
  /**
   * Stops reading and gives the last committed epoch; guest memory is whole and of that epoch then, what came after it is
   * dropped. Errors: `KEMARI_NO_EPOCH` when none was committed.
   */
  take(): Promise<TakenCheckpoint>;
  stats(): LinkReceiverStats;
  /** As for the sender. */
  close(): Promise<void>;
}
