import type { HostName, StepName } from './host.js';
import type { Fault } from './plan.js';
import type { Random } from './random.js';

/** Faults that matter only together, and that chance alone would put together once in a million runs. */
export function recipeOf(random: Random, hasFence: boolean): readonly Fault[] {
  const recipes = hasFence ? WITH_FENCE : WITHOUT_FENCE;
  return random.pick(recipes)(random, random.between(60, 300));
}

type Recipe = (random: Random, atMs: number) => readonly Fault[];

/**
 * An operator overrules a primary that lives: its script sleeps with an ack in its ears while its leases are renewed; the
 * standby lost the stream alone and cannot ask.
 */
const overruledAsleep: Recipe = (random, atMs) => {
  const overruledAtMs = atMs + random.between(90, 130);
  const asleepAtMs = atMs - random.between(2, 8);
  const isSlow = random.chance(0.5);
  return [
    { kind: 'kemarid-down', who: 'A', atMs: atMs - 20, forMs: 400 },
    { kind: 'slow', factor: random.integer(2, 6), atMs: atMs - 30, forMs: 30 },
    {
      ...{ kind: 'freeze', who: 'A', thread: 'script', atMs: asleepAtMs },
      forMs: overruledAtMs - asleepAtMs + random.between(5, isSlow ? 120 : 60),
    },
    { kind: 'break', primary: false, standby: true, stream: true, atMs },
    ...(isSlow ? [{ kind: 'slow', factor: 40, atMs: overruledAtMs - 60, forMs: 150 } as const] : []),
    { kind: 'standby', order: 'sighup', atMs: overruledAtMs },
  ];
};

/** A ring thread sleeps between the test of its lease and the submission while the guest goes elsewhere. */
const asleepAtSubmission: Recipe = (random, atMs) => [
  {
    ...{ kind: 'stall', who: 'A', moment: { step: 'gate: submit', nth: random.integer(2, 40) } },
    ...{ forMs: random.between(150, 400), whole: random.chance(0.5) },
  },
  { kind: 'cut', from: 'both', atMs, forMs: 400 },
  { kind: 'standby', order: 'sighup', atMs: atMs + random.between(100, 250) },
];

/** Storage answers late while the primary dies, hands over or loses its machine. */
const lateWrites: Recipe = (random, atMs) => [
  { kind: 'late-storage', lateMs: 300, atMs: atMs - 30, forMs: 100 },
  random.pick<Fault>([
    { kind: 'crash', who: 'A', moment: { step: 'gate: submit', nth: random.integer(5, 60) } },
    { kind: 'machine-dies', who: 'A', atMs: atMs + random.between(0, 40) },
    { kind: 'operator', verb: 'switchover', atMs: atMs + random.between(0, 40) },
  ]),
  { kind: 'standby', order: 'sighup', atMs: atMs + random.between(10, 200) },
];

/** The wire is mended, or the sleeper wakes up, just as the standby makes up its mind. */
const justInTime: Recipe = (random, atMs) => [
  random.chance(0.5)
    ? { kind: 'cut', from: random.pick(['A', 'B', 'both'] as const), atMs, forMs: random.between(95, 175) }
    : {
        kind: 'freeze',
        who: 'A',
        thread: random.pick(['all', 'script'] as const),
        atMs,
        forMs: random.between(60, 200),
      },
  { kind: 'slow', factor: random.integer(2, 30), atMs: atMs - random.between(0, 20), forMs: 200 },
  { kind: 'standby', order: 'sighup', atMs: atMs + random.between(60, 160) },
];

/** A ring thread has slept since before a handover, and wakes up behind it. */
const asleepThroughHandover: Recipe = (random, atMs) => [
  {
    kind: 'freeze',
    who: 'A',
    thread: random.pick(['net ring', 'disk ring'] as const),
    atMs,
    forMs: random.between(30, 250),
  },
  { kind: 'standby', order: 'sighup', atMs: atMs + random.between(10, 80) },
];

/** A handover whose answer is lost. */
const lostInTheMiddle: Recipe = (random, atMs) => [
  { kind: 'operator', verb: 'switchover', atMs },
  random.pick<Fault>([
    { kind: 'cut', from: random.pick(['A', 'B', 'both'] as const), atMs: atMs + random.between(0, 12), forMs: 300 },
    { kind: 'break', primary: true, standby: true, stream: false, atMs: atMs + random.between(0, 12) },
    { kind: 'crash', who: random.pick(['A', 'B'] as const), moment: { step: 'do send', nth: 1 } },
    {
      kind: 'crash',
      who: 'B',
      moment: { step: random.pick(['takeover: run', 'takeover: tell', 'do stop-granting'] as const), nth: 1 },
    },
    { kind: 'machine-dies', who: 'B', atMs: atMs + random.between(5, 50) },
  ]),
];

/** Steps that are seldom taken, and what has them taken. */
const SELDOM: readonly (readonly [who: HostName, step: StepName, because: (atMs: number) => readonly Fault[]])[] = [
  ['A', 'do pause-guest', paused],
  ['A', 'do resume-guest', paused],
  ...(['do drain', 'do end-lease', 'do send', 'do capture'] as const).map((step) => ['A', step, movedAway] as const),
  ...(['do open-gate', 'do drop-link', 'end: farewell'] as const).map((step) => ['A', step, calledOff] as const),
  ...(['do ask-peer', 'lease: expiry', 'do set-timer'] as const).map((step) => ['A', step, silenced] as const),
  ...(['gate: look', 'link: lost'] as const).map((step) => ['A', step, unheard] as const),
  ['A', 'do close-gate', (): readonly Fault[] => []],
  ...(['do discard', 'link: hear', 'end: farewell'] as const).map((step) => ['B', step, calledOff] as const),
  ...(['do ask-peer', 'do set-timer', 'lease: silence', 'do fence'] as const).map(
    (step) => ['B', step, silenced] as const,
  ),
  ...(
    ['do stop-granting', 'do take-over', 'takeover: load', 'takeover: run', 'takeover: tell', 'do announce'] as const
  ).flatMap((step) => [movedAway, silenced].map((because) => ['B', step, because] as const)),
  ['B', 'do send', movedAway],
  ['B', 'link: lost', unheard],
];

function paused(atMs: number): readonly Fault[] {
  return [
    { kind: 'guest', wanted: 'paused', atMs },
    { kind: 'guest', wanted: 'running', atMs: atMs + 40 },
  ];
}

function movedAway(atMs: number): readonly Fault[] {
  return [{ kind: 'standby', order: 'sighup', atMs }];
}

function calledOff(atMs: number): readonly Fault[] {
  return [{ kind: 'operator', verb: 'unprotect', atMs }];
}

function silenced(atMs: number): readonly Fault[] {
  return [
    { kind: 'cut', from: 'both', atMs, forMs: 300 },
    { kind: 'standby', order: 'sighup', atMs: atMs + 120 },
  ];
}

function unheard(atMs: number): readonly Fault[] {
  return [{ kind: 'break', primary: true, standby: true, stream: true, atMs }];
}

/** Death or a stall where chance alone seldom leads. */
const atASeldomStep: Recipe = (random, atMs) => {
  const [who, step, because] = random.pick(SELDOM);
  const moment = { step, nth: random.pick([1, 1, 1, 2]) };
  const befalls: Fault = random.chance(0.5)
    ? { kind: 'crash', who, moment }
    : { kind: 'stall', who, moment, forMs: random.between(5, 250), whole: random.chance(0.6) };
  return [...because(atMs), befalls];
};

const WITH_FENCE: readonly Recipe[] = [
  ...[asleepAtSubmission, asleepThroughHandover, lateWrites, justInTime, lostInTheMiddle],
  // Of many steps, each is to have its turn.
  ...[atASeldomStep, atASeldomStep, atASeldomStep],
];
const WITHOUT_FENCE: readonly Recipe[] = [overruledAsleep, ...WITH_FENCE];
