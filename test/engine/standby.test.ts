import test from 'ava';
import { startStandby, stepStandby } from '../../src/engine/standby.js';
import { TAKEOVER_RETRY_MS } from '../../src/engine/takeover.js';
import type { StandbyEffect, StandbyInput, StandbyOptions, StandbyState } from '../../src/engine/standby-state.js';

const manual: StandbyOptions = {
  failover: 'manual',
  hasFence: false,
  takeoverTimeoutMs: 500,
  primaryOnSilence: 'hold',
  purpose: 'protect',
};
const auto: StandbyOptions = { ...manual, failover: 'auto', hasFence: true };

function play(from: StandbyState, ...inputs: (StandbyInput | number)[]) {
  let state = from;
  let nowMs = 0;
  const effects: StandbyEffect[][] = [];
  for (const input of inputs) {
    if (typeof input === 'number') {
      nowMs += input;
      continue;
    }
    const step = stepStandby(state, input, nowMs);
    state = step.state;
    effects.push(step.effects.filter((effect) => effect.do !== 'log'));
  }
  return { state, effects, last: effects.at(-1) ?? [] };
}

const lost: StandbyInput = { type: 'link-lost', reason: 'cut' };
const gone: StandbyInput = { type: 'peer', answer: 'gone' };
const unreachable: StandbyInput = { type: 'peer', answer: 'unreachable' };
const committed: StandbyInput = { type: 'committed', epoch: 7n, writesPending: false };
const committedNext: StandbyInput = { type: 'committed', epoch: 8n, writesPending: false };
const ready = (options: StandbyOptions) => play(startStandby(options), committed).state;
const does = (effects: readonly StandbyEffect[], what: StandbyEffect['do']) =>
  effects.some((effect) => effect.do === what);

test('a complete checkpoint is acknowledged, and only that', (t) => {
  t.deepEqual(play(startStandby(manual), committed).last, [{ do: 'ack', epoch: 7n }]);
});

test('a timer that fires early by a fraction costs no more than that', (t) => {
  const { state, last } = play(ready(auto), lost, 499.4, { type: 'timer' });
  t.is(state.phase, 'silent');
  const timer = last.find((effect) => effect.do === 'set-timer');
  t.true(timer !== undefined && timer.atMs <= 501);
  t.is(play(state, 501, { type: 'timer' }).state.phase, 'fencing');
});

test('nothing is taken over before an epoch is complete', (t) => {
  t.is(play(startStandby(auto), lost).state.phase, 'ended');
  t.true(does(play(startStandby(manual), { type: 'sighup' }).last, 'refuse'));
});

test('a primary that is not heard while it copies memory is told so, and forgotten', (t) => {
  const { state, last } = play(startStandby(auto), { type: 'silent' });
  t.is(state.phase, 'ended');
  t.like(last[0], { do: 'send', word: 'refused' });
  t.true(does(last, 'discard'));
  t.false(does(last, 'take-over'));
});

test('SIGHUP while the primary answers is a switchover', (t) => {
  const { state, last } = play(ready(manual), { type: 'sighup' });
  t.is(state.phase, 'ready');
  t.deepEqual(last, [{ do: 'send', word: 'switchover' }]);
});

test('manual: silence and even a confirmed death wait for the operator', (t) => {
  const { state } = play(ready(manual), lost, { type: 'peer', answer: 'gone' }, 10_000, { type: 'timer' });
  t.is(state.phase, 'silent');
});

test('manual: SIGHUP and confirmed dead is a takeover that waits for no lease', (t) => {
  const { effects, state } = play(
    ready(manual),
    lost,
    { type: 'peer', answer: 'gone' },
    { type: 'sighup' },
    { type: 'leases-over' },
  );
  t.deepEqual(effects[2], [{ do: 'stop-granting', peerIsGone: true }]);
  t.deepEqual(effects[3], [{ do: 'take-over', epoch: 7n }]);
  t.is(state.phase, 'taking-over');
});

test('manual: SIGHUP in silence takes over after the lease has run out', (t) => {
  const { effects } = play(ready(manual), lost, { type: 'peer', answer: 'unreachable' }, { type: 'sighup' });
  t.deepEqual(effects[2], [{ do: 'stop-granting', peerIsGone: false }]);
});

test('SIGHUP before the first answer about the peer waits for it', (t) => {
  const waiting = play(ready(manual), lost, { type: 'sighup' });
  t.is(waiting.state.phase, 'silent');
  t.is(play(waiting.state, { type: 'peer', answer: 'gone' }).state.phase, 'lease-running-out');
  t.true(does(play(waiting.state, { type: 'peer', answer: 'runs' }).last, 'refuse'));
});

test('SIGHUP in silence is refused where the primary goes on when it hears nothing', (t) => {
  for (const hasFence of [false, true]) {
    const brave = ready({ ...manual, hasFence, primaryOnSilence: 'continue' });
    const { last, state } = play(brave, lost, { type: 'peer', answer: 'unreachable' }, { type: 'sighup' });
    t.is(state.phase, 'silent');
    t.true(does(last, 'refuse'));
    t.is(play(state, { type: 'primary-is-dead' }).state.phase, 'lease-running-out');
  }
});

test('a primary that goes on when it hears nothing is not fenced: it may be ahead of what stands by', (t) => {
  const brave = { ...auto, primaryOnSilence: 'continue' } as const;
  const silent: (StandbyInput | number)[] = [lost, { type: 'peer', answer: 'unreachable' }, 10_000, { type: 'timer' }];
  const { state } = play(ready(brave), ...silent);
  t.is(state.phase, 'silent');
  t.true(does(play(state, { type: 'sighup' }).last, 'refuse'));
  t.is(play(state, { type: 'peer', answer: 'gone' }).state.phase, 'lease-running-out');
});

test('auto: nothing happens before the takeover timeout, then the fence', (t) => {
  const silent: (StandbyInput | number)[] = [lost, { type: 'peer', answer: 'unreachable' }];
  t.is(play(ready(auto), ...silent, 400, { type: 'timer' }).state.phase, 'silent');
  const { state, last } = play(ready(auto), ...silent, 500, { type: 'timer' });
  t.is(state.phase, 'fencing');
  t.deepEqual(last.slice(-2), [{ do: 'stop-granting', peerIsGone: false }, { do: 'fence' }]);
});

test('auto: a fence that fails is no takeover', (t) => {
  const { state } = play(ready(auto), lost, 500, { type: 'timer' }, { type: 'fence-ended', ok: false, text: 'exit 1' });
  t.is(state.phase, 'silent');
});

test('no epoch is acknowledged once the fence runs or the takeover is decided', (t) => {
  const fencing = play(ready(auto), lost, 500, { type: 'timer' }).state;
  t.false(does(play(fencing, { type: 'committed', epoch: 8n, writesPending: false }).last, 'ack'));
  const decided = play(fencing, { type: 'fence-ended', ok: true, text: '' }).state;
  t.false(does(play(decided, { type: 'committed', epoch: 8n, writesPending: false }).last, 'ack'));
  t.deepEqual(play(decided, { type: 'leases-over' }).last, [{ do: 'take-over', epoch: 7n }]);
});

test('auto: a primary that is known to run is fenced, not raced', (t) => {
  const { state } = play(ready(auto), lost, { type: 'peer', answer: 'runs' }, 600, { type: 'timer' });
  t.is(state.phase, 'fencing');
});

test('handover: go is the takeover, and the source hears that it was taken', (t) => {
  const { effects } = play(
    ready(manual),
    { type: 'peer-says', word: 'go' },
    { type: 'leases-over' },
    { type: 'taken-over' },
  );
  t.deepEqual(effects[0], [{ do: 'stop-granting', peerIsGone: true }]);
  t.deepEqual(effects[2], [{ do: 'announce' }, { do: 'send', word: 'taken' }]);
});

test('a takeover that fails says so and never runs the guest', (t) => {
  const { state, last } = play(
    ready(manual),
    { type: 'peer-says', word: 'go' },
    { type: 'leases-over' },
    { type: 'takeover-failed', reason: 'no memory', mayHaveRun: false },
  );
  t.is(state.phase, 'ended');
  t.deepEqual(last, [{ do: 'send', word: 'refused', text: 'no memory' }, { do: 'discard' }]);
});

test('a takeover that fails once the guest may have run does not send the guest back to the primary', (t) => {
  const loading = play(ready(manual), { type: 'peer-says', word: 'go' }, { type: 'leases-over' }).state;
  for (const type of ['takeover-failed', 'machine-failed'] as const) {
    const { state, last } = play(loading, { type, reason: 'QEMU died', mayHaveRun: true });
    t.is(state.phase, 'ended');
    t.deepEqual(last, [{ do: 'discard' }]);
  }
});

test("the operator's word that the primary is dead still waits for the lease it was granted", (t) => {
  const { last } = play(ready(manual), lost, { type: 'primary-is-dead' });
  t.deepEqual(last, [{ do: 'stop-granting', peerIsGone: false }]);
});

test('goodbye disarms', (t) => {
  const { state, last } = play(ready(manual), { type: 'peer-says', word: 'goodbye' });
  t.is(state.phase, 'ended');
  t.deepEqual(last, [{ do: 'send', word: 'disarmed' }, { do: 'discard' }]);
});

const silence: StandbyInput = { type: 'silent' };

test('silence on a link that stands is over when the primary is heard again', (t) => {
  const { state, effects } = play(
    ready(manual),
    silence,
    { type: 'committed', epoch: 8n, writesPending: false },
    { type: 'heard' },
  );
  t.like(state, { phase: 'ready', epoch: 8n });
  t.deepEqual(effects[1], [{ do: 'ack', epoch: 8n }], 'an epoch that comes meanwhile is acknowledged');
});

test('what comes after the stream broke is not acknowledged and heals nothing', (t) => {
  const { state, effects } = play(
    ready(manual),
    lost,
    { type: 'committed', epoch: 8n, writesPending: false },
    { type: 'heard' },
  );
  t.is(state.phase, 'silent');
  t.deepEqual(effects.slice(1), [[], []]);
});

test('SIGHUP in a silence that ends is a switchover', (t) => {
  const { last } = play(ready(manual), silence, { type: 'sighup' }, { type: 'heard' });
  t.deepEqual(last, [{ do: 'send', word: 'switchover' }]);
});

test('auto: silence of the whole timeout is fenced at once, and no lease is granted meanwhile', (t) => {
  const { state, last } = play(ready(auto), silence);
  t.is(state.phase, 'fencing');
  t.deepEqual(
    last.map((effect) => effect.do),
    ['ask-peer', 'set-timer', 'stop-granting', 'fence'],
  );
});

test('auto: a death that is confirmed while the fence runs is not waited for', (t) => {
  const { state } = play(ready(auto), silence, { type: 'peer', answer: 'gone' });
  t.like(state, { phase: 'lease-running-out', reason: 'peer-dead' });
});

test('a fence that failed leaves no lease to be granted again', (t) => {
  const { state, last } = play(
    ready(auto),
    silence,
    { type: 'fence-ended', ok: false, text: 'no' },
    { type: 'heard' },
    { type: 'committed', epoch: 8n, writesPending: false },
  );
  t.like(state, { phase: 'silent', linkUp: false, epoch: 7n });
  t.deepEqual(last, []);
});

test('a standby that cannot go on says so and never runs the guest', (t) => {
  for (const type of ['link-failed', 'machine-failed'] as const) {
    for (const from of [startStandby(manual), ready(manual)]) {
      const { state, last } = play(from, { type, reason: 'no memory' });
      t.is(state.phase, 'ended');
      t.deepEqual(last, [{ do: 'send', word: 'refused', text: 'no memory' }, { do: 'discard' }]);
    }
  }
});

test('a copy that may be the last one outlives the machine that waits for it', (t) => {
  const silent = play(ready(auto), lost).state;
  const fencing = play(silent, 500, { type: 'timer' }).state;
  t.is(fencing.phase, 'fencing');
  for (const from of [silent, fencing]) {
    const { state, last } = play(from, { type: 'machine-failed', reason: 'QEMU died' });
    t.deepEqual(state, from);
    t.deepEqual(last, [{ do: 'prepare-machine' }]);
  }
});

test('a copy that went with the machine that held it is not said to be kept: the standby ends, and says so', (t) => {
  const copyLost = { reason: 'no such frame', mayHaveRun: false, copyLost: true };
  const silent = play(ready(auto), lost).state;
  const fencing = play(silent, 500, { type: 'timer' }).state;
  for (const from of [silent, fencing]) {
    const { state, last } = play(from, { type: 'machine-failed', ...copyLost });
    t.is(state.phase, 'ended');
    t.deepEqual(last, [{ do: 'send', word: 'refused', text: 'no such frame' }, { do: 'discard' }]);
  }
  for (const type of ['takeover-failed', 'machine-failed'] as const) {
    const { state, last } = play(ready(auto), lost, gone, { type: 'leases-over' }, { type, ...copyLost });
    t.is(state.phase, 'ended');
    t.deepEqual(last, [{ do: 'send', word: 'refused', text: 'no such frame' }, { do: 'discard' }]);
  }
});

const failed: StandbyInput = { type: 'takeover-failed', reason: 'no such disk', mayHaveRun: false };
const leasesOver: StandbyInput = { type: 'leases-over' };

test('a takeover that failed keeps its epoch, and is tried again by itself where it is known who may run', (t) => {
  for (const [options, ...inputs] of [
    [manual, { type: 'peer-says', word: 'machine-died' }],
    [auto, lost, gone],
    [auto, lost, 500, { type: 'timer' }, { type: 'fence-ended', ok: true, text: '' }],
    [manual, lost, gone, { type: 'sighup' }],
  ] as const) {
    const { state, last } = play(ready(options), ...inputs, 1000, leasesOver, failed);
    t.like(state, { phase: 'silent', epoch: 7n });
    t.deepEqual(
      last.map((effect) => effect.do),
      ['prepare-machine', 'set-timer'],
    );
    const again = play(state, 1000 + TAKEOVER_RETRY_MS, { type: 'timer' }, leasesOver);
    t.like(again.state, { phase: 'taking-over', epoch: 7n });
    t.true(does(again.last, 'take-over'));
    t.is(play(state, { type: 'sighup' }).state.phase, 'lease-running-out', 'at once where it is asked for');
    t.true(does(play(state, { type: 'disarm' }).last, 'discard'));
  }
});

test("a takeover on the operator's word that failed is not tried again without it", (t) => {
  for (const order of ['sighup', 'primary-is-dead'] as const) {
    const { state } = play(ready(manual), lost, unreachable, { type: order }, 1000, leasesOver, failed);
    t.like(state, { phase: 'silent', epoch: 7n, peer: 'silent' });
    t.is(play(state, 60_000, { type: 'timer' }, unreachable, { type: 'timer' }).state.phase, 'silent');
    t.is(play(state, { type: order }).state.phase, 'lease-running-out');
  }
});

test('a machine that ends during the takeover is a takeover that failed', (t) => {
  const silentAgain = play(ready(auto), lost, gone, { type: 'machine-failed', reason: 'x', mayHaveRun: false }, failed);
  t.is(silentAgain.state.phase, 'silent');
  t.deepEqual(silentAgain.last, [], 'it is the same failure');
  const { state, last } = play(
    ready(manual),
    { type: 'peer-says', word: 'go' },
    { type: 'machine-failed', reason: 'x' },
  );
  t.is(state.phase, 'ended');
  t.true(does(last, 'discard'));
});

test('a standby that is told to end tells the primary', (t) => {
  const { state, last } = play(ready(manual), { type: 'terminate' });
  t.is(state.phase, 'ended');
  t.true(last.some((effect) => effect.do === 'send' && effect.word === 'disarmed'));
});

test('a move that loses the link before "go" leaves the guest where it was', (t) => {
  const moving: StandbyOptions = { ...auto, purpose: 'move' };
  for (const input of [lost, silence]) t.is(play(ready(moving), input).state.phase, 'ended');
  t.like(play(ready(moving), { type: 'peer-says', word: 'go' }).state, { reason: 'handover' });
  t.deepEqual(
    play(ready(moving), { type: 'sighup' }).last.map((effect) => effect.do),
    ['refuse'],
  );
});

const writing = (options: StandbyOptions) => play(startStandby(options), { ...committed, writesPending: true }).state;

test('auto: a dead primary whose writes may still land is fenced before they are repeated', (t) => {
  const { state } = play(writing(auto), lost, gone);
  t.is(state.phase, 'silent', 'its death alone is not enough');
  const fencing = play(state, 500, { type: 'timer' });
  t.is(fencing.state.phase, 'fencing');
  t.is(play(fencing.state, gone).state.phase, 'fencing', 'nor does it cut a fence short');
  t.like(play(fencing.state, { type: 'fence-ended', ok: true, text: '' }).state, { reason: 'fenced' });
  t.is(play(fencing.state, { type: 'fence-ended', ok: false, text: '' }, gone).state.phase, 'silent');
});

test('a primary that was told to go on and died before is fenced where its writes may still land', (t) => {
  const brave = writing({ ...auto, primaryOnSilence: 'continue' });
  t.is(play(brave, lost, gone, 500, { type: 'timer' }).state.phase, 'fencing');
});

test('auto: a dead primary with no write under way is taken over without a fence', (t) => {
  const { state, effects } = play(writing(auto), committedNext, lost, gone);
  t.like(state, { phase: 'lease-running-out', reason: 'peer-dead', epoch: 8n });
  t.false(does(effects.flat(), 'fence'));
});

test('SIGHUP: a dead primary whose writes may still land is fenced where there is a fence', (t) => {
  t.is(play(writing({ ...manual, hasFence: true }), lost, gone, { type: 'sighup' }).state.phase, 'fencing');
  t.like(play(writing(manual), lost, gone, { type: 'sighup' }).state, { reason: 'peer-dead' });
});

test('SIGHUP just before silence is noticed is an order to take over; an old one is not', (t) => {
  const soon = play(ready(manual), { type: 'sighup' }, 400, lost, { type: 'peer', answer: 'unreachable' });
  t.like(soon.state, { phase: 'lease-running-out', reason: 'operator' });
  const late = play(ready(manual), { type: 'sighup' }, 60_000, lost, { type: 'peer', answer: 'unreachable' });
  t.is(late.state.phase, 'silent');
  const brave = ready({ ...manual, primaryOnSilence: 'continue' });
  t.true(does(play(brave, { type: 'sighup' }, lost).last, 'refuse'));
});
