import { assert, unreachable } from '../base/assert.js';
import { disarming, silent } from './guarded.js';
import { handingOver, lastEpoch } from './handover.js';
import { startPacing } from './pacing.js';
import { startWirePace } from './wire-pace.js';
import { nextCaptureMs, resumeAfter, type SyncFacts } from './policy.js';
import {
  acknowledged,
  disarm,
  fallSilent,
  leaseLost,
  log,
  machineDied,
  noteCaptured,
  noteCaptureFailed,
  noteHeld,
  orderEpoch,
  overtaken,
  refuse,
  steerGuest,
  to,
  unprotected,
} from './primary-steps.js';
import type {
  PrimaryCore,
  PrimaryEffect,
  PrimaryInput,
  PrimaryOptions,
  PrimaryState,
  PrimaryStep,
} from './primary-state.js';

/**
 * One step of the primary. Pure: `nowMs` is a clock that does not go back; carrying out the effects, in order, is the
 * caller's. The law is decided here: `release` is only ever an answer to `acked`.
 */
export function stepPrimary(state: PrimaryState, input: PrimaryInput, nowMs: number): PrimaryStep {
  switch (state.phase) {
    case 'unprotected':
      return input.type === 'start' ? start(input.options, input.paused) : ignore(state, input);
    case 'copying':
      return copying(state, input, nowMs);
    case 'protected':
      return whileProtected(state.core, input, nowMs);
    case 'disarming':
      return disarming(state, input, nowMs);
    case 'silent': {
      const step = silent(state, input, nowMs);
      // Protected again: what was held meanwhile is due.
      if (step.state.phase !== 'protected') return step;
      return proceed(step.state.core, nowMs, ...step.effects);
    }
    case 'handing-over':
      return handingOver(state, input, nowMs);
    case 'handed-over':
    case 'ended':
      return ignore(state, input);
    default:
      return unreachable(state);
  }
}

/** What means nothing in this phase; an operator is told so. */
function ignore(state: PrimaryState, input: PrimaryInput): PrimaryStep {
  if (input.type !== 'operator') return to(state);
  return refuse(state, 'KEMARI_NOT_PROTECTED', `the domain is ${state.phase}: there is nothing to ${input.verb}`);
}

function start(options: PrimaryOptions, paused: boolean): PrimaryStep {
  return to(
    { phase: 'copying', options, paused },
    { do: 'start-tracking' },
    log('info', 'copying memory to the standby while the guest runs'),
  );
}

function copying(state: PrimaryState & { phase: 'copying' }, input: PrimaryInput, nowMs: number): PrimaryStep {
  const { options, paused } = state;
  switch (input.type) {
    case 'copied':
      return capture(firstEpoch(options, paused, input.roundTripMs, nowMs), nowMs, { do: 'close-gate' });
    case 'guest': {
      if (paused === (input.wanted === 'paused')) return to(state);
      return to({ ...state, paused: !paused }, { do: paused ? 'resume-guest' : 'pause-guest' });
    }
    case 'capture-failed':
      return unprotected(undefined, `memory could not be copied: ${input.reason}`);
    case 'link-lost':
      return unprotected(undefined, `the link was lost before the first epoch: ${input.reason}`);
    case 'peer-says':
      return unprotected(undefined, 'the standby gave the domain up before the first epoch');
    case 'operator':
      if (input.verb !== 'unprotect') return ignore(state, input);
      return unprotected(undefined, 'protection was called off', 'info');
    case 'domain-ended':
    case 'machine-died':
      return to({ phase: 'ended' }, { do: 'send', word: 'goodbye' }, { do: 'drop-link' }, log('info', input.reason));
    default:
      return to(state);
  }
}

function firstEpoch(options: PrimaryOptions, paused: boolean, roundTripMs: number, nowMs: number): PrimaryCore {
  return {
    options,
    epoch: 0n,
    capturing: false,
    unacked: [],
    ackedEpoch: 0n,
    standsFor: undefined,
    paused,
    operatorPaused: paused,
    told: { operatorPaused: false, sinceEpoch: 0n },
    heldSinceMs: undefined,
    consoleSinceMs: undefined,
    heldSequence: 0n,
    dirtyLimitReached: false,
    lastCaptureMs: nowMs,
    pacing: startPacing(options.maxPauseShare, nowMs),
    wire: startWirePace(roundTripMs, nowMs),
  };
}

function factsOf(core: PrimaryCore): SyncFacts {
  return {
    ...core,
    unackedEpochs: core.unacked.length,
    unackedBytes: core.unacked.reduce((sum, { bytes }) => sum + bytes, 0),
    standing: core.standsFor !== undefined,
    pauseUntold: core.operatorPaused !== core.told.operatorPaused,
    maxAgeMs: core.options.maxAgeMs,
  };
}

/** Orders the next capture. */
function capture(core: PrimaryCore, nowMs: number, ...before: PrimaryEffect[]): PrimaryStep {
  assert(!core.capturing, 'one capture at a time');
  const epoch = core.epoch + 1n;
  const resume = core.paused ? 'at-once' : resumeAfter(core.options.policy, factsOf(core));
  const standsFor = resume === 'after-ack' ? epoch : core.standsFor;
  const next = { ...orderEpoch(core, epoch, nowMs), standsFor };
  return to({ phase: 'protected', core: next }, ...before, {
    ...{ do: 'capture', epoch, resume },
    guestPaused: core.operatorPaused,
  });
}

/** Captures if it is time, or says when it will be. */
function proceed(core: PrimaryCore, nowMs: number, ...before: PrimaryEffect[]): PrimaryStep {
  const waiting: PrimaryState = { phase: 'protected', core };
  if (core.capturing) return to(waiting, ...before);
  const atMs = nextCaptureMs(core.options.policy, factsOf(core));
  if (atMs === undefined) return to(waiting, ...before);
  if (atMs > nowMs) return to(waiting, ...before, { do: 'set-timer', atMs });
  return capture(core, nowMs, ...before);
}

function whileProtected(core: PrimaryCore, input: PrimaryInput, nowMs: number): PrimaryStep {
  const state = { phase: 'protected', core } as const;
  switch (input.type) {
    case 'timer':
      return proceed(core, nowMs);
    case 'dirty-limit':
      return proceed({ ...core, dirtyLimitReached: true }, nowMs);
    case 'held':
      return proceed(noteHeld(core, input, nowMs), nowMs);
    case 'captured':
      return proceed(noteCaptured(core, input, nowMs), nowMs);
    case 'acked': {
      const step = acknowledged(state, input, nowMs);
      if (step.state.phase !== 'protected') return step;
      return core.options.purpose === 'move' ? moveOn(step, nowMs) : proceed(step.state.core, nowMs, ...step.effects);
    }
    case 'guest': {
      const steered = steerGuest(core, input);
      return proceed(steered.core, nowMs, ...steered.effects);
    }
    case 'capture-failed': {
      const failed = noteCaptureFailed(core);
      const step = disarm(failed.core, 'unprotected', `a checkpoint could not be taken: ${input.reason}`, 'error');
      return to(step.state, ...failed.effects, ...step.effects);
    }
    case 'link-lost':
      return fallSilent(core, input.reason, nowMs);
    case 'lease':
      return input.valid ? to(state) : leaseLost(core, nowMs);
    case 'peer-says':
      if (input.word === 'switchover') return operator(core, 'switchover', nowMs);
      if (input.word === 'taken') return overtaken();
      return unprotected(core, 'the standby gave the domain up');
    case 'operator':
      return operator(core, input.verb, nowMs);
    case 'domain-ended':
      return disarm(core, 'ended', input.reason, 'info');
    case 'machine-died':
      return machineDied(input.reason);
    default:
      return to(state);
  }
}

/**
 * A guest that is only to be moved: the standby has an epoch, and with it all that was copied before, so that the last one
 * is small and the guest stands still for no longer than that takes.
 */
function moveOn({ state, effects }: PrimaryStep, nowMs: number): PrimaryStep {
  assert(state.phase === 'protected', 'a guest is moved once an epoch was acknowledged');
  const step = operator(state.core, 'switchover', nowMs);
  return to(step.state, ...effects, ...step.effects);
}

function operator(
  core: PrimaryCore,
  verb: 'unprotect' | 'switchover' | 'resume-unprotected',
  nowMs: number,
): PrimaryStep {
  const state = { phase: 'protected', core } as const;
  switch (verb) {
    case 'unprotect':
      return disarm(core, 'unprotected', 'the operator wants it', 'info');
    case 'switchover':
      if (core.ackedEpoch === 0n) {
        return refuse(state, 'KEMARI_NOT_PROTECTED', 'no epoch has reached the standby yet: wait for it');
      }
      if (core.capturing) return to({ phase: 'handing-over', core, handover: 'capture-first' });
      return lastEpoch(core, nowMs);
    case 'resume-unprotected':
      return refuse(state, 'KEMARI_PEER_ANSWERS', 'the standby answers: use "unprotect" to end protection');
    default:
      return unreachable(verb);
  }
}
