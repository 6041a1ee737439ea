import type { Appointment } from './clock.js';
import type { GuestState } from './guest.js';
import type { Process, Thread } from './host.js';
import type { Pipe } from './network.js';
import type { World } from './world.js';

/** What a cut put down, as it travels. */
export interface Checkpoint {
  readonly epoch: number;
  readonly state: GuestState;
  /** Its operator wants it to stand still, wherever it is. */
  readonly guestPaused: boolean;
}

export interface SenderListener {
  acked(epoch: number): void;
  word(word: 'taken' | 'disarmed' | 'refused' | 'switchover'): void;
  lease(isValid: boolean): void;
  lost(reason: string): void;
}

export interface ReceiverListener {
  committed(epoch: number, writesPending: boolean): void;
  word(word: 'go' | 'goodbye' | 'machine-died'): void;
  silent(): void;
  heard(): void;
  lost(reason: string): void;
  failed(reason: string): void;
}

/** The clocks of two hosts differ by less (addon/link/lease_granter.h). */
const DRIFT_SHARE = 128;
const RENEWALS_PER_LEASE = 4;

/** Both connections of a protection, as the two hosts' native threads see them (addon/link). */
export class Link {
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly #pipes: readonly Pipe[];

  constructor(world: World, primary: Process, standby: Process) {
    const { network } = world;
    const from = primary.host.name;
    const back = standby.host.name;
    const pipes = [network.pipe(from), network.pipe(back), network.pipe(from), network.pipe(back)] as const;
    this.#pipes = pipes;
    this.sender = new Sender(world, primary, pipes[0], pipes[2]);
    this.receiver = new Receiver(world, standby, pipes[1], pipes[3]);
    this.sender.peer = this.receiver;
    this.receiver.peer = this.sender;
    pipes[0].onReset = (): void => {
      this.#primaryHears();
    };
    pipes[1].onReset = (): void => {
      this.#standbyHears();
    };
  }

  /** The connections break, and each side hears of it that can; what was on its way is lost. */
  break(isHeardBy: { readonly primary: boolean; readonly standby: boolean; readonly stream: boolean }): void {
    for (const pipe of isHeardBy.stream ? this.#pipes.slice(0, 2) : this.#pipes) pipe.break();
    if (isHeardBy.primary) this.#primaryHears();
    if (isHeardBy.standby) this.#standbyHears();
  }

  /** Whoever hears of it closes its end; the other one hears of that as soon as the wires allow, which the lease's know. */
  #primaryHears(): void {
    this.sender.lose('connection reset');
    this.sender.lease.sendUnlessBroken(() => {
      this.receiver.lose('connection closed');
    });
  }

  #standbyHears(): void {
    this.receiver.lose('connection reset');
    this.receiver.lease.sendUnlessBroken(() => {
      this.sender.lose('connection closed');
    });
  }
}

/** The primary's end: checkpoints and words go out, the lease is renewed on a thread of its own. */
export class Sender {
  peer!: Receiver;
  listener!: SenderListener;
  leaseUntilMs = -Infinity;
  onRenewed: (untilMs: number) => void = () => undefined;
  isClosed = false;
  #isLost = false;
  #toldValid = false;
  readonly #linkThread: Thread;
  readonly #leaseThread: Thread;
  #expiry: Appointment | undefined;

  constructor(
    readonly world: World,
    readonly process: Process,
    readonly stream: Pipe,
    readonly lease: Pipe,
  ) {
    this.#linkThread = process.thread('link');
    this.#leaseThread = process.thread('lease');
  }

  start(): void {
    this.#renew();
  }

  get leaseValid(): boolean {
    return this.process.host.nowMs < this.leaseUntilMs;
  }

  submit(checkpoint: Checkpoint): void {
    if (this.world.engine.flaws?.acksBeforeComplete === true) {
      this.#send(() => {
        this.peer.announce(checkpoint);
      });
    }
    this.#send(
      () => {
        this.peer.commit(checkpoint);
      },
      this.world.random.between(0, 2) * this.world.network.slowness,
    );
  }

  say(word: 'go' | 'goodbye' | 'machine-died'): void {
    this.world.checkers.said(word);
    this.#send(() => {
      this.peer.hear(word);
    });
  }

  /** What was said is sent; then the connection ends. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.stream.send(() => {
      this.peer.lose('connection closed');
    });
  }

  lose(reason: string): void {
    this.#linkThread.post('link: lost', () => {
      if (this.isClosed || this.#isLost) return;
      this.#isLost = true;
      this.listener.lost(reason);
    });
  }

  acked(epoch: number): void {
    this.#linkThread.post('link: hear', () => {
      if (!this.isClosed && !this.#isLost) this.listener.acked(epoch);
    });
  }

  hear(word: 'taken' | 'disarmed' | 'refused' | 'switchover'): void {
    this.#linkThread.post('link: hear', () => {
      if (!this.isClosed && !this.#isLost) this.listener.word(word);
    });
  }

  answered(sentAtMs: number): void {
    this.#leaseThread.post('lease: answered', () => {
      const { host } = this.process;
      const { leaseMs, engine } = this.world;
      const untilMs = (engine.flaws?.leaseFromAnswer === true ? host.nowMs : sentAtMs) + leaseMs;
      if (this.isClosed || untilMs <= this.leaseUntilMs) return;
      this.leaseUntilMs = untilMs;
      this.onRenewed(untilMs);
      if (this.#expiry !== undefined) this.#expiry.act = undefined;
      this.#expiry = host.at(untilMs + 0.01, () => {
        this.#leaseThread.post('lease: expiry', () => {
          this.#noteExpiry();
        });
      });
      if (this.#toldValid || !this.leaseValid) return;
      this.#toldValid = true;
      this.listener.lease(true);
    });
  }

  #send(arrive: () => void, extraMs = 0): void {
    this.#linkThread.post('link: send', () => {
      if (!this.isClosed && !this.#isLost) this.stream.send(arrive, extraMs);
    });
  }

  #renew(): void {
    this.#leaseThread.post('lease: renew', () => {
      if (this.isClosed || this.world.isOver) return;
      this.#noteExpiry();
      const sentAtMs = this.process.host.nowMs;
      this.lease.send(() => {
        this.peer.renewed(sentAtMs);
      });
      this.world.clock.after(this.world.leaseMs / RENEWALS_PER_LEASE, () => {
        this.#renew();
      });
    });
  }

  #noteExpiry(): void {
    if (!this.#toldValid || this.leaseValid || this.isClosed) return;
    this.#toldValid = false;
    this.listener.lease(false);
  }
}

/** The standby's end: epochs arrive whole or not at all, leases are granted, silence is noticed. */
export class Receiver {
  peer!: Sender;
  listener!: ReceiverListener;
  committed: Checkpoint | undefined;
  #before: Checkpoint | undefined;
  #ackedEpoch = 0;
  #isReading = true;
  #isLost = false;
  #isClosed = false;
  #isGranting = true;
  #grantedUntilMs = -Infinity;
  #toldSilent = false;
  #silence: Appointment | undefined;
  readonly #linkThread: Thread;
  readonly #leaseThread: Thread;

  constructor(
    readonly world: World,
    readonly process: Process,
    readonly stream: Pipe,
    readonly lease: Pipe,
  ) {
    this.#linkThread = process.thread('link');
    this.#leaseThread = process.thread('lease');
  }

  commit(checkpoint: Checkpoint): void {
    this.#linkThread.post('link: commit', () => {
      if (!this.#isReading || this.#isLost) return;
      this.#before = this.committed;
      this.committed = checkpoint;
      if (this.world.engine.flaws?.acksBeforeComplete === true) return;
      this.listener.committed(checkpoint.epoch, hasWritesPending(checkpoint));
    });
  }

  /** A flaw: the first bytes of an epoch are taken for all of it. */
  announce(checkpoint: Checkpoint): void {
    this.#linkThread.post('link: commit', () => {
      if (this.#isReading && !this.#isLost) this.listener.committed(checkpoint.epoch, hasWritesPending(checkpoint));
    });
  }

  hear(word: 'go' | 'goodbye' | 'machine-died'): void {
    this.#linkThread.post('link: hear', () => {
      if (this.#isReading && !this.#isLost) this.listener.word(word);
    });
  }

  lose(reason: string): void {
    this.#linkThread.post('link: lost', () => {
      if (!this.#isReading || this.#isLost || this.#isClosed) return;
      this.#isLost = true;
      this.listener.lost(reason);
    });
  }

  /** What came cannot be applied: nothing more is read. */
  damage(): void {
    this.#linkThread.post('link: lost', () => {
      if (!this.#isReading || this.#isLost || this.#isClosed) return;
      this.#isLost = true;
      this.listener.failed('a page does not fit its checksum');
    });
  }

  ack(epoch: number): void {
    const { committed, world } = this;
    const isWhole = committed !== undefined && epoch <= committed.epoch;
    if (epoch <= this.#ackedEpoch || (!isWhole && world.engine.flaws?.acksBeforeComplete !== true)) {
      throw new Error(`assertion failed: epoch ${epoch} cannot be acknowledged`);
    }
    this.#ackedEpoch = epoch;
    if (this.#isLost || this.#isClosed) return;
    world.checkers.acknowledged(epoch);
    this.stream.send(() => {
      this.peer.acked(epoch);
    });
  }

  say(word: 'taken' | 'disarmed' | 'refused' | 'switchover'): void {
    if (this.#isClosed) return;
    this.stream.send(() => {
      this.peer.hear(word);
    });
  }

  /** Guest memory is whole, whatever comes later is dropped. */
  take(): Checkpoint | undefined {
    this.#isReading = false;
    return this.world.engine.flaws?.resumesEpochBefore === true ? (this.#before ?? this.committed) : this.committed;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isReading = false;
    this.stream.send(() => {
      this.peer.lose('connection closed');
    });
  }

  /** The connections stand: from now on silence counts, even that of a primary which was never heard. */
  start(): void {
    this.#listenFrom(this.process.host.nowMs);
  }

  #listenFrom(heardAtMs: number): void {
    const { host } = this.process;
    const { takeoverTimeoutMs } = this.world.plan;
    if (this.#silence !== undefined) this.#silence.act = undefined;
    this.#silence = host.at(heardAtMs + takeoverTimeoutMs, () => {
      this.#leaseThread.post('lease: silence', () => {
        if (this.#toldSilent || this.#isClosed || host.nowMs < heardAtMs + takeoverTimeoutMs - 0.001) return;
        this.#toldSilent = true;
        this.listener.silent();
      });
    });
  }

  renewed(sentAtMs: number): void {
    this.#leaseThread.post('lease: grant', () => {
      if (this.#isClosed) return;
      const { host } = this.process;
      const { leaseMs } = this.world;
      const heardAtMs = host.nowMs;
      if (this.#isGranting) {
        this.#grantedUntilMs = heardAtMs + leaseMs + leaseMs / DRIFT_SHARE;
        this.lease.send(() => {
          this.peer.answered(sentAtMs);
        });
      }
      this.#listenFrom(heardAtMs);
      if (!this.#toldSilent) return;
      this.#toldSilent = false;
      this.listener.heard();
    });
  }

  /** Grants no more; `over` once every lease that was granted has run out. */
  stopGranting(peerIsGone: boolean, over: () => void): void {
    this.#isGranting = false;
    const { host } = this.process;
    if (peerIsGone || host.nowMs >= this.#grantedUntilMs) over();
    else host.at(this.#grantedUntilMs, over);
  }
}

/** What the native link reads out of the rings' cuts (addon/link/napi_link_receiver.cc). */
function hasWritesPending({ state }: Checkpoint): boolean {
  return state.pending.some(({ kind }) => kind === 'write');
}
