import { closeSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { addon } from '../../src/native/addon.js';
import type { OutputGate } from '../../src/native/ring.js';
import { testing } from '../native/testing.js';
import { until } from '../ring/until.js';
import { Stand } from './stand.js';

const SOON_MS = 5_000;
const NOW_MS = 0;

/** A guest's serial console behind this gate: what the guest writes, and where it leaves. */
function consoleOf(t: ExecutionContext, gate: OutputGate): { guestOutput: number; outside: number } {
  const [guestFd, guestOutput] = addon.socketPair();
  const [outletFd, outside] = addon.socketPair();
  const console = new addon.Console({ guestFd, outletFd, gate });
  t.teardown(async () => {
    await console.close();
    closeSync(guestOutput);
    closeSync(outside);
  });
  return { guestOutput, outside };
}

test('output that was acknowledged does not leave without a lease, and leaves with the next one', async (t) => {
  const gate = new addon.OutputGate();
  const times = { leaseMs: 60 };
  const stand = await Stand.of(t, {
    relayed: true,
    sender: { ...times, gate },
    receiver: { ...times, takeoverTimeoutMs: 10_000 },
  }).connected();
  const { guestOutput, outside } = consoleOf(t, gate);
  await stand.sent.first('lease', (event) => event.valid);
  gate.close();
  gate.requireLease(true);

  stand.leaseRelay!.flowing = false;
  await until(() => stand.sent.all('lease').at(-1)?.valid === false, 'the lease has run out');
  const before = gate.lastSequence;
  testing.sendMessage(guestOutput, Buffer.from('a promise'), []);
  await until(() => gate.lastSequence > before, 'it is held');
  gate.release(gate.lastSequence);
  t.is(testing.receiveMessage(outside, 100, NOW_MS), null);
  t.is(gate.counters().released, 0);

  stand.leaseRelay!.flowing = true;
  t.is(testing.receiveMessage(outside, 100, NOW_MS), null);
  await until(() => stand.sent.all('lease').at(-1)?.valid === true, 'the lease is back');
  await until(() => gate.counters().released === 1, 'it has left');
  t.is(testing.receiveMessage(outside, 100, SOON_MS)!.bytes.toString(), 'a promise');
});

test('a standby that has stopped granting is followed by silence of the primary, whatever is acknowledged', async (t) => {
  const gate = new addon.OutputGate();
  const times = { leaseMs: 60 };
  const stand = await Stand.of(t, {
    sender: { ...times, gate },
    receiver: { ...times, takeoverTimeoutMs: 10_000 },
  }).connected();
  const { guestOutput, outside } = consoleOf(t, gate);
  gate.close();
  gate.requireLease(true);
  await stand.sent.first('lease', (event) => event.valid);
  await stand.receiver.stopGranting(false);
  // From here on the standby may run the guest.
  testing.sendMessage(guestOutput, Buffer.from('too late'), []);
  await until(() => gate.lastSequence > 0n, 'it is held');
  await stand.sync({ epoch: 1n });
  gate.release(gate.lastSequence);
  stand.sender.send('goodbye');
  await stand.received.first('word');
  t.is(testing.receiveMessage(outside, 100, NOW_MS), null);
  t.is(gate.counters().released, 0);
});
