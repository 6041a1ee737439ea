import { assert } from '../base/assert.js';
import { captureCostUs, spend } from './pacing.js';
import { resumesAtOnce } from './policy.js';
import { noteWire } from './wire-pace.js';
import type {
  GuardedState,
  PrimaryCore,
  PrimaryEffect,
  PrimaryInput,
  PrimaryState,
  PrimaryStep,
} from './primary-state.js';

/** How often a silent peer's kemarid is asked again. */
export const ASK_PEER_INTERVAL_MS = 500;

export function to(state: PrimaryState, ...effects: PrimaryEffect[]): PrimaryStep {
  return { state, effects };
}

export function log(level: 'info' | 'warn' | 'error', text: string): PrimaryEffect {
  return { do: 'log', level, text };
}

export function refuse(state: PrimaryState, code: `KEMARI_${string}`, text: string): PrimaryStep {
  return to(state, { do: 'refuse', code, text });
}

export function unprotected(core: PrimaryCore | undefined, why: string, level: 'info' | 'warn' = 'warn'): PrimaryStep {
  const standsStill = core?.standsFor !== undefined && !core.paused;
  return to(
    { phase: 'unprotected' },
    log(level, `the domain runs unprotected: ${why}`),
    { do: 'drop-link' },
    { do: 'stop-tracking' },
    { do: 'open-gate' },
    ...(standsStill ? [{ do: 'resume-guest' } as const] : []),
  );
}

/** The capture of `epoch` is ordered now: what the standby has to know of the guest goes with it. */
export function orderEpoch(core: PrimaryCore, epoch: bigint, nowMs: number): PrimaryCore {
  const { operatorPaused, told } = core;
  return {
    ...core,
    ...{ epoch, capturing: true, lastCaptureMs: nowMs, dirtyLimitReached: false },
    told: told.operatorPaused === operatorPaused ? told : { operatorPaused, sinceEpoch: epoch },
  };
}

/** The standby has an epoch that says whether the guest's operator wants it to stand still. */
export function standbyKnowsPause({ operatorPaused, told, ackedEpoch }: PrimaryCore): boolean {
  return told.operatorPaused === operatorPaused && told.sinceEpoch <= ackedEpoch;
}

export function noteCaptured(
  core: PrimaryCore,
  input: PrimaryInput & { type: 'captured' },
  nowMs: number,
): PrimaryCore {
  assert(core.capturing && input.epoch === core.epoch, 'a capture answers the order that was given last');
  const { epoch, throughSequence, bytes } = input;
  // One that holds the guest is told of when the standby has it, or nearly.
  const sentFromMs = core.standsFor === epoch ? core.lastCaptureMs : nowMs;
  const covered = core.heldSequence <= throughSequence;
  return {
    ...core,
    capturing: false,
    unacked: [...core.unacked, { epoch, throughSequence, bytes, sentFromMs }],
    heldSinceMs: covered ? undefined : core.heldSinceMs,
    consoleSinceMs: covered ? undefined : core.consoleSinceMs,
    pacing: spend(core.pacing, captureCostUs(input.pauseUs, input.busyShare, input.dirtyPages), nowMs),
  };
}

/** The law's one place: what `epoch` and all before it cover may leave. Undefined: no such epoch is waiting for an ack. */
export function noteAck(
  core: PrimaryCore,
  epoch: bigint,
  nowMs: number,
): { core: PrimaryCore; effects: PrimaryEffect[] } | undefined {
  const acked = core.unacked.find((waiting) => waiting.epoch === epoch);
  if (acked === undefined) return undefined;
  const effects: PrimaryEffect[] = [{ do: 'release', throughSequence: acked.throughSequence }];
  const stoodForIt = core.standsFor !== undefined && core.standsFor <= epoch;
  if (stoodForIt && !core.paused) effects.push({ do: 'resume-guest' });
  if (core.ackedEpoch === 0n) effects.push(log('info', `the domain is protected, epoch ${epoch.toString()}`));
  return {
    core: {
      ...core,
      ackedEpoch: epoch,
      standsFor: stoodForIt ? undefined : core.standsFor,
      unacked: core.unacked.filter((waiting) => waiting.epoch > epoch),
      wire: noteWire(
        core.wire,
        core.unacked.filter((waiting) => waiting.epoch <= epoch),
        nowMs,
      ),
    },
    effects,
  };
}

/** What every guarded phase does with an ack: what it covers leaves, the phase stays. */
export function acknowledged(state: GuardedState, input: PrimaryInput & { type: 'acked' }, nowMs: number): PrimaryStep {
  const acked = noteAck(state.core, input.epoch, nowMs);
  return acked === undefined
    ? wrongAck(state.core, input.epoch, nowMs)
    : to({ ...state, core: acked.core }, ...acked.effects);
}

/** The operator pauses the guest or lets it go on. An ack that strict waits for is still waited for. */
export function steerGuest(
  core: PrimaryCore,
  { wanted, forReset = false }: PrimaryInput & { type: 'guest' },
): { core: PrimaryCore; effects: PrimaryEffect[] } {
  if (core.paused === (wanted === 'paused')) return { core, effects: [] };
  if (wanted === 'paused') {
    return { core: { ...core, paused: true, operatorPaused: !forReset }, effects: [{ do: 'pause-guest' }] };
  }
  const uncertain = core.capturing || core.unacked.length > 0;
  const standsFor = core.standsFor ?? (uncertain && !resumesAtOnce(core.options.policy) ? core.epoch : undefined);
  return {
    core: { ...core, paused: false, operatorPaused: false, standsFor },
    effects: standsFor === undefined ? [{ do: 'resume-guest' }] : [],
  };
}

/** A capture that failed may have left the guest standing. */
export function noteCaptureFailed(core: PrimaryCore): { core: PrimaryCore; effects: PrimaryEffect[] } {
  const after = { ...core, capturing: false, standsFor: undefined };
  return { core: after, effects: core.paused ? [] : [{ do: 'resume-guest' }] };
}

export function wrongAck(core: PrimaryCore, epoch: bigint, nowMs: number): PrimaryStep {
  const known = `expected one of ${core.unacked.map((waiting) => waiting.epoch.toString()).join(', ') || 'none'}`;
  return fallSilent(core, `the standby acknowledged epoch ${epoch.toString()}, ${known}`, nowMs, { do: 'drop-link' });
}

/** The link is lost. */
export function fallSilent(core: PrimaryCore, reason: string, nowMs: number, ...effects: PrimaryEffect[]): PrimaryStep {
  if (core.options.onSilence === 'continue') return unprotected(core, `${reason}, and on-silence is "continue"`);
  return to(
    { phase: 'silent', core, linkUp: false, peer: 'silent' },
    ...effects,
    log('warn', `${reason}: all output is held until the standby answers, is disarmed or is known to be dead`),
    ...askPeer(nowMs),
  );
}

/** The link stands, but the standby has not answered for as long as the lease lasts. */
export function leaseLost(core: PrimaryCore, nowMs: number): PrimaryStep {
  if (core.options.onSilence === 'continue')
    return unprotected(core, 'the lease ran out, and on-silence is "continue"');
  return to(
    { phase: 'silent', core, linkUp: true, peer: 'silent' },
    log('warn', 'the lease ran out: all output is held until the standby answers again'),
    ...askPeer(nowMs),
  );
}

export function askPeer(nowMs: number): PrimaryEffect[] {
  return [{ do: 'ask-peer' }, { do: 'set-timer', atMs: nowMs + ASK_PEER_INTERVAL_MS }];
}

/** Protection is to end; what is held stays so until the standby says that it forgot the domain. */
export function disarm(
  core: PrimaryCore,
  then: 'unprotected' | 'ended',
  why: string,
  level: 'info' | 'error',
): PrimaryStep {
  return to({ phase: 'disarming', core, then }, log(level, `protection ends: ${why}`), { do: 'send', word: 'goodbye' });
}

export function overtaken(): PrimaryStep {
  return to(
    { phase: 'handed-over' },
    log('warn', 'the standby runs the guest: this side ends'),
    { do: 'end-machine' },
    { do: 'drop-link' },
  );
}

export function machineDied(reason: string): PrimaryStep {
  return to(
    { phase: 'ended' },
    log('error', `${reason}: the standby is to take over`),
    { do: 'send', word: 'machine-died' },
    { do: 'drop-link' },
  );
}

export function noteHeld(core: PrimaryCore, input: PrimaryInput & { type: 'held' }, nowMs: number): PrimaryCore {
  const heldSequence = input.sequence > core.heldSequence ? input.sequence : core.heldSequence;
  if (input.output === 'console') {
    return { ...core, heldSequence, consoleSinceMs: core.consoleSinceMs ?? nowMs };
  }
  return { ...core, heldSequence, heldSinceMs: core.heldSinceMs ?? nowMs };
}
