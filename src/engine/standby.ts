import { unreachable } from '../base/assert.js';
import { MAY_LAND_LATE, settled } from './late-writes.js';
import { learn, type PeerKnowledge } from './peer-knowledge.js';
import type { StandbyEffect, StandbyInput, StandbyOptions, StandbyState, StandbyStep } from './standby-state.js';
import { copyGone, end, giveUp, log, to } from './standby-steps.js';
import { decide, takingOver } from './takeover.js';

/** How often a silent primary's kemarid is asked again, and a fence that failed is tried again. */
export const STANDBY_RETRY_MS = 1_000;

/** One step of the standby. Pure, like stepPrimary(). What takes over is always the last committed epoch. */
export function stepStandby(state: StandbyState, input: StandbyInput, nowMs: number): StandbyStep {
  switch (state.phase) {
    case 'receiving':
      return givesUp(input) ?? receiving(state, input);
    case 'ready':
      return givesUp(input) ?? ready(state, input, nowMs);
    case 'silent':
      return silent(state, input, nowMs);
    case 'fencing':
      return fencing(state, input, nowMs);
    case 'lease-running-out':
    case 'taking-over':
      return takingOver(state, input, nowMs);
    case 'running':
    case 'ended':
      return to(state);
    default:
      return unreachable(state);
  }
}

/** What ends a standby before anything is decided, whatever phase it is in; undefined for any other input. */
function givesUp(input: StandbyInput): StandbyStep | undefined {
  switch (input.type) {
    case 'link-failed':
    case 'machine-failed':
      return giveUp('this host stands by no more', input.reason);
    case 'terminate':
      return end('this process is to end', { do: 'send', word: 'disarmed', text: 'the standby was told to end' });
    default:
      return undefined;
  }
}

function receiving(state: StandbyState & { phase: 'receiving' }, input: StandbyInput): StandbyStep {
  switch (input.type) {
    case 'committed':
      return to(
        {
          ...{ phase: 'ready', options: state.options, wantedAtMs: undefined },
          ...{ epoch: input.epoch, writesPending: input.writesPending },
        },
        log('info', `the first epoch is complete: ready to take over`),
        { do: 'ack', epoch: input.epoch },
      );
    case 'link-lost':
      return end(`${input.reason}; no epoch was complete, so there is nothing to take over`);
    case 'silent':
      return end('the primary is silent; no epoch was complete, so there is nothing to take over', {
        ...{ do: 'send', word: 'refused' },
        text: 'it did not hear this side for the takeover timeout while memory was copied; a slow link needs a longer one',
      });
    case 'peer-says':
      return end('protection was called off', { do: 'send', word: 'disarmed' });
    case 'disarm':
      return end('disarmed by the operator');
    case 'sighup':
    case 'primary-is-dead':
      return to(state, {
        do: 'refuse',
        code: 'KEMARI_NO_EPOCH',
        text: 'no epoch is complete yet: there is nothing to take over',
      });
    default:
      return to(state);
  }
}

function ready(state: StandbyState & { phase: 'ready' }, input: StandbyInput, nowMs: number): StandbyStep {
  const { options } = state;
  switch (input.type) {
    case 'committed':
      return committed(state, input);
    case 'sighup':
      return options.purpose === 'move' ? to(state, BEING_MOVED) : switchover({ ...state, wantedAtMs: nowMs });
    case 'primary-is-dead':
      return to(state, { do: 'refuse', code: 'KEMARI_PEER_ANSWERS', text: 'the primary answers: it is not dead' });
    case 'disarm':
      return to(state, {
        do: 'refuse',
        code: 'KEMARI_PEER_ANSWERS',
        text: 'the primary answers: use "kemari unprotect"',
      });
    case 'peer-says':
      return peerSays(state, input.word);
    case 'link-lost':
      return fallSilent(state, { linkUp: false, sinceMs: nowMs, why: input.reason }, nowMs);
    case 'silent': {
      const why = `nothing was heard of the primary for ${options.takeoverTimeoutMs} ms`;
      return fallSilent(state, { linkUp: true, sinceMs: nowMs - options.takeoverTimeoutMs, why }, nowMs);
    }
    default:
      return to(state);
  }
}

/** Nothing is decided and the stream stands: the newest epoch is the one that counts. */
function committed(
  state: StandbyState & { phase: 'ready' | 'silent' },
  { epoch, writesPending }: StandbyInput & { type: 'committed' },
): StandbyStep {
  return to({ ...state, epoch, writesPending }, { do: 'ack', epoch });
}

const BEING_MOVED: StandbyEffect = {
  do: 'refuse',
  code: 'KEMARI_HANDOVER',
  text: 'the domain is being moved here already',
};

function switchover(state: StandbyState & { phase: 'ready' }): StandbyStep {
  return to(state, log('info', 'SIGHUP and the primary answers: switchover'), { do: 'send', word: 'switchover' });
}

/** For how long an order to switch over is carried out as one to take over, should nothing be heard of the primary. */
function orderStands(orderedAtMs: number | undefined, options: StandbyOptions, nowMs: number): boolean {
  return orderedAtMs !== undefined && nowMs - orderedAtMs <= options.takeoverTimeoutMs + STANDBY_RETRY_MS;
}

function fallSilent(
  { options, epoch, writesPending, wantedAtMs }: StandbyState & { phase: 'ready' },
  how: { readonly linkUp: boolean; readonly sinceMs: number; readonly why: string },
  nowMs: number,
): StandbyStep {
  const { linkUp, sinceMs, why } = how;
  // Until `go` the guest is the other host's alone, which hears that this process is gone and lets it run on.
  if (options.purpose === 'move') return end(`${why}; the guest was not handed over, so it stays where it was`);
  const step = act(
    {
      ...{ phase: 'silent', options, epoch, writesPending, sinceMs, linkUp },
      ...{ peer: 'silent', asked: false, wanted: false, again: undefined },
    },
    nowMs,
    false,
    log('warn', `${why}: what the primary does is not known`),
    { do: 'ask-peer' },
    { do: 'set-timer', atMs: Math.max(sinceMs + options.takeoverTimeoutMs, nowMs + 1) },
  );
  if (step.state.phase !== 'silent' || !orderStands(wantedAtMs, options, nowMs)) return step;
  const ordered = silent(step.state, { type: 'sighup' }, nowMs);
  return to(ordered.state, ...step.effects, ...ordered.effects);
}

function peerSays(
  state: StandbyState & { phase: 'ready' | 'silent' },
  word: 'go' | 'goodbye' | 'machine-died',
): StandbyStep {
  switch (word) {
    case 'go':
      return decide(state, 'handover', true);
    case 'machine-died':
      return decide(state, 'machine-died', true);
    case 'goodbye':
      return end('protection was ended by the primary', { do: 'send', word: 'disarmed' });
    default:
      return unreachable(word);
  }
}

function silent(state: StandbyState & { phase: 'silent' }, input: StandbyInput, nowMs: number): StandbyStep {
  const { options, epoch } = state;
  switch (input.type) {
    case 'peer': {
      const peer = learn(state.peer, input.answer);
      return act({ ...state, peer, asked: true }, nowMs, input.answer === 'runs' && state.peer !== 'alive');
    }
    case 'timer': {
      // A timer may be early by a fraction of a millisecond: the silence must not last a whole retry longer for that.
      const actsAtMs = state.sinceMs + options.takeoverTimeoutMs;
      const nextAtMs = nowMs < actsAtMs ? Math.max(actsAtMs, nowMs + 1) : nowMs + STANDBY_RETRY_MS;
      return act({ ...state, asked: true }, nowMs, false, { do: 'ask-peer' }, { do: 'set-timer', atMs: nextAtMs });
    }
    case 'sighup':
      // A fence would prove that it is off now, not that it had let nothing out before.
      if (options.primaryOnSilence === 'continue' && state.peer !== 'dead') {
        return to(state, {
          do: 'refuse',
          code: 'KEMARI_PRIMARY_MAY_RUN',
          text:
            'the primary was told to go on when it hears nothing, so it may still run the guest; make sure that it is ' +
            'off, then: kemari takeover --primary-is-dead DOM',
        });
      }
      return act({ ...state, wanted: true }, nowMs, false);
    case 'primary-is-dead':
      // Where only the stream broke it was granted a lease a moment ago, whatever the operator believes.
      return decide(state, 'operator-says-dead', false);
    case 'disarm':
      return end('disarmed by the operator', { do: 'send', word: 'disarmed' });
    case 'peer-says':
      return peerSays(state, input.word);
    case 'heard': {
      if (!state.linkUp) return to(state);
      const { writesPending } = state;
      const wantedAtMs = state.wanted ? nowMs : undefined;
      const heard: StandbyState & { phase: 'ready' } = { phase: 'ready', options, epoch, writesPending, wantedAtMs };
      const { effects } = state.wanted ? switchover(heard) : to(heard);
      return to(heard, log('info', 'the primary is heard again'), ...effects);
    }
    case 'link-lost':
      return to({ ...state, linkUp: false }, log('warn', input.reason));
    case 'committed':
      return state.linkUp ? committed(state, input) : to(state);
    case 'machine-failed':
      return machineLost(state, input);
    default:
      return givesUp(input) ?? to(state);
  }
}

/** The guest may not run anywhere else: where its copy outlives the machine that waits for it, another one is to wait. */
function machineLost(
  state: StandbyState & { phase: 'silent' | 'fencing' },
  { reason, copyLost }: StandbyInput & { type: 'machine-failed' },
): StandbyStep {
  if (copyLost === true) return copyGone(state, reason);
  return to(state, log('error', `another machine is to wait here: ${reason}`), { do: 'prepare-machine' });
}

/** The one decision whether a silent primary's guest may run here. */
function act(
  state: StandbyState & { phase: 'silent' },
  nowMs: number,
  newlyAlive: boolean,
  ...effects: StandbyEffect[]
): StandbyStep {
  const { options, peer, wanted, again } = state;
  if (again !== undefined) return decide(state, again, true);
  const auto = options.failover === 'auto';
  if (settled(state) && (auto || wanted)) return decide(state, 'peer-dead', true);
  const longEnough = nowMs - state.sinceMs >= options.takeoverTimeoutMs;
  // One that was told to go on has, by now, unless it died before: fencing it would end a guest that is ahead of this copy.
  const mayFence = options.hasFence && (options.primaryOnSilence === 'hold' || peer === 'dead');
  if (mayFence && (wanted || (auto && longEnough))) return fence(state, nowMs, ...effects);
  if (wanted && peer === 'dead') {
    // An operator's word, as in silence.
    const { state: decided, effects: how } = decide(state, 'peer-dead', true);
    return to(decided, log('warn', MAY_LAND_LATE), ...how);
  }
  if (wanted && !state.asked) return to(state, ...effects);
  // A primary that is known to run holds its output, or goes on alone: two reasons to leave it to the operator.
  if (wanted && peer === 'silent') return decide(state, 'operator', false);
  if (wanted) {
    return to({ ...state, wanted: false }, ...effects, {
      do: 'refuse',
      code: 'KEMARI_PRIMARY_RUNS',
      text: "the primary's process still runs, only the link is lost: mend the link, or end that process and try again",
    });
  }
  const note = newlyAlive ? [log('warn', "the primary's process still runs, only the link is lost")] : [];
  return to(state, ...note, ...effects);
}

function fence(state: StandbyState & { phase: 'silent' }, nowMs: number, ...effects: StandbyEffect[]): StandbyStep {
  const { options, epoch, writesPending, peer, wanted } = state;
  const why = peer === 'dead' ? ', which is dead: disk writes of it may be under way' : '';
  return to(
    { phase: 'fencing', options, epoch, writesPending, peer, sinceMs: nowMs, byOperator: wanted },
    ...effects,
    log('warn', `fencing the primary${why}`),
    { do: 'stop-granting', peerIsGone: false },
    { do: 'fence' },
  );
}

function fencing(state: StandbyState & { phase: 'fencing' }, input: StandbyInput, nowMs: number): StandbyStep {
  const { options, epoch, writesPending, peer } = state;
  switch (input.type) {
    case 'fence-ended': {
      if (input.ok) return decide(state, 'fenced', true);
      const advice = 'make sure that the primary is off, then: kemari takeover --primary-is-dead DOM';
      return to(
        {
          ...{ phase: 'silent', options, epoch, writesPending, sinceMs: nowMs, linkUp: false },
          ...{ peer, asked: true, wanted: false, again: undefined },
        },
        log('error', `the fence failed, so nothing is taken over: ${input.text}; ${advice}`),
        { do: 'ask-peer' },
        { do: 'set-timer', atMs: nowMs + Math.max(STANDBY_RETRY_MS, options.takeoverTimeoutMs) },
      );
    }
    case 'peer': {
      const known = { ...state, peer: learn(peer, input.answer) };
      // As sure as any fence, and sooner.
      return settled(known) ? decide(state, 'peer-dead', true) : to(known);
    }
    case 'primary-is-dead':
      return decide(state, 'operator-says-dead', false);
    case 'link-failed':
      return givesUp(input) ?? to(state);
    case 'machine-failed':
      return machineLost(state, input);
    default:
      return to(state);
  }
}

/** What is known of the primary, for `info`. */
export function knownOfPrimary(state: StandbyState): PeerKnowledge {
  switch (state.phase) {
    case 'receiving':
    case 'ready':
      return 'alive';
    case 'silent':
    case 'fencing':
      return state.peer;
    default:
      return 'silent';
  }
}

export function startStandby(options: StandbyOptions): StandbyState {
  return { phase: 'receiving', options };
}
