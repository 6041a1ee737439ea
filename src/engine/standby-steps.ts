import type { StandbyEffect, StandbyState, StandbyStep } from './standby-state.js';

export function to(state: StandbyState, ...effects: StandbyEffect[]): StandbyStep {
  return { state, effects };
}

export function log(level: 'info' | 'warn' | 'error', text: string): StandbyEffect {
  return { do: 'log', level, text };
}

/** It never runs the guest, and keeps nothing of it. */
export function end(why: string, ...effects: StandbyEffect[]): StandbyStep {
  return to({ phase: 'ended' }, log('info', why), ...effects, { do: 'discard' });
}

/** The same, because it cannot: the primary is told. */
export function giveUp(said: string, reason: string): StandbyStep {
  return to(
    { phase: 'ended' },
    log('error', `${said}: ${reason}`),
    { do: 'send', word: 'refused', text: reason },
    { do: 'discard' },
  );
}

/** The same, because the guest's copy went with the machine that held it. */
export function copyGone({ epoch }: { readonly epoch: bigint }, reason: string): StandbyStep {
  return giveUp(`epoch ${epoch.toString()} is lost here with the machine that held it`, reason);
}
