import { copyGone, giveUp, log, to } from './standby-steps.js';
import type { StandbyInput, StandbyState, StandbyStep, TakeoverReason } from './standby-state.js';

/** A takeover that failed is tried again so much later, where nobody asks for it sooner. */
export const TAKEOVER_RETRY_MS = 5_000;

type Decided = StandbyState & { phase: 'lease-running-out' | 'taking-over' };

const REASON_TEXT: Readonly<Record<TakeoverReason, string>> = {
  handover: 'the primary handed the guest over',
  'machine-died': "the primary's machine died, says the primary",
  'peer-dead': "the primary's process is confirmed dead",
  fenced: 'the primary was fenced',
  operator: "the primary is silent; that it is dead is the operator's word",
  'operator-says-dead': 'the operator answers for it that the primary is dead',
};

/** The guest is to run here. */
export function decide(
  { options, epoch, writesPending }: StandbyState & { phase: 'ready' | 'silent' | 'fencing' },
  reason: TakeoverReason,
  peerIsGone: boolean,
): StandbyStep {
  return to(
    { phase: 'lease-running-out', options, epoch, writesPending, reason },
    log('warn', `takeover of epoch ${epoch.toString()}: ${REASON_TEXT[reason]}`),
    { do: 'stop-granting', peerIsGone },
  );
}

/** From the decision to the guest's running here, or to a failure. */
export function takingOver(state: Decided, input: StandbyInput, nowMs: number): StandbyStep {
  const { epoch, reason } = state;
  switch (input.type) {
    case 'leases-over':
      if (state.phase === 'taking-over') return to(state);
      return to({ ...state, phase: 'taking-over' }, { do: 'take-over', epoch });
    case 'taken-over':
      return to(
        { phase: 'running', epoch, reason },
        { do: 'announce' },
        { do: 'send', word: 'taken' },
        log('warn', `the guest runs here, from epoch ${epoch.toString()}`),
      );
    case 'takeover-failed':
    case 'machine-failed':
      return failed(state, input, nowMs);
    case 'disarm':
      // The decision is made: what the primary or an operator says now comes too late.
      return to(state, { do: 'refuse', code: 'KEMARI_TAKING_OVER', text: 'the takeover has begun' });
    default:
      return to(state);
  }
}

/**
 * A guest that may have run is lost: what it did may be known to the world, and its memory is not that of the epoch any more. One
 * that was handed over goes back to its primary, which stands still until it hears of it. Of any other this may be the last
 * copy: where it outlives the machine that failed it is kept, and what decided the takeover stands.
 */
function failed(
  state: Decided,
  input: StandbyInput & { type: 'takeover-failed' | 'machine-failed' },
  nowMs: number,
): StandbyStep {
  const { options, epoch, writesPending, reason } = state;
  if (input.mayHaveRun === true) {
    return to(
      { phase: 'ended' },
      log('error', `the guest ran here for a moment, if at all, and was lost: ${input.reason}`),
      { do: 'discard' },
    );
  }
  if (reason === 'handover') return giveUp('the takeover failed', input.reason);
  if (input.copyLost === true) return copyGone(state, input.reason);
  // The operator's word was about the primary as it was then: who gave it is asked again.
  const byWord = reason === 'operator' || reason === 'operator-says-dead';
  const next = byWord
    ? 'ask for it again once that is mended'
    : `it is tried again every ${TAKEOVER_RETRY_MS / 1000} s`;
  return to(
    {
      ...{ phase: 'silent', options, epoch, writesPending, sinceMs: nowMs, linkUp: false },
      ...{ peer: byWord ? 'silent' : 'dead', asked: true, wanted: false, again: byWord ? undefined : reason },
    },
    log('error', `the takeover failed: ${input.reason}; epoch ${epoch.toString()} is kept, ${next}`),
    { do: 'prepare-machine' },
    { do: 'set-timer', atMs: nowMs + TAKEOVER_RETRY_MS },
  );
}
