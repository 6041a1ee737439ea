import test from 'ava';
import { stepPrimary } from '../../src/engine/primary.js';
import { standbyKnowsPause } from '../../src/engine/primary-steps.js';
import type { PrimaryEffect, PrimaryInput, PrimaryOptions, PrimaryState } from '../../src/engine/primary-state.js';

const options: PrimaryOptions = {
  purpose: 'protect',
  policy: { kind: 'kemari', strict: false },
  onSilence: 'hold',
  maxAgeMs: 1000,
  maxPauseShare: 0.2,
};

/** Feeds inputs one after the other, a millisecond apart, and gathers what each of them led to. */
function play(inputs: readonly PrimaryInput[], from: PrimaryState = { phase: 'unprotected' }, startMs = 0) {
  let state = from;
  const effects: PrimaryEffect[][] = [];
  inputs.forEach((input, index) => {
    const step = stepPrimary(state, input, startMs + index);
    state = step.state;
    effects.push(step.effects.filter((effect) => effect.do !== 'log'));
  });
  return { state, effects, last: effects.at(-1) ?? [] };
}

const start: PrimaryInput = { type: 'start', options, paused: false };
const copied: PrimaryInput = { type: 'copied', roundTripMs: 0.1 };
const captured = (epoch: bigint, throughSequence: bigint): PrimaryInput => ({
  type: 'captured',
  epoch,
  throughSequence,
  pauseUs: 1000,
  busyShare: 1,
  dirtyPages: 10,
  bytes: 4096,
});
const acked = (epoch: bigint): PrimaryInput => ({ type: 'acked', epoch });
const held = (sequence: bigint): PrimaryInput => ({ type: 'held', output: 'request', sequence });
const strict: PrimaryInput = {
  type: 'start',
  options: { ...options, policy: { kind: 'kemari', strict: true } },
  paused: false,
};
const move: PrimaryInput = { type: 'start', options: { ...options, purpose: 'move' }, paused: false };
const pause: PrimaryInput = { type: 'guest', wanted: 'paused' };
const unpause: PrimaryInput = { type: 'guest', wanted: 'running' };
const lost: PrimaryInput = { type: 'link-lost', reason: 'cut' };
const protectedUpTo1 = play([start, copied, captured(1n, 0n), acked(1n)]).state;

function doing(effects: readonly PrimaryEffect[]): string[] {
  return effects.map((effect) => effect.do);
}

test('the gate is closed before the first capture', (t) => {
  t.deepEqual(doing(play([start, copied]).last), ['close-gate', 'capture']);
});

test('a held request is not released before its epoch is acknowledged', (t) => {
  const { effects } = play([held(5n), captured(2n, 5n), acked(2n)], protectedUpTo1, 10);
  t.deepEqual(doing(effects[0]!), ['capture']);
  t.false(doing(effects[1]!).includes('release'));
  t.deepEqual(effects[2]![0], { do: 'release', throughSequence: 5n });
});

test('an ack releases only what its cut covers', (t) => {
  const { effects } = play([held(5n), held(6n), captured(2n, 5n), acked(2n)], protectedUpTo1, 10);
  t.deepEqual(effects[2], [{ do: 'capture', epoch: 3n, resume: 'at-once', guestPaused: false }]);
  t.deepEqual(effects[3]![0], { do: 'release', throughSequence: 5n });
});

test('a later ack stands for the earlier ones', (t) => {
  const inputs = [held(5n), captured(2n, 5n), held(7n), captured(3n, 7n), acked(3n), acked(2n)];
  const { effects, state } = play(inputs, protectedUpTo1, 10);
  t.deepEqual(effects[4]![0], { do: 'release', throughSequence: 7n });
  t.is(state.phase, 'silent');
});

test('an ack of an epoch that was never captured ends the trust in the link and releases nothing', (t) => {
  const { last, state } = play([acked(9n)], protectedUpTo1);
  t.is(state.phase, 'silent');
  t.deepEqual(doing(last), ['drop-link', 'ask-peer', 'set-timer']);
});

test('strict resumes the guest after the ack', (t) => {
  const { effects } = play([strict, copied, captured(1n, 0n), acked(1n)]);
  t.deepEqual(effects[1]![1], { do: 'capture', epoch: 1n, resume: 'after-ack', guestPaused: false });
  t.true(doing(effects[3]!).includes('resume-guest'));
});

test('silence holds all output and asks for the peer', (t) => {
  const { state, effects } = play([{ type: 'link-lost', reason: 'cut' }, held(8n), { type: 'timer' }], protectedUpTo1);
  t.is(state.phase, 'silent');
  t.deepEqual(doing(effects[0]!), ['ask-peer', 'set-timer']);
  t.deepEqual(doing(effects[1]!), []);
  t.false(effects.flat().some((effect) => effect.do === 'open-gate' || effect.do === 'release'));
});

test('a broken link alone never opens the gate, a confirmed death does', (t) => {
  t.is(play([lost, { type: 'peer', answer: 'unreachable' }], protectedUpTo1).state.phase, 'silent');
  t.is(play([lost, { type: 'peer', answer: 'runs' }], protectedUpTo1).state.phase, 'silent');
  const dead = play([lost, { type: 'peer', answer: 'gone' }], protectedUpTo1);
  t.is(dead.state.phase, 'unprotected');
  t.true(doing(dead.last).includes('open-gate'));
});

test('an ack that arrives after the link was given up releases nothing', (t) => {
  const { last } = play(
    [held(5n), captured(2n, 5n), { type: 'link-lost', reason: 'cut' }, acked(2n)],
    protectedUpTo1,
    10,
  );
  t.deepEqual(last, []);
});

test('the lease runs out and is renewed: protection goes on with what was held', (t) => {
  const { effects, state } = play(
    [{ type: 'lease', valid: false }, held(4n), { type: 'lease', valid: true }],
    protectedUpTo1,
    10,
  );
  t.is(state.phase, 'protected');
  t.deepEqual(effects[2], [{ do: 'capture', epoch: 2n, resume: 'at-once', guestPaused: false }]);
});

test('on-silence continue goes on unprotected', (t) => {
  const brave: PrimaryInput = { type: 'start', options: { ...options, onSilence: 'continue' }, paused: false };
  const from = play([brave, copied, captured(1n, 0n), acked(1n)]).state;
  t.is(play([{ type: 'link-lost', reason: 'cut' }], from).state.phase, 'unprotected');
});

test('ending protection keeps output held until the standby is disarmed', (t) => {
  const { effects, state } = play(
    [
      { type: 'operator', verb: 'unprotect' },
      { type: 'peer-says', word: 'disarmed' },
    ],
    protectedUpTo1,
  );
  t.deepEqual(effects[0], [{ do: 'send', word: 'goodbye' }]);
  t.true(doing(effects[1]!).includes('open-gate'));
  t.is(state.phase, 'unprotected');
});

test("a standby that never says that it forgot the domain is left on the operator's word, and on nothing less", (t) => {
  const unprotect: PrimaryInput = { type: 'operator', verb: 'unprotect' };
  const waiting = play([unprotect, { type: 'peer', answer: 'runs' }, { type: 'timer' }, unprotect], protectedUpTo1);
  t.is(waiting.state.phase, 'disarming');
  t.false(waiting.effects.flatMap(doing).includes('open-gate'));
  const left = play([{ type: 'operator', verb: 'resume-unprotected' }], waiting.state);
  t.is(left.state.phase, 'unprotected');
  t.true(doing(left.last).includes('open-gate'));
  const ending = play([{ type: 'domain-ended', reason: 'off' }], waiting.state);
  t.is(play([{ type: 'operator', verb: 'resume-unprotected' }], ending.state).state.phase, 'disarming');
});

const switchover: PrimaryInput = { type: 'operator', verb: 'switchover' };

test('a strict guest that stands for its ack is handed over with the epoch it stands for', (t) => {
  const from = play([strict, copied, captured(1n, 0n), acked(1n)]).state;
  const after = [acked(2n), { type: 'drained' }, { type: 'peer-says', word: 'taken' }] as const;
  for (const inputs of [
    [held(5n), captured(2n, 5n), switchover],
    [held(5n), switchover, captured(2n, 5n)],
  ]) {
    const { state, effects } = play([...inputs, ...after], from, 10);
    t.deepEqual(effects.map(doing), [
      ['capture'],
      [],
      [],
      ['drain'],
      ['end-lease', 'send', 'set-timer'],
      ['end-machine', 'drop-link'],
    ]);
    t.is(state.phase, 'handed-over');
  }
});

test('a strict guest whose switchover comes to nothing while it stands for its ack goes on', (t) => {
  const from = play([strict, copied, captured(1n, 0n), acked(1n)]).state;
  const { last, state } = play([held(5n), captured(2n, 5n), switchover, lost], from, 10);
  t.is(state.phase, 'silent');
  t.is(doing(last).filter((what) => what === 'resume-guest').length, 1);
});

test('a switchover sends go only after the last ack and after its own writes have landed', (t) => {
  const { effects, state } = play(
    [switchover, captured(2n, 3n), acked(2n), { type: 'drained' }, { type: 'peer-says', word: 'taken' }],
    protectedUpTo1,
  );
  t.deepEqual(effects[0], [{ do: 'capture', epoch: 2n, resume: 'never', guestPaused: false }]);
  t.deepEqual(doing(effects[2]!), ['drain']);
  t.deepEqual(effects[3]!.slice(0, 2), [{ do: 'end-lease' }, { do: 'send', word: 'go' }]);
  t.deepEqual(doing(effects[4]!), ['end-machine', 'drop-link']);
  t.is(state.phase, 'handed-over');
  t.false(
    effects.flat().some((effect) => effect.do === 'release'),
    'the standby replays what the last cut holds',
  );
});

test('once go was sent the source never resumes by itself', (t) => {
  const sent = play([switchover, captured(2n, 3n), acked(2n), { type: 'drained' }], protectedUpTo1).state;
  for (const answer of ['gone', 'runs', 'unreachable'] as const) {
    const inputs: PrimaryInput[] = [{ type: 'link-lost', reason: 'cut' }, { type: 'peer', answer }, { type: 'timer' }];
    const { effects, state } = play(inputs, sent);
    t.is(state.phase, 'handing-over');
    t.false(effects.flat().some((effect) => effect.do === 'resume-guest' || effect.do === 'open-gate'));
  }
  t.is(play([{ type: 'peer-says', word: 'refused' }], sent).state.phase, 'unprotected');
});

test('a machine that dies after go ends its process, by which a standby that never heard go knows', (t) => {
  const sent = play([switchover, captured(2n, 3n), acked(2n), { type: 'drained' }], protectedUpTo1).state;
  for (const before of [[], [{ type: 'link-lost', reason: 'cut' }]] as PrimaryInput[][]) {
    const { last, state } = play([...before, { type: 'machine-died', reason: 'killed' }], sent);
    t.is(state.phase, 'ended');
    t.deepEqual(doing(last), ['send', 'drop-link']);
  }
});

test('a link lost before go brings the guest back, with its output held', (t) => {
  const { last, state } = play([switchover, captured(2n, 3n), { type: 'link-lost', reason: 'cut' }], protectedUpTo1);
  t.is(state.phase, 'silent');
  t.true(doing(last).includes('resume-guest'));
  t.false(doing(last).includes('open-gate'));
});

test('a machine that dies under protection is not restarted here', (t) => {
  const { last, state } = play([{ type: 'machine-died', reason: 'killed' }], protectedUpTo1);
  t.is(state.phase, 'ended');
  t.deepEqual(last, [{ do: 'send', word: 'machine-died' }, { do: 'drop-link' }]);
});

test('a lease that runs out within a switchover brings the guest back, and protection with the lease', (t) => {
  const { effects, state } = play(
    [switchover, captured(2n, 3n), { type: 'lease', valid: false }, acked(2n), { type: 'lease', valid: true }],
    protectedUpTo1,
  );
  t.true(doing(effects[2]!).includes('resume-guest'));
  t.deepEqual(doing(effects[3]!), ['release']);
  t.is(state.phase, 'protected');
});

test('a last epoch that cannot be taken ends protection only once the standby forgot the domain', (t) => {
  const { effects, state } = play(
    [switchover, { type: 'capture-failed', reason: 'no' }, { type: 'peer-says', word: 'disarmed' }],
    protectedUpTo1,
  );
  t.deepEqual(doing(effects[1]!), ['send', 'resume-guest']);
  t.true(doing(effects[2]!).includes('open-gate'));
  t.is(state.phase, 'unprotected');
});

test('a standby that does not answer go in time leaves the source standing, until it does', (t) => {
  const sent = play([switchover, captured(2n, 3n), acked(2n), { type: 'drained' }], protectedUpTo1).state;
  const { effects, state } = play([{ type: 'timer' }, { type: 'peer-says', word: 'taken' }], sent);
  t.deepEqual(doing(effects[0]!), ['ask-peer', 'set-timer']);
  t.is(state.phase, 'handed-over');
});

test('a standby that wants the guest is handed it', (t) => {
  const { last } = play([{ type: 'peer-says', word: 'switchover' }], protectedUpTo1);
  t.deepEqual(last, [{ do: 'capture', epoch: 2n, resume: 'never', guestPaused: false }]);
});

test('a guest that is moved is handed over once the standby has all that was copied', (t) => {
  const { effects, state } = play([
    ...[move, copied, captured(1n, 0n), acked(1n), captured(2n, 0n), acked(2n), { type: 'drained' } as const],
    { type: 'peer-says', word: 'taken' },
  ]);
  t.deepEqual(effects[1], [{ do: 'close-gate' }, { do: 'capture', epoch: 1n, resume: 'at-once', guestPaused: false }]);
  t.deepEqual(effects[3]![1], { do: 'capture', epoch: 2n, resume: 'never', guestPaused: false });
  t.deepEqual(doing(effects[5]!), ['drain']);
  t.is(state.phase, 'handed-over');
});

test('a guest that is moved while it is paused is moved as it is', (t) => {
  const { state, last } = play([move, copied, pause, captured(1n, 0n), acked(1n), captured(2n, 0n)]);
  t.is(state.phase, 'handing-over');
  t.deepEqual(last.at(-1), { do: 'capture', epoch: 3n, resume: 'never', guestPaused: true });
});

test('nothing of protection lets a paused guest go on', (t) => {
  const { effects } = play([pause, held(5n), captured(2n, 5n), acked(2n), unpause], protectedUpTo1, 10);
  t.deepEqual(effects[0]![0], { do: 'pause-guest' });
  t.false(
    effects
      .slice(1, 4)
      .flat()
      .some((effect) => effect.do === 'resume-guest'),
  );
  t.true(doing(effects[4]!).includes('resume-guest'));
});

test('a guest that is unpaused while strict waits for an ack goes on with the ack', (t) => {
  const from = play([strict, copied, captured(1n, 0n), acked(1n)]).state;
  const { effects } = play([held(5n), pause, captured(2n, 5n), unpause, acked(2n)], from, 10);
  t.false(doing(effects[3]!).includes('resume-guest'));
  t.true(doing(effects[4]!).includes('resume-guest'));
});

test('an epoch tells the standby at once that the operator paused the guest, and that it goes on', (t) => {
  const { effects, state } = play([pause, captured(2n, 0n), unpause], protectedUpTo1, 10);
  t.deepEqual(effects[0], [{ do: 'pause-guest' }, { do: 'capture', epoch: 2n, resume: 'at-once', guestPaused: true }]);
  t.deepEqual(effects[2], [
    { do: 'resume-guest' },
    { do: 'capture', epoch: 3n, resume: 'at-once', guestPaused: false },
  ]);
  t.is(state.phase, 'protected');
});

test('the standby knows of a pause once it has an epoch that says so', (t) => {
  const knows = (inputs: readonly PrimaryInput[]): boolean => {
    const { state } = play(inputs, protectedUpTo1, 10);
    return state.phase === 'protected' && standbyKnowsPause(state.core);
  };
  t.false(knows([held(5n), pause]));
  t.false(knows([held(5n), pause, captured(2n, 5n), acked(2n)]));
  t.true(knows([held(5n), pause, captured(2n, 5n), acked(2n), captured(3n, 5n), acked(3n)]));
});

test('a guest that stands still to start anew is not paused for the standby', (t) => {
  const { effects } = play([{ type: 'guest', wanted: 'paused', forReset: true }, held(5n)], protectedUpTo1, 10);
  t.deepEqual(doing(effects[0]!), ['pause-guest', 'set-timer']);
  t.deepEqual(effects[1], [{ do: 'capture', epoch: 2n, resume: 'at-once', guestPaused: false }]);
});

test('a paused guest is handed over as it is, and does not go on where that fails', (t) => {
  const asked = play([pause, captured(2n, 0n), acked(2n), switchover], protectedUpTo1, 10);
  t.is(asked.state.phase, 'handing-over');
  t.deepEqual(asked.last, [{ do: 'capture', epoch: 3n, resume: 'never', guestPaused: true }]);
  const failed: readonly PrimaryInput[] = [
    { type: 'peer-says', word: 'refused' },
    { type: 'capture-failed', reason: 'no' },
    { type: 'lease', valid: false },
    lost,
  ];
  for (const input of failed) {
    const { effects, state } = play([input, { type: 'peer', answer: 'gone' }], asked.state, 10);
    t.not(state.phase, 'handing-over');
    t.false(doing(effects.flat()).includes('resume-guest'), input.type);
  }
});

test('a strict guest that stands still when protection ends goes on, whether its capture has ended or not', (t) => {
  const from = play([strict, copied, captured(1n, 0n), acked(1n)]).state;
  for (const inputs of [[held(5n)], [held(5n), captured(2n, 5n)]]) {
    const { last, state } = play([...inputs, lost, { type: 'peer', answer: 'gone' }], from, 10);
    t.is(state.phase, 'unprotected');
    t.deepEqual(doing(last).at(-1), 'resume-guest');
  }
});

test('an ack is the same in every phase that has a closed gate', (t) => {
  const before = play([held(5n), captured(2n, 5n)], protectedUpTo1, 10).state;
  const goodbye: PrimaryInput = { type: 'operator', verb: 'unprotect' };
  for (const input of [goodbye, { type: 'lease', valid: false } as const]) {
    t.deepEqual(play([input, acked(2n)], before).last, [{ do: 'release', throughSequence: 5n }]);
    t.is(play([input, acked(9n)], before).state.phase, 'silent');
  }
});

test('a domain that ends says its last words once the standby forgot it, and does not wait for a silent one', (t) => {
  const ended: PrimaryInput = { type: 'domain-ended', reason: 'off' };
  const told = play([ended, { type: 'peer-says', word: 'disarmed' }], protectedUpTo1);
  t.is(told.state.phase, 'ended');
  t.true(doing(told.last).includes('open-gate'));
  const untold = play([ended, { type: 'lease', valid: false }], protectedUpTo1);
  t.is(untold.state.phase, 'ended');
  t.false(doing(untold.last).includes('open-gate'));
});
