import { remembers, type GuestState, type Life, type Output } from './guest.js';
import type { HostName } from './host.js';
import type { Checkpoint } from './link.js';

/** A rule of README.md that was broken. */
export interface Violation {
  readonly rule:
    | 'released before its ack'
    | 'both sides speak'
    | 'a late write landed behind the takeover'
    | 'not a committed epoch'
    | 'older than what the world has seen'
    | 'the guest reads what it did not write'
    | 'an acknowledged write is lost'
    | 'not sent again before anything new'
    | "the operator's pause does not hold"
    | 'no progress after healing'
    | 'assertion';
  readonly text: string;
  readonly atMs: number;
}

/** What README.md says is not promised has happened: what follows of it in that run proves nothing. */
export type Exception =
  | 'without a fence: a thread stalled between the test of its lease and the submission'
  | 'without a fence: a write of a primary that an operator overruled landed late'
  | 'in a handover: a frame whose lease was tested before it was sent again';

const GUARDED = new Set(['protected', 'silent', 'disarming', 'handing-over']);

/**
 * Look at the world only: at what leaves, what lands, what a standby acknowledges, what is resumed, and what a primary says of
 * itself to its operator (a declared end of protection lets it speak). Nothing here knows how either side decides.
 */
export class Checkers {
  violation: Violation | undefined;
  exception: Exception | undefined;
  /** The life that went on after a takeover. */
  resumedBy: HostName | undefined;
  /** Outputs that left whoever may speak. */
  spoken = 0;
  takeovers = 0;
  #wanted: 'paused' | 'running' = 'running';
  readonly #wantedAt = new Map<number, 'paused' | 'running'>();
  #handsOver = false;
  #givesUp = false;
  #isOverruled = false;
  #isDeclaredDead = false;
  #resumed: { readonly atMs: number; readonly state: GuestState } | undefined;
  readonly #toReplay: Readonly<Record<'disk' | 'net', Output[]>> = { disk: [], net: [] };
  readonly #cuts = new Map<number, Checkpoint>();
  #ackedEpoch = 0;
  #phase = 'unprotected';
  /** The newest output that left, by life. */
  readonly #left = new Map<Life, Output>();
  /** What the client was told is on disk. */
  readonly told: (Output | undefined)[] = [];

  constructor(
    readonly nowMs: () => number,
    readonly sectors: readonly (Output | undefined)[],
    readonly hasFence: boolean,
  ) {}

  /** A word of A's, on the wire. */
  said(word: 'go' | 'goodbye' | 'machine-died'): void {
    this.#handsOver ||= word === 'go';
    this.#givesUp ||= word === 'machine-died';
  }

  /** The operator's last order about the guest itself, which A has accepted. */
  wanted(wanted: 'paused' | 'running'): void {
    this.#wanted = wanted;
  }

  /** An epoch that is ordered now is to say what the operator wants. */
  epochOrdered(epoch: number): void {
    this.#wantedAt.set(epoch, this.#wanted);
  }

  /** B has let the guest run from this epoch, or has not. */
  goesOn(epoch: number, isRunning: boolean): void {
    const wanted = this.#wantedAt.get(epoch);
    if (wanted === undefined || isRunning === (wanted === 'running')) return;
    this.fail("the operator's pause does not hold", `epoch ${epoch} was ordered when it was to be ${wanted}`);
  }

  /** An operator's order to B. */
  ordered(order: 'sighup' | 'disarm' | 'terminate' | 'primary-is-dead'): void {
    this.#isOverruled ||= order === 'sighup' || order === 'primary-is-dead';
    this.#isDeclaredDead ||= order === 'primary-is-dead';
  }

  /** Nothing that follows proves anything. */
  get isOver(): boolean {
    return this.violation !== undefined || this.exception !== undefined;
  }

  fail(rule: Violation['rule'], text: string): void {
    this.violation ??= { rule, text, atMs: this.nowMs() };
  }

  cut(checkpoint: Checkpoint): void {
    this.#cuts.set(checkpoint.epoch, checkpoint);
  }

  acknowledged(epoch: number): void {
    if (!this.#cuts.has(epoch)) this.fail('not a committed epoch', `epoch ${epoch} was acknowledged and never cut`);
    this.#ackedEpoch = Math.max(this.#ackedEpoch, epoch);
  }

  declared(phase: string): void {
    this.#phase = phase;
  }

  left(output: Output, by: HostName, testedAtMs: number): void {
    this.spoken++;
    if (by === 'A') {
      if (this.#resumed !== undefined) {
        this.exception ??= this.#excuseToLeave(output, testedAtMs);
        if (this.exception !== undefined) return;
        this.fail('both sides speak', `${nameOf(output)} left A while the guest runs on B`);
      }
      if (GUARDED.has(this.#phase)) this.#checkAck(output);
    } else this.#checkReplay(output);
    const newest = this.#left.get(output.life);
    if (newest === undefined || newest.uid < output.uid) this.#left.set(output.life, output);
    const { tells } = output;
    if (tells === undefined) return;
    const onDisk = this.sectors[tells.sector];
    if (onDisk === undefined || onDisk.uid < tells.uid) {
      this.fail('an acknowledged write is lost', `${nameOf(tells)} is told of and not on disk`);
    }
    this.told[tells.sector] = tells;
  }

  /** What the resumed state holds leaves again in its order, on each ring before anything new does. */
  #checkReplay(output: Output): void {
    const waiting = this.#toReplay[output.kind === 'write' ? 'disk' : 'net'];
    if (waiting[0]?.uid === output.uid) waiting.shift();
    else if (waiting[0] !== undefined) {
      this.fail('not sent again before anything new', `${nameOf(output)} left, ${nameOf(waiting[0])} is pending`);
    }
  }

  /** What left before the first cut was promised to nobody. */
  #checkAck(output: Output): void {
    const covering = this.#cuts.get(Math.max(1, this.#ackedEpoch));
    if (covering === undefined || remembers(covering.state.life, covering.state.head, output)) return;
    this.fail(
      'released before its ack',
      `${nameOf(output)} left, epoch ${this.#ackedEpoch} is the newest acknowledged`,
    );
  }

  landed(write: Output, by: HostName, isLate: boolean): void {
    if (by !== 'A' || this.#resumed === undefined || this.exception !== undefined) return;
    const mayBeLate =
      this.#isDeclaredDead || (!this.hasFence && this.#isOverruled && !this.#handsOver && !this.#givesUp);
    if (isLate && mayBeLate && this.#isReplayed(write)) {
      this.exception = 'without a fence: a write of a primary that an operator overruled landed late';
      return;
    }
    this.fail('a late write landed behind the takeover', `${nameOf(write)} of A landed`);
  }

  /** Whatever may leave late was released before, hence acknowledged, and not answered: B sends it again. */
  #isReplayed(output: Output): boolean {
    return this.#resumed?.state.pending.some((pending) => pending.uid === output.uid) === true;
  }

  /** No lease stops what was tested before: only a fence does, and a handover waits for writes alone. */
  #excuseToLeave(output: Output, testedAtMs: number): Exception | undefined {
    if (this.#resumed === undefined || testedAtMs >= this.#resumed.atMs || !this.#isReplayed(output)) return undefined;
    if (this.#handsOver) {
      return output.kind === 'write'
        ? undefined
        : 'in a handover: a frame whose lease was tested before it was sent again';
    }
    return this.hasFence
      ? undefined
      : 'without a fence: a thread stalled between the test of its lease and the submission';
  }

  resumed(checkpoint: Checkpoint, by: HostName): void {
    const { epoch, state } = checkpoint;
    this.resumedBy = by;
    this.#resumed = { atMs: this.nowMs(), state };
    for (const output of state.pending) this.#toReplay[output.kind === 'write' ? 'disk' : 'net'].push(output);
    this.takeovers++;
    if (this.#cuts.get(epoch) !== checkpoint || epoch < this.#ackedEpoch) {
      this.fail('not a committed epoch', `epoch ${epoch} was resumed, ${this.#ackedEpoch} is acknowledged`);
    }
    for (const output of this.#left.values()) {
      if (remembers(state.life, state.head, output)) continue;
      this.fail('older than what the world has seen', `epoch ${epoch} was resumed, and ${nameOf(output)} had left`);
    }
  }

  /** The guest's own look at its disk. One that was overtaken may see anything: it is not heard. */
  guestReads(state: GuestState, sectors: readonly (Output | undefined)[]): void {
    if (this.resumedBy !== undefined && state.life.parent === undefined) return;
    for (const [sector, onDisk] of sectors.entries()) {
      if (onDisk === state.known[sector]) continue;
      if (state.pending.some((output) => output.kind === 'write' && output.sector === sector)) continue;
      const expected = state.known[sector];
      this.fail(
        'the guest reads what it did not write',
        `sector ${sector} holds ${onDisk === undefined ? 'nothing' : nameOf(onDisk)}, expected ${expected === undefined ? 'nothing' : nameOf(expected)}`,
      );
    }
  }

  /** At the end: what the client was told is in the survivor's past and on disk, or was overwritten by it. */
  survived(state: GuestState): void {
    for (const write of this.told) {
      if (write === undefined) continue;
      const onDisk = this.sectors[write.sector];
      const kept = onDisk !== undefined && onDisk.uid >= write.uid && remembers(state.life, state.head, onDisk);
      if (!kept || !remembers(state.life, state.head, write)) {
        this.fail('an acknowledged write is lost', `${nameOf(write)} was told to the client`);
      }
    }
  }
}

function nameOf({ uid, kind, sector, tells }: Output): string {
  if (kind === 'write') return `write #${uid} to sector ${sector}`;
  return tells === undefined ? `${kind} #${uid}` : `frame #${uid} (telling of write #${tells.uid})`;
}
