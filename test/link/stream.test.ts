import test from 'ava';
import { KEY, noise, PAGE_BYTES, Stand } from './stand.js';

for (const [name, key] of [
  ['secured', KEY],
  ['plain', undefined],
] as const) {
  test(`an epoch arrives whole, and its ack comes back (${name})`, async (t) => {
    const stand = await Stand.of(t, { sender: { key }, receiver: { key } }).connected();
    const pages = noise(3);
    const machineState = noise(20);
    await stand.sync({
      epoch: 1n,
      ranges: [
        [5, 2],
        [200, 1],
      ],
      pages,
      machineState,
      devices: [Buffer.from('disk'), Buffer.from('nic')],
      console: Buffer.from('login: '),
    });
    const taken = await stand.receiver.take();
    t.is(taken.epoch, 1n);
    t.deepEqual(taken.machineState, machineState);
    t.deepEqual(taken.devices, [Buffer.from('disk'), Buffer.from('nic')]);
    t.deepEqual(taken.console, Buffer.from('login: '));
    t.deepEqual(stand.ram.page(5), pages.subarray(0, PAGE_BYTES));
    t.deepEqual(stand.ram.page(6), pages.subarray(PAGE_BYTES, 2 * PAGE_BYTES));
    t.deepEqual(stand.ram.page(200), pages.subarray(2 * PAGE_BYTES));
    t.is(stand.sender.stats().ackedEpoch, 1n);
  });
}

test('an epoch says whether the operator paused the guest, and each one for itself', async (t) => {
  const stand = await Stand.of(t).connected();
  for (const [index, guestPaused] of [false, true, true, false].entries()) {
    const epoch = BigInt(index + 1);
    await stand.sync({ epoch, guestPaused });
    const committed = await stand.received.first('committed', (event) => event.epoch === epoch);
    t.is(committed.guestPaused, guestPaused);
  }
  await stand.sync({ epoch: 5n, guestPaused: true });
  t.true((await stand.receiver.take()).guestPaused);
});

test('an ack says where the time of its epoch went, and the parts are no more than the whole', async (t) => {
  const stand = await Stand.of(t).connected();
  const nowUs = () => Number(process.hrtime.bigint()) / 1000;
  const beganAtUs = nowUs();
  for (let epoch = 1n; epoch <= 3n; epoch++) {
    const submittedAtUs = nowUs();
    await stand.sync({ epoch, ranges: [[0, 64]], pages: noise(64) });
    const { way } = await stand.sent.first('acked', (event) => event.epoch === epoch);
    t.truthy(way);
    const { encodeUs, sendUs, ackUs, heardAtUs } = way!;
    t.true(encodeUs > 0 && sendUs > 0 && ackUs >= 0, JSON.stringify(way));
    t.true(heardAtUs > beganAtUs && heardAtUs <= nowUs());
    t.true(encodeUs + sendUs + ackUs <= heardAtUs - submittedAtUs, JSON.stringify(way));
  }
});
