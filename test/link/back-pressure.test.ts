import test from 'ava';
import { testing } from '../native/testing.js';
import { until } from '../ring/until.js';
import { addon } from '../../src/native/addon.js';
import type { SenderEvent } from '../../src/native/link.js';
import { checkpointOf, Heard, makeSender, noise, PAGE_BYTES, Stand } from './stand.js';
import { closeSync } from 'node:fs';

const MIB = 1 << 20;
/** CheckpointSink::kMaxQueuedBytes */
const MAX_QUEUED_BYTES = 32 * MIB;

test('a link that does not take its bytes makes who sends ahead wait, and keeps memory bounded', async (t) => {
  const heard = new Heard<SenderEvent>();
  const [streamA, streamB] = addon.socketPair();
  const [leaseA, leaseB] = addon.socketPair();
  const pages = noise(MIB / PAGE_BYTES);
  const link = makeSender(streamA, leaseA, heard, { key: undefined, ramBytes: 64 * MIB });
  await heard.first('connected');
  let submitted = 0;
  let waits = false;
  // What a pre-copy does: it submits while there is room.
  const ahead = (async () => {
    while (await testing.waitForRoom({ link })) {
      testing.submitCheckpoint({ link }, checkpointOf({ epoch: 0n, ranges: [[0, MIB / PAGE_BYTES]], pages }));
      submitted += MIB;
      if (submitted > 4 * MAX_QUEUED_BYTES) break;
    }
  })();
  await until(() => link.stats().queuedBytes > MAX_QUEUED_BYTES, 'the queue is full');
  const full = submitted;
  t.true(link.stats().queuedBytes <= MAX_QUEUED_BYTES + 2 * MIB, `${link.stats().queuedBytes}`);
  void ahead.then(() => {
    waits = true;
  });
  // The peer reads again: there is room again.
  let read = 0;
  await until(() => {
    read += testing.receiveMessage(streamB, MIB, 0)?.bytes.length ?? 0;
    return submitted > full + 4 * MIB;
  }, 'room again');
  t.true(read > MIB);
  t.false(waits);
  // A link that ends lets go of who waits.
  await until(() => link.stats().queuedBytes > MAX_QUEUED_BYTES, 'the queue is full again');
  closeSync(streamB);
  await ahead;
  t.is((await heard.first('lost')).code, 'KEMARI_LINK_CLOSED');
  t.false(await testing.waitForRoom({ link }));
  await link.close();
  closeSync(leaseB);
});

test('a standby that does not acknowledge slows nothing down, and keeps only one epoch', async (t) => {
  const pages = 256;
  const stand = await Stand.of(t, { pageCount: pages }).connected();
  for (let epoch = 1n; epoch <= 50n; epoch++) stand.submit({ epoch, ranges: [[0, pages]], pages: noise(pages) });
  await stand.received.first('committed', (event) => event.epoch === 50n);
  t.is(stand.sent.all('acked').length, 0);
  t.true(stand.receiver.stats().stagedBytesPeak < 2 * pages * PAGE_BYTES);
  stand.receiver.ack(50n);
  await stand.sent.first('acked', (event) => event.epoch === 50n);
});

test('what was said before the end still arrives', async (t) => {
  const stand = await Stand.of(t).connected();
  for (let epoch = 1n; epoch <= 5n; epoch++) stand.submit({ epoch, ranges: [[0, 100]], pages: noise(100) });
  stand.sender.send('machine-died', 'its QEMU is gone');
  await stand.sender.close();
  t.is((await stand.received.first('word')).word, 'machine-died');
  t.is((await stand.received.first('lost')).code, 'KEMARI_LINK_CLOSED');
  t.is((await stand.receiver.take()).epoch, 5n);
});

test('a standby that took over can still say so', async (t) => {
  const stand = await Stand.of(t).connected();
  await stand.sync({ epoch: 1n });
  await stand.receiver.take();
  stand.receiver.send('taken', 'the guest runs here');
  t.is((await stand.sent.first('word')).word, 'taken');
  await stand.receiver.close();
  t.is((await stand.sent.first('lost')).code, 'KEMARI_LINK_CLOSED');
});

test('what comes after the last epoch is dropped at a takeover', async (t) => {
  const stand = await Stand.of(t).connected();
  const first = noise(1);
  await stand.sync({ epoch: 1n, ranges: [[9, 1]], pages: first });
  await stand.receiver.take();
  stand.submit({ epoch: 2n, ranges: [[9, 1]], pages: noise(1) });
  await until(() => stand.sender.stats().queuedBytes === 0, 'it is sent');
  t.deepEqual(stand.ram.page(9), first);
  t.is((await stand.receiver.take()).epoch, 1n);
});

test('no event comes after the end', async (t) => {
  const stand = await Stand.of(t).connected();
  await stand.sender.close();
  const told = stand.sent.events.length;
  await stand.receiver.close();
  t.is(stand.sent.events.length, told);
  t.deepEqual(stand.sent.all('lost'), []);
});
