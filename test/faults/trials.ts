import type { FaultPoint } from '../../src/base/fault-points.js';

/**
 * What a trial comes to. The guest is protected, a process fails at the point, and the guest goes on: with the host that stood
 * by, unless it says otherwise.
 */
export type TrialKind =
  /** The primary is killed there while it protects. */
  | 'primary dies'
  /** It sleeps there for longer than its lease; the standby has it fenced meanwhile. */
  | 'primary is fenced asleep'
  /** It sleeps there for longer than its lease and wakes up: the guest goes on where it was, protected. */
  | 'primary sleeps'
  /** It is killed there in a switchover. */
  | 'primary dies handing over'
  /** It is killed there once it was told that the guest goes on elsewhere; to create the guest here again is refused. */
  | 'primary dies noting it'
  /** The standby is killed there; the guest goes on where it was, alone. */
  | 'standby dies'
  /** It sleeps there for longer than its lease and wakes up: the guest goes on where it was, protected. */
  | 'standby sleeps'
  /** The primary's host has died; who takes over sleeps there for longer than any lease. */
  | 'sleeps taking over'
  /** In a switchover. */
  | 'sleeps handed over';

/** A point that a real guest's processes fail at. */
export interface Trial {
  readonly point: FaultPoint;
  readonly kind: TrialKind;
  /** What comes after the point in KEMARI_FAULT. */
  readonly how: string;
}

/** By then the guest is protected, and whoever asked for it was told so. */
const PASS = '@100';

/** Renewals are rarer than epochs. */
const RENEWAL_PASS = '@40';

/** Longer than the lease and the takeover timeout of the drills. */
const SLEEP = ':stall=1500';

/** Until somebody kills it. */
const SLEEP_LONG = ':stall=60000';

/**
 * A process that came by its guest as a standby has written its record of ownership at its takeover twice, and twice when
 * protection was asked for: the fifth time is that the guest is gone.
 */
const GAVE_AWAY = '@5';

function trials(kind: TrialKind, how: string, points: readonly FaultPoint[]): Trial[] {
  return points.map((point) => ({ point, kind, how }));
}

/** Series of trials, each for one guest. Those of a series have the fault in the same side: who is to fail is started with it. */
export const SERIES: Readonly<
  Record<string, { readonly armed: 'primary' | 'standby'; readonly trials: readonly Trial[] }>
> = {
  'a primary that dies in a capture or while it sends': {
    armed: 'primary',
    trials: [
      ...trials('primary dies', PASS, [
        'capture.before-stop',
        'capture.after-stop',
        'capture.scanned',
        'capture.half-copied',
        'capture.serializing',
        'capture.before-resume',
        'capture.after-resume',
      ]),
      ...trials('primary dies', PASS, ['send.before-header', 'send.pages', 'send.last-byte']),
    ],
  },
  'a primary that dies or sleeps as it releases, renews its lease or hands over': {
    armed: 'primary',
    trials: [
      ...trials('primary dies', PASS, ['release.before', 'release.tested', 'release.half']),
      ...trials('primary is fenced asleep', SLEEP_LONG + PASS, ['release.tested']),
      ...trials('primary dies', RENEWAL_PASS, ['lease.before-renewal', 'lease.answered']),
      ...trials('primary dies handing over', '', ['handover.before-go', 'handover.after-go']),
      ...trials('primary dies noting it', GAVE_AWAY, [
        'ownership.before-write',
        'ownership.half-written',
        'ownership.after-write',
      ]),
      ...trials('primary sleeps', SLEEP + PASS, ['capture.after-resume']),
    ],
  },
  'a standby that dies or sleeps as it receives, applies or answers': {
    armed: 'standby',
    trials: [
      ...trials('standby dies', PASS, ['receive.begun', 'receive.pages', 'receive.whole']),
      ...trials('standby dies', PASS, ['apply.half', 'ack.before', 'ack.after']),
      ...trials('standby dies', RENEWAL_PASS, ['lease.before-answer']),
      ...trials('standby sleeps', SLEEP + PASS, ['ack.before']),
    ],
  },
  'a standby that sleeps as it takes over': {
    armed: 'standby',
    trials: [
      ...trials('sleeps taking over', SLEEP, [
        'takeover.before-fence',
        'takeover.after-fence',
        'takeover.loaded',
        'takeover.before-resume',
        'takeover.resumed',
      ]),
      ...trials('sleeps taking over', SLEEP, ['replay.before', 'replay.half', 'replay.after']),
      ...trials('sleeps handed over', SLEEP, ['handover.before-taken', 'handover.after-taken']),
    ],
  },
};
