import test from 'ava';
import { stepPrimary } from '../../src/engine/primary.js';
import type { PrimaryEffect, PrimaryInput, PrimaryOptions, PrimaryState } from '../../src/engine/primary-state.js';

const options: PrimaryOptions = {
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

const start: PrimaryInput = { type: 'start', options };
const copied: PrimaryInput = { type: 'copied' };
const captured = (epoch: bigint, throughSequence: bigint): PrimaryInput => ({
  type: 'captured',
  epoch,
  throughSequence,
  pauseUs: 1000,
  dirtyPages: 10,
});
const acked = (epoch: bigint): PrimaryInput => ({ type: 'acked', epoch });
const held = (sequence: bigint): PrimaryInput => ({ type: 'held', output: 'request', sequence });
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
  t.deepEqual(effects[2], [{ do: 'capture', epoch: 3n, resume: 'at-once' }]);
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
  const strict: PrimaryInput = { type: 'start', options: { ...options, policy: { kind: 'kemari', strict: true } } };
  const { effects } = play([strict, copied, captured(1n, 0n), acked(1n)]);
  t.deepEqual(effects[1]![1], { do: 'capture', epoch: 1n, resume: 'after-ack' });
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
  const lost: PrimaryInput = { type: 'link-lost', reason: 'RST' };
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
  t.deepEqual(effects[2], [{ do: 'capture', epoch: 2n, resume: 'at-once' }]);
});

test('on-silence continue goes on unprotected', (t) => {
  const brave: PrimaryInput = { type: 'start', options: { ...options, onSilence: 'continue' } };
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

const switchover: PrimaryInput = { type: 'operator', verb: 'switchover' };

test('a switchover sends go only after the last ack and after its own writes have landed', (t) => {
  const { effects, state } = play(
    [switchover, captured(2n, 3n), acked(2n), { type: 'drained' }, { type: 'peer-says', word: 'taken' }],
    protectedUpTo1,
  );
  t.deepEqual(effects[0], [{ do: 'capture', epoch: 2n, resume: 'never' }]);
  t.deepEqual(doing(effects[2]!), ['drain']);
  t.deepEqual(effects[3], [{ do: 'send', word: 'go' }]);
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
