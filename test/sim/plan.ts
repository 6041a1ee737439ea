import type { PrimaryOptions } from '../../src/engine/primary-state.js';
import { Random } from './random.js';
import type { HostName, Moment, StepName, ThreadName } from './host.js';
import { recipeOf } from './recipes.js';

/** Something that befalls the world. Times are the world's, milliseconds from the start; steps are a process's own. */
export type Fault =
  | { readonly kind: 'cut'; readonly from: HostName | 'both'; readonly atMs: number; readonly forMs: number }
  | { readonly kind: 'slow'; readonly factor: number; readonly atMs: number; readonly forMs: number }
  /** `stream`: only that connection; leases are renewed on the other one all the same. */
  | {
      readonly kind: 'break';
      readonly primary: boolean;
      readonly standby: boolean;
      readonly stream: boolean;
      readonly atMs: number;
    }
  /** Nobody answers there for the processes of that host. */
  | { readonly kind: 'kemarid-down'; readonly who: HostName; readonly atMs: number; readonly forMs: number }
  | { readonly kind: 'crash'; readonly who: HostName; readonly moment: Moment }
  /** `whole`: SIGSTOP. Otherwise only the thread whose turn it is. */
  | {
      readonly kind: 'stall';
      readonly who: HostName;
      readonly moment: Moment;
      readonly forMs: number;
      readonly whole: boolean;
    }
  /** By the time, not by what is just done. */
  | {
      readonly kind: 'freeze';
      readonly who: HostName;
      readonly thread: ThreadName | 'all';
      readonly atMs: number;
      readonly forMs: number;
    }
  | { readonly kind: 'power-off'; readonly who: HostName; readonly atMs: number; readonly backAfterMs: number }
  | { readonly kind: 'machine-dies'; readonly who: HostName; readonly atMs: number }
  | { readonly kind: 'load-then-dies' }
  /** The standby's copy is damaged, or its memory used up. */
  | { readonly kind: 'copy-damaged'; readonly atMs: number }
  | { readonly kind: 'late-storage'; readonly lateMs: number; readonly atMs: number; readonly forMs: number }
  | { readonly kind: 'guest-ends'; readonly atMs: number }
  | { readonly kind: 'guest'; readonly wanted: 'paused' | 'running'; readonly atMs: number }
  | { readonly kind: 'dirty-limit'; readonly atMs: number }
  | {
      readonly kind: 'operator';
      readonly verb: 'unprotect' | 'switchover' | 'resume-unprotected';
      readonly atMs: number;
    }
  | {
      readonly kind: 'standby';
      readonly order: 'sighup' | 'disarm' | 'terminate' | 'primary-is-dead';
      readonly atMs: number;
    };

/** All that a run depends on beside the engine: the same plan gives the same run. */
export interface Plan {
  readonly seed: number;
  readonly options: PrimaryOptions;
  readonly failover: 'manual' | 'auto';
  readonly hasFence: boolean;
  /** How often the fence fails before it succeeds. */
  readonly fenceFailures: number;
  readonly takeoverTimeoutMs: number;
  /** How often the machine refuses the state before one takes it. */
  readonly loadFailures: number;
  readonly captureFails: number | undefined;
  readonly faults: readonly Fault[];
  /** From then on nothing new befalls anyone; wires are mended, hosts come back, an operator looks after what stands still. */
  readonly healMs: number;
}

const FAULTS_FROM_MS = 5;
const FAULTS_UNTIL_MS = 450;
const HEAL_MS = 700;
/** Faults that come together come within this time of each other: what matters most often is one thing in another's middle. */
const BURST_MS = 60;
/** Of the plans that begin with faults which belong together. */
const RECIPE_SHARE = 0.15;

/** What each side does, where it may die or stand still, so that the rare ones are not left to chance. */
export const STEPS: Readonly<Record<HostName, readonly StepName[]>> = {
  A: [
    ...(['decide', 'do capture', 'do release', 'do close-gate', 'do open-gate', 'do resume-guest'] as const),
    ...([
      'do pause-guest',
      'do send',
      'do drop-link',
      'do ask-peer',
      'do set-timer',
      'do drain',
      'do end-lease',
    ] as const),
    ...(['capture: stop', 'capture: submit', 'capture: go on', 'capture: tell', 'order'] as const),
    ...(['gate: admit', 'gate: look', 'gate: submit', 'link: send', 'link: hear', 'link: lost'] as const),
    ...(['lease: renew', 'lease: answered', 'lease: expiry', 'end: farewell', 'end: phase'] as const),
  ],
  B: [
    ...(['decide', 'do ack', 'do send', 'do stop-granting', 'do ask-peer', 'do fence', 'do take-over'] as const),
    ...(['do announce', 'do discard', 'do set-timer', 'link: commit', 'link: hear', 'link: lost'] as const),
    ...(['lease: grant', 'lease: silence', 'takeover: load', 'takeover: run', 'takeover: tell'] as const),
    ...(['end: farewell', 'gate: admit', 'gate: submit'] as const),
  ],
};

/** Some stand here twice: they are drawn twice as often. */
const FROZEN = ['all', 'all', 'script', 'script', 'link', 'lease', 'capture', 'disk ring', 'net ring'] as const;

export function planOf(seed: number): Plan {
  const random = new Random(seed);
  const hasFence = random.chance(0.5);
  const policy = random.pick<PrimaryOptions['policy']>([
    { kind: 'kemari', strict: true },
    { kind: 'kemari', strict: false },
    { kind: 'kemari', strict: false },
    { kind: 'remus', intervalMs: 20 },
  ]);
  const purpose = random.chance(0.1) ? 'move' : 'protect';
  const onSilence = random.chance(0.15) ? 'continue' : 'hold';
  const burstAtMs = random.between(FAULTS_FROM_MS, FAULTS_UNTIL_MS);
  const timeOf = random.chance(0.5)
    ? (): number => random.between(FAULTS_FROM_MS, FAULTS_UNTIL_MS)
    : (): number => burstAtMs + random.between(0, BURST_MS);
  return {
    seed,
    options: { purpose, policy, onSilence, maxAgeMs: random.pick([50, 200]), maxPauseShare: random.pick([0.2, 1]) },
    failover: hasFence && purpose === 'protect' && onSilence === 'hold' && random.chance(0.7) ? 'auto' : 'manual',
    hasFence,
    fenceFailures: random.pick([0, 0, 0, 1]),
    takeoverTimeoutMs: 100,
    loadFailures: random.chance(0.05) ? random.integer(1, 3) : 0,
    captureFails: random.chance(0.04) ? random.integer(1, 12) : undefined,
    faults: [
      ...(random.chance(RECIPE_SHARE) ? recipeOf(random, hasFence) : []),
      ...Array.from({ length: random.integer(1, 6) }, () => faultOf(random, Math.round(timeOf() * 10) / 10)),
    ],
    healMs: HEAL_MS,
  };
}

function momentOf(random: Random, who: HostName): Moment {
  if (random.chance(0.5)) return { step: 'any', nth: random.integer(1, who === 'A' ? 600 : 250) };
  return { step: random.pick(STEPS[who]), nth: random.pick([1, 1, 2, 3, random.integer(1, 30)]) };
}

function faultOf(random: Random, atMs: number): Fault {
  const who = random.pick<HostName>(['A', 'A', 'B']);
  const forMs = Math.round(random.pick([random.between(5, 60), random.between(60, 250)]));
  return random.pick(MAKERS)({ random, atMs, who, forMs });
}

interface Circumstances {
  readonly random: Random;
  readonly atMs: number;
  readonly who: HostName;
  readonly forMs: number;
}

/** Some stand here twice: they are drawn twice as often. */
const MAKERS: readonly ((what: Circumstances) => Fault)[] = [
  cutOf,
  cutOf,
  ({ random, atMs, forMs }): Fault => ({ kind: 'slow', factor: random.integer(2, 40), atMs, forMs }),
  ({ random, atMs }): Fault => ({
    ...{ kind: 'break', atMs, primary: random.chance(0.7) },
    ...{ standby: random.chance(0.7), stream: random.chance(0.5) },
  }),
  ({ who, atMs }): Fault => ({ kind: 'kemarid-down', who, atMs: atMs / 2, forMs: 300 }),
  ({ random, who }): Fault => ({ kind: 'crash', who, moment: momentOf(random, who) }),
  ({ random, who }): Fault => ({ kind: 'crash', who, moment: momentOf(random, who) }),
  stallOf,
  freezeOf,
  freezeOf,
  ({ random, who, atMs }): Fault => ({
    kind: 'power-off',
    who,
    atMs,
    backAfterMs: random.chance(0.5) ? 150 : Infinity,
  }),
  ({ who, atMs }): Fault => ({ kind: 'machine-dies', who, atMs }),
  ({ random, atMs }): Fault => (random.chance(0.5) ? { kind: 'load-then-dies' } : { kind: 'guest-ends', atMs }),
  ({ atMs, forMs }): Fault => ({ kind: 'late-storage', lateMs: 300, atMs, forMs }),
  ({ random, atMs }): Fault =>
    random.chance(0.7)
      ? { kind: 'guest', wanted: random.pick(['paused', 'running'] as const), atMs }
      : { kind: random.pick(['dirty-limit', 'copy-damaged'] as const), atMs },
  ({ random, atMs }): Fault => ({
    ...{ kind: 'operator', atMs },
    verb: random.pick(['unprotect', 'resume-unprotected'] as const),
  }),
  ({ atMs }): Fault => ({ kind: 'operator', verb: 'switchover', atMs }),
  ({ random, atMs }): Fault => ({
    ...{ kind: 'standby', atMs },
    order: random.pick(['sighup', 'sighup', 'sighup', 'disarm', 'terminate', 'primary-is-dead'] as const),
  }),
  ({ atMs }): Fault => ({ kind: 'standby', order: 'sighup', atMs }),
];

function cutOf({ random, atMs, forMs }: Circumstances): Fault {
  return { kind: 'cut', from: random.pick(['A', 'B', 'both', 'both'] as const), atMs, forMs };
}

function stallOf({ random, who, forMs }: Circumstances): Fault {
  return { kind: 'stall', who, moment: momentOf(random, who), forMs, whole: random.chance(0.6) };
}

function freezeOf({ random, atMs, who, forMs }: Circumstances): Fault {
  return { kind: 'freeze', who, thread: random.pick(FROZEN), atMs, forMs };
}

/** For the tally: its kind, and what makes it another one. */
export function nameOf(fault: Fault): string {
  switch (fault.kind) {
    case 'cut':
      return `cut from ${fault.from}`;
    case 'kemarid-down':
    case 'machine-dies':
    case 'power-off':
      return `${fault.kind} ${fault.who}`;
    case 'freeze':
      return `freeze ${fault.who}, ${fault.thread}`;
    case 'guest':
      return `guest ${fault.wanted}`;
    case 'operator':
      return `operator ${fault.verb}`;
    case 'standby':
      return `standby ${fault.order}`;
    default:
      return fault.kind;
  }
}

/** All names that nameOf() gives, but for a crash's and a stall's, which are told by their step (STEPS). */
export const ALL_FAULTS: readonly string[] = [
  ...(['A', 'B', 'both'] as const).map((from) => `cut from ${from}`),
  ...(['A', 'B'] as const).flatMap((who) => [
    ...[`kemarid-down ${who}`, `machine-dies ${who}`, `power-off ${who}`],
    ...[...new Set(FROZEN)].map((thread) => `freeze ${who}, ${thread}`),
  ]),
  ...['guest paused', 'guest running', 'guest-ends', 'slow', 'break', 'load-then-dies', 'copy-damaged'],
  ...['late-storage', 'dirty-limit', 'operator unprotect', 'operator resume-unprotected', 'operator switchover'],
  ...['standby sighup', 'standby disarm', 'standby terminate', 'standby primary-is-dead'],
];
