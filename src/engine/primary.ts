import { assert, unreachable } from '../base/assert.js';
import { handingOver, lastCapture } from './handover.js';
import { startPacing } from './pacing.js';
import { learn } from './peer-knowledge.js';
import { nextCaptureMs, resumesAtOnce } from './policy.js';
import {
  ASK_PEER_INTERVAL_MS,
  fallSilent,
  log,
  machineDied,
  noteAck,
  noteCaptured,
  overtaken,
  to,
  unprotected,
  wrongAck,
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
      return input.type === 'start' ? start(input.options) : ignore(state, input);
    case 'copying':
      return copying(state, input, nowMs);
    case 'protected':
      return whileProtected(state.core, input, nowMs);
    case 'disarming':
      return disarming(state, input, nowMs);
    case 'silent':
      return silent(state, input, nowMs);
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
  return to(state, {
    do: 'refuse',
    code: 'KEMARI_NOT_PROTECTED',
    text: `the domain is ${state.phase}: there is nothing to ${input.verb}`,
  });
}

function start(options: PrimaryOptions): PrimaryStep {
  return to(
    { phase: 'copying', options },
    { do: 'start-tracking' },
    log('info', 'protection starts: copying memory to the standby while the guest runs'),
  );
}

function copying(state: PrimaryState & { phase: 'copying' }, input: PrimaryInput, nowMs: number): PrimaryStep {
  switch (input.type) {
    case 'copied':
      return capture(firstEpoch(state.options, nowMs), nowMs, { do: 'close-gate' });
    case 'link-lost':
      return unprotected(undefined, `the link was lost before the first epoch: ${input.reason}`);
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

function firstEpoch(options: PrimaryOptions, nowMs: number): PrimaryCore {
  return {
    options,
    epoch: 0n,
    capturing: false,
    unacked: [],
    ackedEpoch: 0n,
    heldSinceMs: undefined,
    consoleSinceMs: undefined,
    heldSequence: 0n,
    dirtyLimitReached: false,
    lastCaptureMs: nowMs,
    pacing: startPacing(options.maxPauseShare, nowMs),
  };
}

/** Orders the next capture. */
function capture(core: PrimaryCore, nowMs: number, ...before: PrimaryEffect[]): PrimaryStep {
  assert(!core.capturing, 'one capture at a time');
  const epoch = core.epoch + 1n;
  const resume = resumesAtOnce(core.options.policy) ? 'at-once' : 'after-ack';
  return to(
    { phase: 'protected', core: { ...core, epoch, capturing: true, lastCaptureMs: nowMs, dirtyLimitReached: false } },
    ...before,
    { do: 'capture', epoch, resume },
  );
}

/** Captures if it is time, or says when it will be. */
function proceed(core: PrimaryCore, nowMs: number, ...before: PrimaryEffect[]): PrimaryStep {
  const waiting: PrimaryState = { phase: 'protected', core };
  if (core.capturing) return to(waiting, ...before);
  const atMs = nextCaptureMs(core.options.policy, {
    ...core,
    unackedEpochs: core.unacked.length,
    maxAgeMs: core.options.maxAgeMs,
  });
  if (atMs === undefined) return to(waiting, ...before);
  if (atMs > nowMs) return to(waiting, ...before, { do: 'set-timer', atMs });
  return capture(core, nowMs, ...before);
}

function whileProtected(core: PrimaryCore, input: PrimaryInput, nowMs: number): PrimaryStep {
  const state: PrimaryState = { phase: 'protected', core };
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
      const acked = noteAck(core, input.epoch);
      return acked === undefined ? wrongAck(core, input.epoch, nowMs) : proceed(acked.core, nowMs, ...acked.effects);
    }
    case 'capture-failed':
      return disarm(core, 'unprotected', `a checkpoint could not be taken: ${input.reason}`, 'error');
    case 'link-lost':
      return fallSilent(core, input.reason, nowMs);
    case 'lease':
      return input.valid ? to(state) : leaseLost(core, nowMs);
    case 'peer-says':
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

function noteHeld(core: PrimaryCore, input: PrimaryInput & { type: 'held' }, nowMs: number): PrimaryCore {
  const heldSequence = input.sequence > core.heldSequence ? input.sequence : core.heldSequence;
  if (input.output === 'console') {
    return { ...core, heldSequence, consoleSinceMs: core.consoleSinceMs ?? nowMs };
  }
  return { ...core, heldSequence, heldSinceMs: core.heldSinceMs ?? nowMs };
}

function leaseLost(core: PrimaryCore, nowMs: number): PrimaryStep {
  if (core.options.onSilence === 'continue')
    return unprotected(core, 'the lease ran out, and on-silence is "continue"');
  return to(
    { phase: 'silent', core, linkUp: true, peer: 'silent' },
    log('warn', 'the lease ran out: all output is held until the standby answers again'),
    { do: 'ask-peer' },
    { do: 'set-timer', atMs: nowMs + ASK_PEER_INTERVAL_MS },
  );
}

function disarm(core: PrimaryCore, then: 'unprotected' | 'ended', why: string, level: 'info' | 'error'): PrimaryStep {
  return to({ phase: 'disarming', core, then }, log(level, `protection ends: ${why}`), { do: 'send', word: 'goodbye' });
}

function operator(
  core: PrimaryCore,
  verb: 'unprotect' | 'switchover' | 'resume-unprotected',
  nowMs: number,
): PrimaryStep {
  switch (verb) {
    case 'unprotect':
      return disarm(core, 'unprotected', 'the operator wants it', 'info');
    case 'switchover':
      if (core.ackedEpoch === 0n) {
        return to(
          { phase: 'protected', core },
          { do: 'refuse', code: 'KEMARI_NOT_PROTECTED', text: 'no epoch has reached the standby yet: wait for it' },
        );
      }
      if (core.capturing) return to({ phase: 'handing-over', core, handover: 'capture-first' });
      return lastCapture(core, nowMs);
    case 'resume-unprotected':
      return to(
        { phase: 'protected', core },
        { do: 'refuse', code: 'KEMARI_PEER_ANSWERS', text: 'the standby answers: use "unprotect" to end protection' },
      );
    default:
      return unreachable(verb);
  }
}

function disarming(state: PrimaryState & { phase: 'disarming' }, input: PrimaryInput, nowMs: number): PrimaryStep {
  const { core, then } = state;
  switch (input.type) {
    case 'captured':
      return to({ ...state, core: noteCaptured(core, input, nowMs) });
    case 'acked': {
      const acked = noteAck(core, input.epoch);
      return acked === undefined
        ? wrongAck(core, input.epoch, nowMs)
        : to({ ...state, core: acked.core }, ...acked.effects);
    }
    case 'peer-says':
      if (input.word === 'taken') return overtaken();
      return disarmed(core, then);
    case 'peer':
      return input.answer === 'gone' ? disarmed(core, then) : to(state);
    case 'link-lost':
      if (then === 'ended')
        return to({ phase: 'ended' }, log('warn', `the standby may not know of it: ${input.reason}`));
      return fallSilent(core, input.reason, nowMs);
    case 'domain-ended':
    case 'machine-died':
      return to({ ...state, then: 'ended' });
    default:
      return to(state);
  }
}

function disarmed(core: PrimaryCore, then: 'unprotected' | 'ended'): PrimaryStep {
  if (then === 'unprotected') return unprotected(core, 'protection was ended, the standby forgot the domain', 'info');
  return to({ phase: 'ended' }, { do: 'drop-link' }, { do: 'stop-tracking' });
}

function silent(state: PrimaryState & { phase: 'silent' }, input: PrimaryInput, nowMs: number): PrimaryStep {
  const { core } = state;
  switch (input.type) {
    case 'timer':
      return to(state, { do: 'ask-peer' }, { do: 'set-timer', atMs: nowMs + ASK_PEER_INTERVAL_MS });
    case 'peer': {
      const peer = learn(state.peer, input.answer);
      if (peer === 'dead') return unprotected(core, "the standby's process is confirmed dead");
      return to({ ...state, peer });
    }
    case 'lease':
      if (!input.valid || !state.linkUp) return to(state);
      return proceed(core, nowMs, log('info', 'the standby answers again: protected'));
    case 'held':
      return to({ ...state, core: noteHeld(core, input, nowMs) });
    case 'captured':
      return to({ ...state, core: noteCaptured(core, input, nowMs) });
    case 'acked': {
      if (!state.linkUp) return to(state);
      const acked = noteAck(core, input.epoch);
      return acked === undefined
        ? wrongAck(core, input.epoch, nowMs)
        : to({ ...state, core: acked.core }, ...acked.effects);
    }
    case 'link-lost':
      return to({ ...state, linkUp: false }, log('warn', input.reason));
    case 'fenced':
      return input.ok ? unprotected(core, 'the standby was fenced') : to(state);
    case 'peer-says':
      return input.word === 'taken' ? overtaken() : unprotected(core, 'the standby gave the domain up');
    case 'operator':
      if (input.verb === 'resume-unprotected') return unprotected(core, 'the operator wants it');
      return to(state, { do: 'refuse', code: 'KEMARI_PEER_SILENT', text: SILENT_ADVICE });
    case 'domain-ended':
      return to({ phase: 'ended' }, log('warn', `${input.reason}; the standby may not know of it`));
    case 'machine-died':
      return machineDied(input.reason);
    default:
      return to(state);
  }
}

const SILENT_ADVICE =
  'the standby is silent, so what it does is not known; disarm or fence it, or go on without it: ' +
  '"kemari resume --unprotected"';
