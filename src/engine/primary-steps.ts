import { assert } from '../base/assert.js';
import { captureCostUs, spend } from './pacing.js';
import { resumesAtOnce } from './policy.js';
import type { PrimaryCore, PrimaryEffect, PrimaryInput, PrimaryState, PrimaryStep } from './primary-state.js';

/** How often a silent peer's kemarid is asked again. */
export const ASK_PEER_INTERVAL_MS = 500;

export function to(state: PrimaryState, ...effects: PrimaryEffect[]): PrimaryStep {
  return { state, effects };
}

export function log(level: 'info' | 'warn' | 'error', text: string): PrimaryEffect {
  return { do: 'log', level, text };
}

export function unprotected(core: PrimaryCore | undefined, why: string, level: 'info' | 'warn' = 'warn'): PrimaryStep {
  const standsStill = core !== undefined && !resumesAtOnce(core.options.policy) && core.unacked.length > 0;
  return to(
    { phase: 'unprotected' },
    log(level, `the domain runs unprotected: ${why}`),
    { do: 'drop-link' },
    { do: 'stop-tracking' },
    { do: 'open-gate' },
    ...(standsStill ? [{ do: 'resume-guest' } as const] : []),
  );
}

export function noteCaptured(
  core: PrimaryCore,
  input: PrimaryInput & { type: 'captured' },
  nowMs: number,
): PrimaryCore {
  assert(core.capturing && input.epoch === core.epoch, 'a capture answers the order that was given last');
  const covered = core.heldSequence <= input.throughSequence;
  return {
    ...core,
    capturing: false,
    unacked: [...core.unacked, { epoch: input.epoch, throughSequence: input.throughSequence }],
    heldSinceMs: covered ? undefined : core.heldSinceMs,
    consoleSinceMs: covered ? undefined : core.consoleSinceMs,
    pacing: spend(core.pacing, captureCostUs(input.pauseUs, input.dirtyPages), nowMs),
  };
}

/** The law's one place: what `epoch` and all before it cover may leave. Undefined: no such epoch is waiting for an ack. */
export function noteAck(core: PrimaryCore, epoch: bigint): { core: PrimaryCore; effects: PrimaryEffect[] } | undefined {
  const acked = core.unacked.find((waiting) => waiting.epoch === epoch);
  if (acked === undefined) return undefined;
  const effects: PrimaryEffect[] = [{ do: 'release', throughSequence: acked.throughSequence }];
  if (!resumesAtOnce(core.options.policy)) effects.push({ do: 'resume-guest' });
  if (core.ackedEpoch === 0n) effects.push(log('info', `the domain is protected, epoch ${epoch.toString()}`));
  return {
    core: { ...core, ackedEpoch: epoch, unacked: core.unacked.filter((waiting) => waiting.epoch > epoch) },
    effects,
  };
}

export function wrongAck(core: PrimaryCore, epoch: bigint, nowMs: number): PrimaryStep {
  const known = `expected one of ${core.unacked.map((waiting) => waiting.epoch.toString()).join(', ') || 'none'}`;
  return fallSilent(core, `the standby acknowledged epoch ${epoch.toString()}, ${known}`, nowMs, { do: 'drop-link' });
}

export function fallSilent(core: PrimaryCore, reason: string, nowMs: number, ...effects: PrimaryEffect[]): PrimaryStep {
  if (core.options.onSilence === 'continue') return unprotected(core, `${reason}, and on-silence is "continue"`);
  return to(
    { phase: 'silent', core, linkUp: false, peer: 'silent' },
    ...effects,
    log('warn', `${reason}: all output is held until the standby is disarmed, fenced or known to be dead`),
    { do: 'ask-peer' },
    { do: 'set-timer', atMs: nowMs + ASK_PEER_INTERVAL_MS },
  );
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
