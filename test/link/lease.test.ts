import test from 'ava';
import { closeSync } from 'node:fs';
import { addon } from '../../src/native/addon.js';
import type { SenderEvent } from '../../src/native/link.js';
import { until } from '../ring/until.js';
import { Heard, makeSender, Stand } from './stand.js';

test('the lease is valid while the standby grants, and the primary hears of it once', async (t) => {
  const stand = await Stand.of(t, {
    sender: { leaseMs: 5000 },
    receiver: { leaseMs: 5000, takeoverTimeoutMs: 9000 },
  }).connected();
  await stand.sent.first('lease');
  t.deepEqual(stand.sent.all('lease'), [{ type: 'lease', valid: true }]);
  t.true(stand.sender.stats().leaseValid);
  t.true(stand.sender.stats().rttUs > 0);
});

test('once the standby has stopped granting, every lease it granted runs out before it says so', async (t) => {
  const stand = await Stand.of(t, { sender: { leaseMs: 100 }, receiver: { leaseMs: 100 } }).connected();
  await stand.sent.first('lease', (event) => event.valid);
  await stand.receiver.stopGranting(false);
  t.false(stand.sender.stats().leaseValid);
  await stand.sent.first('lease', (event) => !event.valid);
  t.false(stand.sent.all('lease').at(-1)!.valid);
});

test('the standby does not wait for leases of a primary that cannot act any more', async (t) => {
  const leaseMs = 3_000_000;
  const stand = await Stand.of(t, {
    sender: { leaseMs },
    receiver: { leaseMs, takeoverTimeoutMs: 3_100_000 },
  }).connected();
  await stand.sent.first('lease');
  await stand.receiver.stopGranting(true);
  t.true(stand.sender.stats().leaseValid);
});

test('a standby that never granted has nothing to wait for', async (t) => {
  const stand = Stand.of(t, { receiver: { leaseMs: 3_000_000, takeoverTimeoutMs: 3_100_000, key: Buffer.alloc(32) } });
  await stand.received.first('lost');
  await stand.receiver.stopGranting(false);
  t.pass();
});

test('a primary whose standby says nothing has no lease', async (t) => {
  const heard = new Heard<SenderEvent>();
  const [streamA, streamB] = addon.socketPair();
  const [leaseA, leaseB] = addon.socketPair();
  const sender = makeSender(streamA, leaseA, heard, { key: undefined });
  await heard.first('connected');
  t.false(sender.stats().leaseValid);
  t.deepEqual(heard.all('lease'), []);
  await sender.close();
  closeSync(streamB);
  closeSync(leaseB);
});

test('a primary that ends is silent to its standby', async (t) => {
  const stand = await Stand.of(t, {
    sender: { leaseMs: 40 },
    receiver: { leaseMs: 40, takeoverTimeoutMs: 80 },
  }).connected();
  await stand.sent.first('lease');
  await stand.sender.close();
  await stand.received.first('silent');
  t.pass();
});

test('after a while without the link the lease has run out and the primary was silent; then both know better', async (t) => {
  const times = { leaseMs: 60 };
  const stand = await Stand.of(t, {
    relayed: true,
    sender: times,
    receiver: { ...times, takeoverTimeoutMs: 100 },
  }).connected();
  await stand.sent.first('lease', (event) => event.valid);
  stand.leaseRelay!.flowing = false;
  await stand.sent.first('lease', (event) => !event.valid);
  await stand.received.first('silent');
  t.false(stand.sender.stats().leaseValid);
  stand.leaseRelay!.flowing = true;
  await stand.received.first('heard');
  await until(() => stand.sent.all('lease').at(-1)?.valid === true, 'the lease is valid again');
});

test('an answer that comes late is worth only what is left of its lease', async (t) => {
  const times = { leaseMs: 50 };
  const stand = await Stand.of(t, {
    relayed: true,
    sender: times,
    receiver: { ...times, takeoverTimeoutMs: 10_000 },
  }).connected();
  await stand.sent.first('lease', (event) => event.valid);
  stand.leaseRelay!.flowing = false;
  await stand.sent.first('lease', (event) => !event.valid);
  const told = stand.sent.all('lease').length;
  // The renewals that wait in the relay are all older than a lease when they are answered.
  await stand.receiver.stopGranting(false);
  stand.leaseRelay!.flowing = true;
  stand.sender.send('goodbye');
  await stand.received.first('word');
  t.is(stand.sent.all('lease').length, told);
  t.false(stand.sender.stats().leaseValid);
});

test('what stalls on the lease connection is the lease, not the stream', async (t) => {
  const stand = await Stand.of(t, { relayed: true }).connected();
  stand.leaseRelay!.flowing = false;
  await stand.sync({ epoch: 1n });
  t.is(stand.sender.stats().ackedEpoch, 1n);
});
