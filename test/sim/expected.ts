import type { PrimaryEffect, PrimaryInput } from '../../src/engine/primary-state.js';
import type { StandbyEffect, StandbyInput, TakeoverReason } from '../../src/engine/standby-state.js';
import { ALL_FAULTS, STEPS } from './plan.js';
import type { Tally } from './tally.js';

/** What the engine knows; false: not played here. A new input or effect does not compile before it stands here. */
const PRIMARY_INPUTS: Readonly<Record<PrimaryInput['type'], boolean>> = {
  ...{ start: true, copied: true, held: true, 'dirty-limit': true, captured: true, 'capture-failed': true },
  ...{ acked: true, drained: true, 'link-lost': true, lease: true, peer: true, 'peer-says': true },
  ...{ operator: true, guest: true, 'domain-ended': true, 'machine-died': true, timer: true },
};
const PRIMARY_EFFECTS: Readonly<Record<PrimaryEffect['do'], boolean>> = {
  ...{ 'close-gate': true, 'open-gate': true, capture: true, release: true, 'resume-guest': true, 'pause-guest': true },
  ...{
    drain: true,
    'end-lease': true,
    'start-tracking': true,
    'stop-tracking': true,
    send: true,
    'drop-link': true,
    'ask-peer': true,
  },
  ...{ 'end-machine': true, 'set-timer': true, refuse: true },
  log: false,
};
const STANDBY_INPUTS: Readonly<Record<StandbyInput['type'], boolean>> = {
  ...{ committed: true, silent: true, heard: true, 'link-lost': true, 'link-failed': true, 'machine-failed': true },
  ...{ terminate: true, peer: true, 'peer-says': true, sighup: true, 'primary-is-dead': true, disarm: true },
  ...{ 'fence-ended': true, 'leases-over': true, 'taken-over': true, 'takeover-failed': true, timer: true },
};
const STANDBY_EFFECTS: Readonly<Record<StandbyEffect['do'], boolean>> = {
  ...{ ack: true, send: true, 'stop-granting': true, 'ask-peer': true, fence: true, 'take-over': true },
  ...{ 'prepare-machine': true, announce: true, discard: true, 'set-timer': true, refuse: true },
  log: false,
};
const REASONS: Readonly<Record<TakeoverReason, boolean>> = {
  ...{ handover: true, 'machine-died': true, 'peer-dead': true, fenced: true, operator: true },
  'operator-says-dead': true,
};

function names(prefix: string, known: Readonly<Record<string, boolean>>): string[] {
  return Object.keys(known).flatMap((name) => (known[name] === true ? [`${prefix}${name}`] : []));
}

/** All that is to occur, sooner or later: what never does proves nothing. */
export const EXPECTED: readonly string[] = [
  ...ALL_FAULTS.map((name) => `fault: ${name}`),
  ...(['A', 'B'] as const).flatMap((side) =>
    STEPS[side].flatMap((step) => [`${side} dies before: ${step}`, `${side} stands still before: ${step}`]),
  ),
  ...names('A hears ', PRIMARY_INPUTS),
  ...names('A does ', PRIMARY_EFFECTS),
  ...names('B hears ', STANDBY_INPUTS),
  ...names('B does ', STANDBY_EFFECTS),
  ...names('takeover: ', REASONS),
];

export function neverOccurred(tally: Tally): string[] {
  return EXPECTED.filter((what) => tally.of(what) === 0);
}
