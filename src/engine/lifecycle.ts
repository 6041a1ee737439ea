import { unreachable } from '../base/assert.js';
import type { DomainState } from '../model/domain-state.js';
import type { EndAction } from '../model/domain-config.js';

/** What a domain's file says about its ends. */
export interface EndPolicy {
  readonly onPoweroff: EndAction;
  readonly onReboot: EndAction;
  readonly onCrash: EndAction;
}

/** What a guest that was asked to power off is to do then. */
export type Ending = 'poweroff' | 'reboot';

export type LifecycleState =
  /** The machine waits for the state of another host's; it is that host's guest. `machine-ready` ends it: a takeover. */
  | { readonly name: 'standby' }
  /** The machine is being started, reset or started anew; it will stand still when it is up, and run unless `paused`. */
  | { readonly name: 'starting'; readonly paused: boolean }
  | { readonly name: 'running' }
  /** `asked`: what the guest had been asked for before it was paused. */
  | { readonly name: 'paused'; readonly asked: Ending | undefined }
  | { readonly name: 'shutting-down'; readonly asked: Ending }
  /** Ended and preserved: the machine stands still. */
  | { readonly name: 'shutdown' }
  /** Crashed and preserved: the machine stands still, or its process is gone. */
  | { readonly name: 'crashed' }
  | { readonly name: 'dying' };

export interface Lifecycle {
  readonly state: LifecycleState;
  readonly policy: EndPolicy;
  /** When the domain restarted by itself, milliseconds, ascending; those within `RESTART_WINDOW_MS` of the newest. */
  readonly restartsMs: readonly number[];
}

/**
 * A domain that restarts by itself more than RESTART_LIMIT times within RESTART_WINDOW_MS does so in vain, and is destroyed.
 * Firmware may reset once more for each reboot of a guest, so that half of them are the guest's.
 */
export const RESTART_LIMIT = 10;
export const RESTART_WINDOW_MS = 60_000;

export type RequestVerb = 'pause' | 'unpause' | 'shutdown' | 'reboot' | 'destroy';

export type LifecycleInput =
  /**
   * The machine stands at its first instruction, after a start or a reset; or where another host's stood, after a takeover:
   * there `paused` when its operator had paused it.
   */
  | { readonly type: 'machine-ready'; readonly paused?: boolean }
  /** A start, reset or other order to the machine failed. */
  | { readonly type: 'machine-failed'; readonly reason: string }
  | { readonly type: 'request'; readonly verb: RequestVerb }
  /** The guest's own doing. `nowMs`: a clock that does not go back. */
  | { readonly type: 'powered-off' | 'rebooted' | 'panicked'; readonly nowMs: number }
  /** The guest runs elsewhere, or is about to: nothing of it is started here again. */
  | { readonly type: 'moved'; readonly reason: string }
  /** The machine's process is gone, or a device of it failed for good. */
  | { readonly type: 'exited' | 'device-failed'; readonly reason: string; readonly nowMs: number };

export type LifecycleEffect =
  | { readonly do: 'pause' | 'resume' | 'request-power-off' }
  /** Back to the first instruction; `machine-ready` follows. */
  | { readonly do: 'reset' }
  /** End the machine and its devices, if they are still there, and start them anew; `machine-ready` follows. */
  | { readonly do: 'relaunch' }
  /** End the machine and its devices, keep the domain. */
  | { readonly do: 'end-machine' }
  /** The machine that waits for another host's state is of no use any more: who stands by decides what follows. */
  | { readonly do: 'standby-lost'; readonly reason: string }
  /** End everything, then the process. `failed`: not what the user or the guest wanted. */
  | { readonly do: 'take-down'; readonly failed: boolean }
  | { readonly do: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly text: string }
  /** The request is not carried out. */
  | { readonly do: 'refuse'; readonly code: `KEMARI_${string}`; readonly text: string };

export interface Step {
  readonly lifecycle: Lifecycle;
  readonly effects: readonly LifecycleEffect[];
}

export function startLifecycle(policy: EndPolicy, paused: boolean): Lifecycle {
  return { state: { name: 'starting', paused }, policy, restartsMs: [] };
}

/** The lifecycle of a domain that stands by for another host's. */
export function startStandbyLifecycle(policy: EndPolicy): Lifecycle {
  return { state: { name: 'standby' }, policy, restartsMs: [] };
}

/** The state as the user sees it. */
export function domainState(lifecycle: Lifecycle): DomainState {
  return lifecycle.state.name;
}

/** One step of a domain's life. Pure: carrying out the effects, in order, is the caller's. */
export function step(lifecycle: Lifecycle, input: LifecycleInput): Step {
  // Nothing matters any more once everything is being taken down, except that the user hears that it is.
  if (lifecycle.state.name === 'dying') return { lifecycle, effects: whileDying(input) };
  if (lifecycle.state.name === 'standby') return standby(lifecycle, input);
  switch (input.type) {
    case 'machine-ready':
      return machineReady(lifecycle);
    case 'machine-failed':
      return destroy(lifecycle, true, `the machine failed: ${input.reason}`);
    case 'request':
      return request(lifecycle, input.verb);
    case 'powered-off':
      return poweredOff(lifecycle, input.nowMs);
    case 'rebooted':
      return rebooted(lifecycle, input.nowMs);
    case 'panicked':
      return ended(lifecycle, 'on_crash', 'the guest panicked', { do: 'relaunch' }, input.nowMs);
    case 'moved':
      return destroy(lifecycle, false, input.reason);
    case 'exited':
    case 'device-failed':
      return lost(lifecycle, input.reason, input.nowMs);
  }
}

function to(lifecycle: Lifecycle, state: LifecycleState, ...effects: LifecycleEffect[]): Step {
  return { lifecycle: { ...lifecycle, state }, effects };
}

function log(level: 'info' | 'warn' | 'error', text: string): LifecycleEffect {
  return { do: 'log', level, text };
}

function destroy(lifecycle: Lifecycle, failed: boolean, why: string): Step {
  const level = failed ? 'error' : 'info';
  return to(lifecycle, { name: 'dying' }, log(level, `${why}: the domain is destroyed`), { do: 'take-down', failed });
}

function whileDying(input: LifecycleInput): LifecycleEffect[] {
  if (input.type !== 'request' || input.verb === 'destroy') return [];
  return [
    { do: 'refuse', code: 'KEMARI_DOMAIN_DYING', text: `the domain is being destroyed; it cannot ${input.verb}` },
  ];
}

/** Whatever ends a waiting machine, no guest is started anew: that would be a second one. */
function standby(lifecycle: Lifecycle, input: LifecycleInput): Step {
  switch (input.type) {
    case 'machine-ready':
      if (input.paused === true) {
        const text = 'the guest is here, and stays paused: its operator had paused it';
        return to(lifecycle, { name: 'paused', asked: undefined }, log('warn', text));
      }
      return to(lifecycle, { name: 'running' }, { do: 'resume' }, log('info', 'the guest runs here'));
    case 'machine-failed':
    case 'exited':
    case 'device-failed':
      return to(lifecycle, lifecycle.state, { do: 'standby-lost', reason: input.reason });
    case 'request':
      return input.verb === 'destroy'
        ? destroy(lifecycle, false, 'it stands by no more')
        : refuse(lifecycle, input.verb);
    case 'moved':
    case 'powered-off':
    case 'rebooted':
    case 'panicked':
      return { lifecycle, effects: [] };
  }
}

function machineReady(lifecycle: Lifecycle): Step {
  if (lifecycle.state.name !== 'starting') return { lifecycle, effects: [] };
  if (lifecycle.state.paused)
    return to(lifecycle, { name: 'paused', asked: undefined }, log('info', 'the guest is paused'));
  return to(lifecycle, { name: 'running' }, { do: 'resume' }, log('info', 'the guest runs'));
}

function request(lifecycle: Lifecycle, verb: RequestVerb): Step {
  switch (verb) {
    case 'pause':
      return pause(lifecycle);
    case 'unpause':
      return unpause(lifecycle);
    case 'shutdown':
      return askToEnd(lifecycle, 'poweroff');
    case 'reboot':
      return askToEnd(lifecycle, 'reboot');
    case 'destroy':
      return destroy(lifecycle, false, 'asked to destroy');
  }
}

function refuse(lifecycle: Lifecycle, verb: RequestVerb): Step {
  const text = `the domain is ${lifecycle.state.name}; it cannot ${verb} ${allowedNow(lifecycle.state.name)}`;
  return { lifecycle, effects: [{ do: 'refuse', code: 'KEMARI_WRONG_STATE', text }] };
}

function allowedNow(state: Exclude<LifecycleState['name'], 'dying'> | 'dying'): string {
  switch (state) {
    case 'starting':
      return 'before the guest runs: try again';
    case 'standby':
      return 'here: ask the host that runs it, or "kemari takeover"';
    case 'paused':
      return 'while it stands still: unpause it first';
    case 'shutdown':
    case 'crashed':
      return 'any more: it is kept for inspection until it is destroyed';
    case 'running':
    case 'shutting-down':
    case 'dying':
      return 'now';
    default:
      return unreachable(state);
  }
}

/** Pausing what is paused is granted, as is its opposite: xl does so, and a repeated order does no harm. */
function pause(lifecycle: Lifecycle): Step {
  const { state } = lifecycle;
  if (state.name === 'paused') return { lifecycle, effects: [] };
  if (state.name === 'running') return to(lifecycle, { name: 'paused', asked: undefined }, { do: 'pause' });
  if (state.name === 'shutting-down') return to(lifecycle, { name: 'paused', asked: state.asked }, { do: 'pause' });
  return refuse(lifecycle, 'pause');
}

function unpause(lifecycle: Lifecycle): Step {
  const { state } = lifecycle;
  if (state.name === 'running' || state.name === 'shutting-down') return { lifecycle, effects: [] };
  if (state.name !== 'paused') return refuse(lifecycle, 'unpause');
  const next: LifecycleState =
    state.asked === undefined ? { name: 'running' } : { name: 'shutting-down', asked: state.asked };
  return to(lifecycle, next, { do: 'resume' });
}

/** A second request presses the button again and decides what the power-off means: the user may have changed their mind. */
function askToEnd(lifecycle: Lifecycle, asked: Ending): Step {
  const { state } = lifecycle;
  if (state.name !== 'running' && state.name !== 'shutting-down') {
    return refuse(lifecycle, asked === 'poweroff' ? 'shutdown' : 'reboot');
  }
  return to(lifecycle, { name: 'shutting-down', asked }, { do: 'request-power-off' });
}

function poweredOff(lifecycle: Lifecycle, nowMs: number): Step {
  const { state } = lifecycle;
  const asked = state.name === 'shutting-down' || state.name === 'paused' ? state.asked : undefined;
  if (asked !== 'reboot') return ended(lifecycle, 'on_poweroff', 'the guest powered off', { do: 'relaunch' }, nowMs);
  return ended(lifecycle, 'on_reboot', 'the guest powered off in order to reboot', { do: 'reset' }, nowMs);
}

/** A guest that may restart has done so in place, and goes on unless it was paused right then. */
function rebooted(lifecycle: Lifecycle, nowMs: number): Step {
  const { state, policy } = lifecycle;
  const alive = state.name === 'running' || state.name === 'shutting-down' || state.name === 'paused';
  if (policy.onReboot !== 'restart' || !alive) {
    return ended(lifecycle, 'on_reboot', 'the guest rebooted', { do: 'reset' }, nowMs);
  }
  const next: LifecycleState = state.name === 'paused' ? { name: 'paused', asked: undefined } : { name: 'running' };
  const told = log('info', 'the guest rebooted (on_reboot is restart)');
  return withEffect(told, restart(lifecycle, next, [], nowMs));
}

type PolicyKey = 'on_poweroff' | 'on_reboot' | 'on_crash';

function actionOf(policy: EndPolicy, key: PolicyKey): EndAction {
  switch (key) {
    case 'on_poweroff':
      return policy.onPoweroff;
    case 'on_reboot':
      return policy.onReboot;
    case 'on_crash':
      return policy.onCrash;
  }
}

/** The guest ended in one of its ways and its machine stands still. */
function ended(lifecycle: Lifecycle, key: PolicyKey, why: string, again: LifecycleEffect, nowMs: number): Step {
  const { name } = lifecycle.state;
  // A panic that is followed by a reset, say: the first end counts.
  if (name === 'shutdown' || name === 'crashed' || name === 'starting') return { lifecycle, effects: [] };
  const action = actionOf(lifecycle.policy, key);
  const told = log(key === 'on_crash' ? 'error' : 'info', `${why} (${key} is ${action})`);
  switch (action) {
    case 'destroy':
      return withEffect(told, destroy(lifecycle, key === 'on_crash', why));
    case 'preserve':
      return to(lifecycle, { name: key === 'on_crash' ? 'crashed' : 'shutdown' }, told);
    case 'restart':
      return withEffect(told, restart(lifecycle, STARTING_AGAIN, [again], nowMs));
  }
}

/** The machine itself is lost. */
function lost(lifecycle: Lifecycle, why: string, nowMs: number): Step {
  const { name } = lifecycle.state;
  if (name === 'shutdown' || name === 'crashed') {
    return to(lifecycle, lifecycle.state, log('warn', `${why}; there is less to inspect`), { do: 'end-machine' });
  }
  const action = lifecycle.policy.onCrash;
  const told = log('error', `${why} (on_crash is ${action})`);
  switch (action) {
    case 'destroy':
      return withEffect(told, destroy(lifecycle, true, why));
    case 'preserve':
      return to(lifecycle, { name: 'crashed' }, told, { do: 'end-machine' });
    case 'restart':
      return withEffect(told, restart(lifecycle, STARTING_AGAIN, [{ do: 'relaunch' }], nowMs));
  }
}

function withEffect(effect: LifecycleEffect, then: Step): Step {
  return { lifecycle: then.lifecycle, effects: [effect, ...then.effects] };
}

const STARTING_AGAIN: LifecycleState = { name: 'starting', paused: false };

function restart(lifecycle: Lifecycle, next: LifecycleState, how: readonly LifecycleEffect[], nowMs: number): Step {
  const recent = lifecycle.restartsMs.filter((atMs) => nowMs - atMs < RESTART_WINDOW_MS);
  if (recent.length >= RESTART_LIMIT) {
    const seconds = RESTART_WINDOW_MS / 1000;
    return destroy(lifecycle, true, `it restarted ${recent.length} times within ${seconds} s and wants to again`);
  }
  return to({ ...lifecycle, restartsMs: [...recent, nowMs] }, next, ...how);
}
