import {
  askPeer,
  disarm,
  fallSilent,
  leaseLost,
  log,
  machineDied,
  noteAck,
  noteCaptured,
  noteCaptureFailed,
  orderEpoch,
  overtaken,
  refuse,
  to,
  unprotected,
  wrongAck,
} from './primary-steps.js';
import type { PrimaryCore, PrimaryInput, PrimaryState, PrimaryStep } from './primary-state.js';

/** The standby has the guest's last state and loads it: it answers `go` sooner than this, or something is wrong. */
export const GO_ANSWER_MS = 5_000;

type HandingOver = PrimaryState & { phase: 'handing-over' };

/** The cut that the standby goes on from; the guest does not run here after it. No capture is under way. */
export function lastEpoch(core: PrimaryCore, nowMs: number): PrimaryStep {
  // Where the operator has paused it since, or let it go, the standby was told otherwise.
  if (core.standsFor === core.epoch && core.told.operatorPaused === core.operatorPaused) {
    return to(
      { phase: 'handing-over', core, handover: 'last-epoch' },
      log('info', 'switchover: the guest stands here for an epoch that is on its way, which is its last'),
    );
  }
  const epoch = core.epoch + 1n;
  return to(
    {
      phase: 'handing-over',
      core: { ...orderEpoch(core, epoch, nowMs), standsFor: epoch },
      handover: 'last-epoch',
    },
    log('info', 'switchover: the guest stops here, its last epoch is on its way'),
    { do: 'capture', epoch, resume: 'never', guestPaused: core.operatorPaused },
  );
}

/** A planned switchover, once it was asked for. */
export function handingOver(state: HandingOver, input: PrimaryInput, nowMs: number): PrimaryStep {
  const { core, handover } = state;
  const wentOut = handover === 'go-sent' || handover === 'unknown';
  switch (input.type) {
    case 'captured': {
      const captured = noteCaptured(core, input, nowMs);
      return handover === 'capture-first' ? lastEpoch(captured, nowMs) : to({ ...state, core: captured });
    }
    case 'drained':
      if (handover !== 'draining') return to(state);
      return to(
        { ...state, handover: 'go-sent' },
        { do: 'end-lease' },
        { do: 'send', word: 'go' },
        { do: 'set-timer', atMs: nowMs + GO_ANSWER_MS },
      );
    case 'acked':
      return wentOut ? to(state) : handoverAck(state, input, nowMs);
    case 'peer-says':
      if (input.word === 'switchover') return to(state);
      if (input.word === 'taken') return overtaken();
      return backFromHandover(core, 'the standby did not take the guest');
    case 'link-lost':
      if (!wentOut) return returnSilent(core, input.reason, nowMs);
      return standStill(state, input.reason, nowMs);
    case 'lease':
      return input.valid || wentOut ? to(state) : leaseRanOut(core, nowMs);
    case 'timer':
      if (handover === 'go-sent') return standStill(state, 'the standby did not answer in time', nowMs);
      return handover === 'unknown' ? to(state, ...askPeer(nowMs)) : to(state);
    case 'capture-failed':
      return wentOut ? to(state) : captureFailed(core, input.reason);
    case 'operator':
      if (input.verb === 'resume-unprotected' && handover === 'unknown') {
        return backFromHandover(core, 'the operator says that the standby never ran it');
      }
      return refuse(state, 'KEMARI_HANDOVER', 'the domain is being handed over');
    case 'guest':
      return refuse(state, 'KEMARI_HANDOVER', 'the domain is being handed over');
    case 'domain-ended':
      if (!wentOut) return disarm(core, 'ended', input.reason, 'info');
      return to({ phase: 'ended' }, log('warn', `${input.reason}; the standby may run the guest`), { do: 'drop-link' });
    case 'machine-died':
      // After `go`, too: a standby that never heard of it learns that this process has ended, if nothing else.
      return machineDied(input.reason);
    default:
      return to(state);
  }
}

function handoverAck(state: HandingOver, input: PrimaryInput & { type: 'acked' }, nowMs: number): PrimaryStep {
  const acked = noteAck(state.core, input.epoch, nowMs);
  if (acked === undefined) return wrongAck(state.core, input.epoch, nowMs);
  const last = state.handover === 'last-epoch' && input.epoch === acked.core.epoch;
  if (!last) return to({ ...state, core: acked.core }, ...acked.effects);
  // What the last cut holds is not released here: the standby replays it. What this side had submitted before must land
  // first, or an old write could land behind the replay.
  return to({ ...state, core: acked.core, handover: 'draining' }, { do: 'drain' });
}

/** `go` is out and nobody answers: whoever ran the guest now might not be alone. */
function standStill(state: HandingOver, reason: string, nowMs: number): PrimaryStep {
  return to(
    { ...state, handover: 'unknown' },
    log('error', `${reason}: whether the standby runs the guest is not known, so this side stands still`),
    ...askPeer(nowMs),
  );
}

/** Only where the standby never ran the guest: from then on this side is alone. */
function backFromHandover(core: PrimaryCore, why: string): PrimaryStep {
  return withGuestResumed(core, unprotected(core, why));
}

/** The standby still has the epoch before: it is told to forget it, and the guest's output stays held until it did. */
function captureFailed(core: PrimaryCore, reason: string): PrimaryStep {
  const failed = noteCaptureFailed(core);
  return withGuestResumed(
    core,
    disarm(failed.core, 'unprotected', `the last epoch could not be taken: ${reason}`, 'error'),
  );
}

/** The guest comes back, its output held: the standby has no `go`, but may have the last epoch. */
function returnSilent(core: PrimaryCore, reason: string, nowMs: number): PrimaryStep {
  const back = { ...core, standsFor: undefined };
  return withGuestResumed(core, fallSilent(back, `the switchover is off: ${reason}`, nowMs, { do: 'drop-link' }));
}

/** The link may come back, and protection with it; a guest that was only to be moved is forgotten over there instead. */
function leaseRanOut(core: PrimaryCore, nowMs: number): PrimaryStep {
  if (core.options.purpose === 'move') return returnSilent(core, 'the lease ran out', nowMs);
  const { state, effects } = withGuestResumed(core, leaseLost({ ...core, standsFor: undefined }, nowMs));
  return { state, effects: [log('warn', 'the switchover is off'), ...effects] };
}

/**
 * The last cut left the guest standing: whatever else the step does, it ends with letting it go, once, unless it stood still
 * before.
 */
function withGuestResumed({ paused }: PrimaryCore, { state, effects }: PrimaryStep): PrimaryStep {
  if (paused) return { state, effects };
  return { state, effects: [...effects.filter((effect) => effect.do !== 'resume-guest'), { do: 'resume-guest' }] };
}
