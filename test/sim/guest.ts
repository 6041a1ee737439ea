import { SECTORS } from './storage.js';
import type { Random } from './random.js';

/** One life of the guest: from a start, or from a takeover, which forks from a state of the life before. */
export interface Life {
  readonly number: number;
  readonly parent: Life | undefined;
  /** The newest output of the lives before that this one remembers. */
  readonly forkUid: number;
}

/** Something that leaves a guest. `uid` is unique in the world and ascends within a life. */
export interface Output {
  readonly uid: number;
  readonly life: Life;
  readonly kind: 'write' | 'frame' | 'console';
  /** Of a write; of a frame that tells of one; -1 otherwise. */
  readonly sector: number;
  /** The write which this frame tells the client is on disk; undefined: it tells of none. */
  readonly tells: Output | undefined;
}

/** All that a guest knows. A cut is a copy of it. */
export interface GuestState {
  readonly life: Life;
  /** The newest output. */
  head: number;
  /** The completed write of each sector. */
  readonly known: (Output | undefined)[];
  /** Issued and not completed, oldest first. */
  pending: Output[];
  /** Writes whose completion the program has not answered with a frame yet: it stood still. */
  toTell: Output[];
}

export function copyState(state: GuestState, life = state.life): GuestState {
  return { life, head: state.head, known: [...state.known], pending: [...state.pending], toTell: [...state.toTell] };
}

/** Whether a guest in this state has issued that output, in this life or one that it forked from. */
export function remembers(life: Life, head: number, output: Output): boolean {
  let limit = head;
  for (let at: Life | undefined = life; at !== undefined; at = at.parent) {
    if (at === output.life) return output.uid <= limit;
    limit = Math.min(limit, at.forkUid);
  }
  return false;
}

/** What the guest's program does next, as a database and a chatty service would. Never two writes to one sector at once. */
export function nextOutput(state: GuestState, random: Random, uid: number): Output {
  const { life } = state;
  const sector = random.integer(0, SECTORS);
  const dice = random.next();
  const isBusy = state.pending.some((output) => output.kind === 'write' && output.sector === sector);
  if (dice < 0.5 && !isBusy) return { uid, life, kind: 'write', sector, tells: undefined };
  if (dice < 0.9) return { uid, life, kind: 'frame', sector: -1, tells: undefined };
  return { uid, life, kind: 'console', sector: -1, tells: undefined };
}
