import { stepPrimary } from '../../src/engine/primary.js';
import type { PrimaryEffect, PrimaryStep } from '../../src/engine/primary-state.js';
import { stepStandby } from '../../src/engine/standby.js';
import type { StandbyEffect, StandbyStep } from '../../src/engine/standby-state.js';
import type { Violation } from './checkers.js';
import { REAL_ENGINE } from './simulation.js';
import type { Engine, Flaws } from './world.js';

type Primary = typeof stepPrimary;
type Standby = typeof stepStandby;

function primary(broken: Primary): Engine {
  return { ...REAL_ENGINE, stepPrimary: broken };
}

function standby(broken: Standby): Engine {
  return { ...REAL_ENGINE, stepStandby: broken };
}

function native(flaws: Flaws): Engine {
  return { ...REAL_ENGINE, flaws };
}

function withEffects(step: PrimaryStep, change: (effect: PrimaryEffect) => readonly PrimaryEffect[]): PrimaryStep {
  return { state: step.state, effects: step.effects.flatMap(change) };
}

/** Decided at once, without waiting for the leases that were granted. */
function withoutLeases(step: StandbyStep): StandbyStep {
  const { state, effects } = step;
  if (state.phase !== 'lease-running-out') return step;
  const takeOver: StandbyEffect = { do: 'take-over', epoch: state.epoch };
  return { state: { ...state, phase: 'taking-over' }, effects: [...effects, takeOver] };
}

/** The engine, broken on purpose, each in one place; the simulator is to find every one. */
const BROKEN: Readonly<Record<string, Engine>> = {
  'output is released at the capture': primary((state, input, nowMs) => {
    const step = stepPrimary(state, input, nowMs);
    if (input.type !== 'captured') return step;
    return { ...step, effects: [{ do: 'release', throughSequence: input.throughSequence }, ...step.effects] };
  }),
  'an ack releases all that is held': primary((state, input, nowMs) =>
    withEffects(stepPrimary(state, input, nowMs), (effect) => {
      if (effect.do !== 'release' || !('core' in state)) return [effect];
      const { heldSequence } = state.core;
      return [heldSequence > effect.throughSequence ? { ...effect, throughSequence: heldSequence } : effect];
    }),
  ),
  'the gate stays open at the first capture': primary((state, input, nowMs) =>
    withEffects(stepPrimary(state, input, nowMs), (effect) => (effect.do === 'close-gate' ? [] : [effect])),
  ),
  'a silent standby is taken for a dead one': primary((state, input, nowMs) =>
    stepPrimary(
      state,
      input.type === 'peer' && input.answer === 'unreachable' ? { type: 'peer', answer: 'gone' } : input,
      nowMs,
    ),
  ),
  'a standby that runs is taken for a dead one': primary((state, input, nowMs) =>
    stepPrimary(state, input.type === 'peer' ? { type: 'peer', answer: 'gone' } : input, nowMs),
  ),
  'the gate opens when the link is lost': primary((state, input, nowMs) => {
    const step = stepPrimary(state, input, nowMs);
    if (input.type !== 'link-lost' || step.state.phase !== 'silent') return step;
    return { ...step, effects: [...step.effects, { do: 'open-gate' }] };
  }),
  'the source resumes after go': primary((state, input, nowMs) => {
    const wentOut = state.phase === 'handing-over' && (state.handover === 'go-sent' || state.handover === 'unknown');
    if (!wentOut || (input.type !== 'link-lost' && input.type !== 'timer')) return stepPrimary(state, input, nowMs);
    return stepPrimary(state, { type: 'peer-says', word: 'refused' }, nowMs);
  }),
  'the lease goes on after go': primary((state, input, nowMs) =>
    withEffects(stepPrimary(state, input, nowMs), (effect) => (effect.do === 'end-lease' ? [] : [effect])),
  ),
  'go is sent before the last epoch is acknowledged': primary((state, input, nowMs) => {
    const step = stepPrimary(state, input, nowMs);
    const { state: after } = step;
    if (after.phase !== 'handing-over' || after.handover !== 'last-epoch' || input.type === 'captured') return step;
    if (state.phase === 'handing-over' && state.handover === 'last-epoch') return step;
    return { state: { ...after, handover: 'go-sent' }, effects: [{ do: 'send', word: 'go' }, ...step.effects] };
  }),
  'a guest that stands for an ack is captured once more for its handover': primary((state, input, nowMs) => {
    const step = stepPrimary(state, input, nowMs);
    const { state: after } = step;
    if (after.phase !== 'handing-over' || after.handover !== 'last-epoch' || state.phase === 'handing-over')
      return step;
    if (after.core.capturing) return step;
    const epoch = after.core.epoch + 1n;
    const core = { ...after.core, epoch, standsFor: epoch, capturing: true };
    const effects = [
      ...step.effects,
      { do: 'capture', epoch, resume: 'never', guestPaused: core.operatorPaused } as const,
    ];
    return { state: { ...after, core }, effects };
  }),
  'no epoch says that the operator paused the guest': primary((state, input, nowMs) =>
    withEffects(stepPrimary(state, input, nowMs), (effect) =>
      effect.do === 'capture' ? [{ ...effect, guestPaused: false }] : [effect],
    ),
  ),
  'unprotect does not wait for the standby to forget': primary((state, input, nowMs) => {
    const step = stepPrimary(state, input, nowMs);
    if (step.state.phase !== 'disarming' || state.phase !== 'protected') return step;
    return { ...step, effects: [...step.effects, { do: 'open-gate' }] };
  }),
  'the standby says that it forgot the domain and keeps it': standby((state, input, nowMs) => {
    const step = stepStandby(state, input, nowMs);
    if (input.type !== 'peer-says' || input.word !== 'goodbye' || state.phase !== 'ready') return step;
    return { state, effects: [{ do: 'send', word: 'disarmed' }] };
  }),
  'the standby ignores goodbye': standby((state, input, nowMs) =>
    input.type === 'peer-says' && input.word === 'goodbye' ? { state, effects: [] } : stepStandby(state, input, nowMs),
  ),
  'a takeover does not wait for the leases': standby((state, input, nowMs) =>
    withoutLeases(stepStandby(state, input, nowMs)),
  ),
  'a takeover does not wait for the fence': standby((state, input, nowMs) => {
    const step = stepStandby(state, input, nowMs);
    if (step.state.phase !== 'fencing' || state.phase === 'fencing') return step;
    const { options, epoch, writesPending } = step.state;
    return {
      state: { phase: 'lease-running-out', options, epoch, writesPending, reason: 'fenced' },
      effects: step.effects.filter((effect) => effect.do !== 'fence'),
    };
  }),
  'a failed fence is taken for a fence': standby((state, input, nowMs) =>
    stepStandby(state, input.type === 'fence-ended' ? { ...input, ok: true } : input, nowMs),
  ),
  'a broken connection is taken for a death': standby((state, input, nowMs) => {
    const step = stepStandby(state, input, nowMs);
    if (input.type !== 'link-lost' || step.state.phase !== 'silent') return step;
    const died = stepStandby(step.state, { type: 'peer', answer: 'gone' }, nowMs);
    return { state: died.state, effects: [...step.effects, ...died.effects] };
  }),
  'a machine that may have run is given back': standby((state, input, nowMs) =>
    stepStandby(
      state,
      input.type === 'machine-failed' || input.type === 'takeover-failed' ? { ...input, mayHaveRun: false } : input,
      nowMs,
    ),
  ),
  'a primary that may have gone on alone is fenced and overtaken': standby((state, input, nowMs) => {
    if (!('options' in state) || state.options.primaryOnSilence === 'hold') return stepStandby(state, input, nowMs);
    const options = { ...state.options, primaryOnSilence: 'hold' as const };
    return stepStandby({ ...state, options }, input, nowMs);
  }),
  'the end of a process is taken for the end of its writes': standby((state, input, nowMs) =>
    stepStandby(state, input.type === 'committed' ? { ...input, writesPending: false } : input, nowMs),
  ),
  'an epoch is acknowledged before all of it is there': native({ acksBeforeComplete: true }),
  'the epoch before the last one is resumed': native({ resumesEpochBefore: true }),
  'what the last epoch holds is not sent again': native({ forgetsReplay: true }),
  'what is pending is left out of a cut': native({ cutsNothingPending: true }),
  'a cache of the host answers writes': native({ answersBeforeLanding: true }),
  'the gate does not test the lease': native({ gateIgnoresLease: true }),
  'a lease runs from its answer': native({ leaseFromAnswer: true }),
  'a handover does not wait for storage': native({ doesNotDrain: true }),
};

/** The first seed that finds each of them, and the rule it breaks there: `npm run sim -- --planted --seed 1` looks again. */
const FOUND_BY: Readonly<Record<string, readonly [seed: number, rule: Violation['rule']]>> = {
  'output is released at the capture': [1, 'released before its ack'],
  'an ack releases all that is held': [1, 'released before its ack'],
  'the gate stays open at the first capture': [1, 'released before its ack'],
  'a silent standby is taken for a dead one': [295, 'both sides speak'],
  'a standby that runs is taken for a dead one': [21, 'older than what the world has seen'],
  'the gate opens when the link is lost': [8, 'released before its ack'],
  'the source resumes after go': [149, 'both sides speak'],
  'the lease goes on after go': [5048, 'both sides speak'],
  'go is sent before the last epoch is acknowledged': [29, 'a late write landed behind the takeover'],
  'a guest that stands for an ack is captured once more for its handover': [4, 'assertion'],
  'no epoch says that the operator paused the guest': [38, "the operator's pause does not hold"],
  'unprotect does not wait for the standby to forget': [61, 'released before its ack'],
  'the standby says that it forgot the domain and keeps it': [68, 'older than what the world has seen'],
  'the standby ignores goodbye': [7, 'no progress after healing'],
  'a takeover does not wait for the leases': [1394, 'both sides speak'],
  'a takeover does not wait for the fence': [656, 'both sides speak'],
  'a failed fence is taken for a fence': [2086, 'a late write landed behind the takeover'],
  'a broken connection is taken for a death': [617, 'both sides speak'],
  'a machine that may have run is given back': [398, 'both sides speak'],
  'a primary that may have gone on alone is fenced and overtaken': [458, 'older than what the world has seen'],
  'the end of a process is taken for the end of its writes': [2086, 'a late write landed behind the takeover'],
  'an epoch is acknowledged before all of it is there': [123, 'no progress after healing'],
  'the epoch before the last one is resumed': [2, 'not a committed epoch'],
  'what the last epoch holds is not sent again': [2, 'not sent again before anything new'],
  'what is pending is left out of a cut': [14, 'the guest reads what it did not write'],
  'a cache of the host answers writes': [1, 'an acknowledged write is lost'],
  'the gate does not test the lease': [295, 'both sides speak'],
  'a lease runs from its answer': [24453, 'both sides speak'],
  'a handover does not wait for storage': [29, 'a late write landed behind the takeover'],
};

/** A bug that was planted, the seed that finds it and the rule that it breaks there. */
export interface Mutation {
  readonly engine: Engine;
  readonly seed: number;
  readonly rule: Violation['rule'];
}

export const MUTATIONS: Readonly<Record<string, Mutation>> = Object.fromEntries(
  Object.entries(BROKEN).flatMap(([name, engine]) => {
    const [seed, rule] = FOUND_BY[name] ?? [0, 'assertion'];
    return [[name, { engine, seed, rule }]];
  }),
);
