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
import type { PrimaryCore, PrimaryInput, PrimaryState, PrimaryStep } from './primary-state.js';

/** The cut that the standby goes on from; the guest does not run here after it. */
export function lastCapture(core: PrimaryCore, nowMs: number): PrimaryStep {
  const epoch = core.epoch + 1n;
  return to(
    { phase: 'handing-over', core: { ...core, epoch, capturing: true, lastCaptureMs: nowMs }, handover: 'last-epoch' },
    log('info', 'switchover: the guest stops here, its last epoch is on its way'),
    { do: 'capture', epoch, resume: 'never' },
  );
}

/** A planned switchover, once it was asked for. */
export function handingOver(
  state: PrimaryState & { phase: 'handing-over' },
  input: PrimaryInput,
  nowMs: number,
): PrimaryStep {
  const { core, handover } = state;
  const wentOut = handover === 'go-sent' || handover === 'unknown';
  switch (input.type) {
    case 'captured': {
      const captured = noteCaptured(core, input, nowMs);
      return handover === 'capture-first' ? lastCapture(captured, nowMs) : to({ ...state, core: captured });
    }
    case 'drained':
      if (handover !== 'draining') return to(state);
      return to({ ...state, handover: 'go-sent' }, { do: 'send', word: 'go' });
    case 'acked':
      return wentOut ? to(state) : handoverAck(state, input.epoch, nowMs);
    case 'peer-says':
      if (input.word === 'taken') return overtaken();
      return backFromHandover(core, 'the standby did not take the guest');
    case 'link-lost':
      if (!wentOut) return returnSilent(core, input.reason, nowMs);
      return to(
        { ...state, handover: 'unknown' },
        log('error', `${input.reason}: whether the standby runs the guest is not known, so this side stands still`),
        { do: 'ask-peer' },
        { do: 'set-timer', atMs: nowMs + ASK_PEER_INTERVAL_MS },
      );
    case 'timer':
      if (handover !== 'unknown') return to(state);
      return to(state, { do: 'ask-peer' }, { do: 'set-timer', atMs: nowMs + ASK_PEER_INTERVAL_MS });
    case 'capture-failed':
      return wentOut ? to(state) : backFromHandover(core, `the last epoch could not be taken: ${input.reason}`);
    case 'operator':
      if (input.verb === 'resume-unprotected' && handover === 'unknown') {
        return backFromHandover(core, 'the operator says that the standby never ran it');
      }
      return to(state, { do: 'refuse', code: 'KEMARI_HANDOVER', text: 'the domain is being handed over' });
    case 'machine-died':
      return wentOut ? to(state, log('warn', input.reason)) : machineDied(input.reason);
    default:
      return to(state);
  }
}

function handoverAck(state: PrimaryState & { phase: 'handing-over' }, epoch: bigint, nowMs: number): PrimaryStep {
  const acked = noteAck(state.core, epoch);
  if (acked === undefined) return wrongAck(state.core, epoch, nowMs);
  const last = state.handover === 'last-epoch' && epoch === acked.core.epoch;
  if (!last) return to({ ...state, core: acked.core }, ...acked.effects);
  // What the last cut holds is not released here: the standby replays it. What this side had submitted before must land
  // first, or an old write could land behind the replay.
  return to({ ...state, core: acked.core, handover: 'draining' }, { do: 'drain' });
}

/** Only where the standby never ran the guest: from then on this side is alone. */
function backFromHandover(core: PrimaryCore, why: string): PrimaryStep {
  return withGuestResumed(unprotected(core, why));
}

function returnSilent(core: PrimaryCore, reason: string, nowMs: number): PrimaryStep {
  return withGuestResumed(fallSilent(core, `the switchover is off: ${reason}`, nowMs));
}

/** The last cut left the guest standing: whatever else the step does, it ends with letting it go, once. */
function withGuestResumed({ state, effects }: PrimaryStep): PrimaryStep {
  return { state, effects: [...effects.filter((effect) => effect.do !== 'resume-guest'), { do: 'resume-guest' }] };
}
