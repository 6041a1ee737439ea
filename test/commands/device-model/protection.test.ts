import test from 'ava';
import { KemariError } from '../../../src/base/errors.js';
import { PlayedProtection, settled } from './played-protection.js';

test('memory is copied before the gate is closed, and the lease is required before that', async (t) => {
  const played = new PlayedProtection(t);
  const started = played.protection.start();
  played.link({ type: 'connected' });
  await started;
  await played.until('capture 1 at-once');
  t.deepEqual(played.told, ['attach', 'copy-round', 'require-lease true', 'gate-close', 'capture 1 at-once']);
});

test('a link that does not come up is the error of the start, and leaves nothing', async (t) => {
  const played = new PlayedProtection(t);
  const started = played.protection.start();
  played.link({ type: 'lost', code: 'KEMARI_PEER_KEY', text: 'another key' });
  await t.throwsAsync(started, { code: 'KEMARI_PEER_KEY' });
  t.is((await played.protection.ended).outcome, 'unprotected');
  t.deepEqual(played.told, ['capture-close', 'link-close']);
});

test('what is held is captured in the same tick, and released by its ack', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.held(5n);
  t.deepEqual(played.told, ['capture 2 at-once']);
  played.capture.end(2n, 5n);
  await settled();
  t.deepEqual(played.told, ['capture 2 at-once']);
  played.link({ type: 'acked', epoch: 2n });
  t.deepEqual(played.told, ['capture 2 at-once', 'release 5']);
});

test('strict lets the guest go on through the capture that holds it, after the release', async (t) => {
  const played = await PlayedProtection.protected(t, { policy: { kind: 'kemari', strict: true } });
  played.held(5n);
  played.capture.end(2n, 5n);
  await settled();
  t.true(played.protection.standing);
  played.link({ type: 'acked', epoch: 2n });
  await settled();
  t.deepEqual(played.told, ['capture 2 after-ack', 'release 5', 'capture-resume']);
  t.false(played.protection.standing);
});

test('an order waits for the capture that is under way', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.held(5n);
  const paused = played.protection.steer('paused');
  await settled();
  t.deepEqual(played.told, ['capture 2 at-once']);
  played.capture.end(2n, 5n);
  await settled();
  // Now at the latest: where the link has been slow a capture waits for what is on its way.
  played.link({ type: 'acked', epoch: 2n });
  await played.until('capture 3 at-once paused');
  played.capture.end(3n, 5n);
  await settled();
  played.link({ type: 'acked', epoch: 3n });
  await paused;
  const orders = (): string[] => played.told.filter((what) => what !== 'release 5');
  t.deepEqual(orders(), ['capture 2 at-once', 'pause', 'capture 3 at-once paused']);
  t.true(played.told.includes('release 5'));
  const goesOn = played.protection.steer('running');
  await played.until('capture 4 at-once');
  played.capture.end(4n, 5n);
  await goesOn;
  t.deepEqual(orders().slice(3), ['resume', 'capture 4 at-once']);
});

test("an operator's pause has been carried out once the standby knows of it", async (t) => {
  const played = await PlayedProtection.protected(t);
  let done = false;
  const paused = played.protection.steer('paused').then(() => (done = true));
  await played.until('capture 2 at-once paused');
  played.capture.end(2n, 0n);
  await settled();
  t.false(done);
  played.link({ type: 'acked', epoch: 2n });
  await paused;
  t.deepEqual(played.told.slice(0, 2), ['pause', 'capture 2 at-once paused']);
});

test('a standby that does not answer does not keep a pause from being carried out', async (t) => {
  const played = await PlayedProtection.protected(t);
  const paused = played.protection.steer('paused');
  await played.until('capture 2 at-once paused');
  played.capture.end(2n, 0n);
  played.link({ type: 'lost', code: 'KEMARI_LINK_LOST', text: 'reset' });
  await paused;
  t.is(played.protection.state.phase, 'silent');
});

test('a guest that a capture holds is let go before the hypervisor can pause it', async (t) => {
  const played = await PlayedProtection.protected(t, { policy: { kind: 'kemari', strict: true } });
  played.held(5n);
  played.capture.end(2n, 5n);
  await settled();
  const paused = played.protection.steer('paused');
  await played.until('capture-resume');
  t.deepEqual(played.told, ['capture 2 after-ack', 'pause', 'capture-resume']);
  played.link({ type: 'lost', code: 'KEMARI_LINK_LOST', text: 'reset' });
  await paused;
});

test('unprotect opens the gate only after the standby forgot, and leaves no tracking', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.protection.input({ type: 'operator', verb: 'unprotect' });
  t.deepEqual(played.told, ['send goodbye']);
  played.link({ type: 'word', word: 'disarmed', text: '' });
  const end = await played.protection.ended;
  t.deepEqual(played.told.slice(1, 3), ['require-lease false', 'gate-open']);
  t.deepEqual(played.told.slice(-3), ['link-close', 'capture-close', 'link-close']);
  t.is(end.outcome, 'unprotected');
  t.true(end.standbyForgot);
});

test('a machine that died has nothing under way before the standby is told to take over', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.protection.input({ type: 'machine-died', reason: 'killed' });
  const end = await played.protection.ended;
  t.deepEqual(played.told.slice(0, 3), ['end-machine', 'send machine-died', 'link-close']);
  t.is(end.outcome, 'ended');
  t.false(end.standbyForgot);
});

test('a standby is not told to take over while writes that storage has not answered may still land', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.writesAnswered = false;
  played.protection.input({ type: 'machine-died', reason: 'killed' });
  const end = await played.protection.ended;
  t.deepEqual(played.told.slice(0, 2), ['end-machine', 'link-close']);
  t.like(end, { outcome: 'ended', machineDied: true, standbyForgot: false });
});

test('a capture that fails because the machine died is its death, not the end of protection', async (t) => {
  for (const code of ['KEMARI_CAPTURE_GONE', 'KEMARI_CAPTURE_REFUSED'] as const) {
    const played = await PlayedProtection.protected(t);
    played.machineRuns = false;
    played.held(5n);
    played.capture.fail(new KemariError(code, 'QEMU is gone'));
    await played.protection.ended;
    t.true(played.told.includes('send machine-died'));
    t.false(played.told.includes('send goodbye'));
  }
});

test('a switchover sends go once storage is still, and kills the machine before the capture lets go of it', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.submitted = 1;
  played.protection.input({ type: 'operator', verb: 'switchover' });
  played.capture.end(2n, 5n);
  await settled();
  played.link({ type: 'acked', epoch: 2n });
  await settled();
  t.deepEqual(played.told, ['capture 2 never']);
  played.submitted = 0;
  await played.until('send go');
  played.link({ type: 'word', word: 'taken', text: '' });
  const end = await played.protection.ended;
  t.is(end.outcome, 'handed-over');
  t.deepEqual(played.told.slice(1), [
    'end-lease',
    'send go',
    'link-close',
    'end-machine',
    'capture-close',
    'link-close',
  ]);
});

test('silence asks for the peer, and its death ends protection', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.peer = 'gone';
  played.held(5n);
  played.capture.end(2n, 5n);
  await settled();
  played.link({ type: 'lost', code: 'KEMARI_LINK_LOST', text: 'reset' });
  const end = await played.protection.ended;
  t.is(end.outcome, 'unprotected');
  t.true(played.told.includes('gate-open'));
  t.deepEqual(played.states, ['copying', 'protected', 'protected', 'silent', 'unprotected']);
});

test('a guest goes on alone only once that was noted, unless the standby forgot it', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.link({ type: 'lost', code: 'KEMARI_LINK_LOST', text: 'reset' });
  await settled();
  played.protection.input({ type: 'operator', verb: 'resume-unprotected' });
  t.is((await played.protection.ended).outcome, 'unprotected');
  const noted = played.told.indexOf('note-alone');
  t.true(noted >= 0 && noted < played.told.indexOf('gate-open'));
  const disarmed = await PlayedProtection.protected(t);
  disarmed.protection.input({ type: 'operator', verb: 'unprotect' });
  disarmed.link({ type: 'word', word: 'disarmed', text: '' });
  await disarmed.protection.ended;
  t.false(disarmed.told.includes('note-alone'));
});

test('an operator is told what cannot be done now', async (t) => {
  const played = await PlayedProtection.protected(t);
  t.throws(
    () => {
      played.protection.input({ type: 'operator', verb: 'resume-unprotected' });
    },
    { code: 'KEMARI_PEER_ANSWERS' },
  );
});

test('held-to-released time and pauses are counted', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.held(5n);
  played.capture.end(2n, 5n);
  await settled();
  played.link({ type: 'acked', epoch: 2n });
  const counters = played.protection.epochs.window.read(performance.now());
  t.is(counters.pauseUs.p50, 1000);
  t.is(counters.dirtyPages, 10);
  t.true(counters.releaseUs.p50 > 0);
  t.true(counters.scriptShare > 0 && counters.scriptShare <= 1);
  t.is(played.protection.epochs.lostGuestMs, 2);
  const last = played.protection.epochs.trace.read().at(-1)!;
  t.is(last.epoch, '2');
  t.true(last.heldAtMs! <= last.orderedAtMs && last.orderedAtMs <= last.capturedAtMs);
  t.true(last.capturedAtMs <= last.ackedAtMs);
});

test('an ack that is faster than the capture is not lost, and releases nothing before the cut is known', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.held(5n);
  played.link({ type: 'acked', epoch: 2n });
  t.deepEqual(played.told, ['capture 2 at-once']);
  played.capture.end(2n, 5n);
  await settled();
  t.deepEqual(played.told, ['capture 2 at-once', 'release 5']);
  t.is(played.protection.state.phase, 'protected');
});
