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

const WITH_FENCE: readonly Recipe[] = [asleepAtSubmission, lateWrites, justInTime, lostInTheMiddle];
const WITHOUT_FENCE: readonly Recipe[] = [overruledAsleep, ...WITH_FENCE];
