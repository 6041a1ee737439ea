import test from 'ava';
import { leave } from '../../../src/commands/device-model/leave.js';
import { PlayedProtection, settled } from './played-protection.js';

const REASON = 'SIGTERM received';

test('a process that is to end hands its guest over', async (t) => {
  const played = await PlayedProtection.protected(t);
  const left = leave(played.protection, REASON, new AbortController().signal);
  played.capture.end(2n, 0n);
  await settled();
  played.link({ type: 'acked', epoch: 2n });
  await played.until('send go');
  played.link({ type: 'word', word: 'taken', text: '' });
  t.true(await left);
  t.is(played.protection.state.phase, 'handed-over');
  t.false(played.told.includes('send goodbye'));
});

test('a standby that does not take the guest in time is told to take over', async (t) => {
  const played = await PlayedProtection.protected(t);
  const hurry = new AbortController();
  const left = leave(played.protection, REASON, hurry.signal);
  await settled();
  t.deepEqual(played.told, ['capture 2 never']);
  hurry.abort();
  t.true(await left);
  t.deepEqual(played.told.slice(1, 3), ['end-machine', 'send machine-died']);
});

test('a second signal does not wait for a switchover either', async (t) => {
  const played = await PlayedProtection.protected(t);
  t.true(await leave(played.protection, REASON, AbortSignal.abort()));
  t.deepEqual(played.told.slice(0, 2), ['end-machine', 'send machine-died']);
});

test('once the standby was told to go nothing here runs or speaks again, whether it answers or not', async (t) => {
  const played = await PlayedProtection.protected(t);
  const hurry = new AbortController();
  const left = leave(played.protection, REASON, hurry.signal);
  played.capture.end(2n, 0n);
  await settled();
  played.link({ type: 'acked', epoch: 2n });
  await played.until('send go');
  hurry.abort();
  t.false(await left);
  t.is(played.protection.state.phase, 'handing-over');
  t.false(
    played.told.some((what) => what === 'send machine-died' || what === 'capture-resume' || what === 'gate-open'),
  );
  // While nothing is known it asks for the standby, for ever.
  played.link({ type: 'word', word: 'taken', text: '' });
  await played.protection.ended;
});

test('a guest whose protection is being ended is not handed over', async (t) => {
  const played = await PlayedProtection.protected(t);
  played.protection.input({ type: 'operator', verb: 'unprotect' });
  const left = leave(played.protection, REASON, new AbortController().signal);
  played.link({ type: 'word', word: 'disarmed', text: '' });
  t.false(await left);
  t.is(played.protection.state.phase, 'unprotected');
});
