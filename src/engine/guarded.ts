import { learn } from './peer-knowledge.js';
import {
  acknowledged,
  askPeer,
  fallSilent,
  leaseLost,
  log,
  machineDied,
  noteCaptured,
  noteCaptureFailed,
  noteHeld,
  overtaken,
  refuse,
  steerGuest,
  to,
  unprotected,
} from './primary-steps.js';
import type { GuardedState, PrimaryInput, PrimaryState, PrimaryStep } from './primary-state.js';

const SILENT_ADVICE =
  'the standby is silent, so what it does is not known; disarm or fence it, or go on without it: ' +
  '"kemari resume --unprotected"';

/** What the two phases below share: books are kept, nothing is captured. Undefined: the input means more to the phase. */
function keepBooks(state: GuardedState, input: PrimaryInput, nowMs: number): PrimaryStep | undefined {
  const { core } = state;
  switch (input.type) {
    case 'held':
      return to({ ...state, core: noteHeld(core, input, nowMs) });
    case 'captured':
      return to({ ...state, core: noteCaptured(core, input, nowMs) });
    case 'capture-failed': {
      const failed = noteCaptureFailed(core);
      return to({ ...state, core: failed.core }, log('error', `no checkpoint: ${input.reason}`), ...failed.effects);
    }
    case 'guest': {
      const steered = steerGuest(core, input);
      return to({ ...state, core: steered.core }, ...steered.effects);
    }
    default:
      return undefined;
  }
}

/** The standby was told to forget the domain. */
export function disarming(
  state: PrimaryState & { phase: 'disarming' },
  input: PrimaryInput,
  nowMs: number,
): PrimaryStep {
  const { core, then } = state;
  switch (input.type) {
    case 'acked':
      return acknowledged(state, input, nowMs);
    case 'peer-says':
      if (input.word === 'switchover') return to(state);
      return input.word === 'taken' ? overtaken() : disarmed(state);
    case 'peer':
      return input.answer === 'gone' ? disarmed(state) : to(state);
    case 'link-lost':
      return then === 'ended' ? endUnheard(input.reason) : fallSilent(core, input.reason, nowMs);
    case 'lease':
      if (input.valid) return to(state);
      return then === 'ended' ? endUnheard('it does not answer') : leaseLost(core, nowMs);
    case 'operator':
      if (input.verb === 'unprotect') return to(state);
      // A standby may live and never answer: whoever answers for it need not wait for ever.
      if (input.verb === 'resume-unprotected' && then === 'unprotected') {
        return unprotected(core, 'the operator wants it, before the standby said that it forgot the domain');
      }
      return refuse(state, 'KEMARI_NOT_PROTECTED', 'protection is just ending: wait for it');
    case 'domain-ended':
    case 'machine-died':
      return to({ ...state, then: 'ended' });
    default:
      return keepBooks(state, input, nowMs) ?? to(state);
  }
}

function endUnheard(reason: string): PrimaryStep {
  return to(
    { phase: 'ended' },
    log('warn', `the standby may not know of the domain's end: ${reason}`),
    { do: 'drop-link' },
    { do: 'stop-tracking' },
  );
}

/** The standby never runs the guest: the last words of a domain that ends may leave, too. */
function disarmed({ core, then }: PrimaryState & { phase: 'disarming' }): PrimaryStep {
  if (then === 'unprotected') return unprotected(core, 'protection was ended, the standby forgot the domain', 'info');
  return to({ phase: 'ended' }, { do: 'drop-link' }, { do: 'stop-tracking' }, { do: 'open-gate' });
}

/** Nothing is known of the standby; `protected` again once it answers. */
export function silent(state: PrimaryState & { phase: 'silent' }, input: PrimaryInput, nowMs: number): PrimaryStep {
  const { core } = state;
  switch (input.type) {
    case 'timer':
      return to(state, ...askPeer(nowMs));
    case 'peer': {
      const peer = learn(state.peer, input.answer);
      if (peer === 'dead') return unprotected(core, "the standby's process is confirmed dead");
      return to({ ...state, peer });
    }
    case 'lease':
      if (!input.valid || !state.linkUp) return to(state);
      return to({ phase: 'protected', core }, log('info', 'the standby answers again: protected'));
    case 'acked':
      return state.linkUp ? acknowledged(state, input, nowMs) : to(state);
    case 'link-lost':
      return to({ ...state, linkUp: false }, log('warn', input.reason));
    case 'peer-says':
      if (input.word === 'switchover') return to(state);
      return input.word === 'taken' ? overtaken() : unprotected(core, 'the standby gave the domain up');
    case 'operator':
      if (input.verb === 'resume-unprotected') return unprotected(core, 'the operator wants it');
      return refuse(state, 'KEMARI_PEER_SILENT', SILENT_ADVICE);
    case 'domain-ended':
      return to(
        { phase: 'ended' },
        log('warn', `${input.reason}; the standby may not know of it`),
        { do: 'send', word: 'goodbye' },
        { do: 'drop-link' },
        { do: 'stop-tracking' },
      );
    case 'machine-died':
      return machineDied(input.reason);
    default:
      return keepBooks(state, input, nowMs) ?? to(state);
  }
}
