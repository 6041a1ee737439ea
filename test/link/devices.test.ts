import { randomInt } from 'node:crypto';
import test from 'ava';
import { seededRandom } from './random.js';
import { noise, PAGE_BYTES, Stand } from './stand.js';

const MIB = 1 << 20;
const HEAD = Buffer.from('what the queue says of its request');

test('what a guest writes to its disk crosses the link once: as pages, or as octets, and arrives as it was', async (t) => {
  const pageCount = MIB / PAGE_BYTES;
  const stand = await Stand.of(t, { pageCount: 2 * pageCount, sender: { compress: 'never' } }).connected();
  const data = noise(pageCount);
  const device = Buffer.concat([HEAD, data]);
  const origins = [[0, HEAD.length, 0, data.length]] as const;
  const devices = [device, Buffer.alloc(0)];
  const sync = async (epoch: bigint, checkpoint: object): Promise<number> => {
    const { sentBytes } = stand.sender.stats();
    await stand.sync({ epoch, devices, ...checkpoint });
    return stand.sender.stats().sentBytes - sentBytes;
  };
  const together = await sync(1n, { ranges: [[0, pageCount]], pages: data, origins });
  t.true(together > MIB && together < MIB * 1.02, `${together} bytes`);
  const apart = await sync(2n, { ranges: [[0, pageCount]], pages: data });
  t.true(apart > 2 * MIB, `${apart} bytes`);
  t.deepEqual((await stand.receiver.take()).devices, devices);
});

test('a request that is still under way in the next epoch is sent as the place of pages that came before', async (t) => {
  const stand = await Stand.of(t).connected();
  const data = noise(4);
  const devices = [Buffer.alloc(0), Buffer.concat([HEAD, data])];
  const origins = [[1, HEAD.length, 8 * PAGE_BYTES, data.length]] as const;
  await stand.sync({ epoch: 1n, ranges: [[8, 4]], pages: data, devices, origins });
  const { sentBytes } = stand.sender.stats();
  await stand.sync({ epoch: 2n, devices, origins });
  const sent = stand.sender.stats().sentBytes - sentBytes;
  t.true(sent < 500, `${sent} bytes`);
  t.deepEqual((await stand.receiver.take()).devices, devices);
});

test('a guest that writes to its buffer after the request was held changes nothing of the request', async (t) => {
  const stand = await Stand.of(t).connected();
  const held = noise(3);
  const inMemory = Buffer.from(held);
  inMemory[PAGE_BYTES + 5]! ^= 1;
  const devices = [held, Buffer.alloc(0)];
  const origins = [[0, 0, 0, held.length]] as const;
  await stand.sync({ epoch: 1n, ranges: [[0, 3]], pages: inMemory, devices, origins });
  t.deepEqual((await stand.receiver.take()).devices, devices);
  t.deepEqual(Buffer.from(stand.ram.bytes.buffer, 0, inMemory.length), inMemory);
});

const PAGES = 64;
const DEVICES = 2;
const LINKS = 12;
const MOST_EPOCHS = 8;

type Random = (below: number) => number;
type Origin = [device: number, at: number, offset: number, length: number];

/** Guest memory, as it is and as it was an epoch ago. */
class Guest {
  readonly memory = Buffer.alloc(PAGES * PAGE_BYTES);
  #before = Buffer.from(this.memory);

  constructor(readonly random: Random) {}

  /** Writes to some pages, and gives them as a capture would. */
  dirty(): { ranges: [number, number][]; pages: Buffer } {
    const { memory, random } = this;
    this.#before = Buffer.from(memory);
    const ranges: [number, number][] = [];
    for (let page = 0; page < PAGES; page++) {
      if (random(4) > 0) continue;
      const bytes = memory.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      if (random(4) === 0) bytes.fill(0);
      else bytes[random(PAGE_BYTES)] = random(256);
      const last = ranges.at(-1);
      if (last !== undefined && last[0] + last[1] === page) last[1]++;
      else ranges.push([page, 1]);
    }
    // Any order is allowed.
    if (random(4) === 0) ranges.reverse();
    const parts = ranges.map(([first, count]) => memory.subarray(first * PAGE_BYTES, (first + count) * PAGE_BYTES));
    return { ranges, pages: Buffer.concat(parts) };
  }

  /** A device's cut: what it copied from memory, now or an epoch ago, between bytes of its own. Of some it is told where from, wrongly at times. */
  cut(device: number): { bytes: Buffer; origins: Origin[] } {
    const { random } = this;
    const parts: Buffer[] = [];
    const origins: Origin[] = [];
    let at = 0;
    const add = (part: Buffer): void => {
      parts.push(part);
      at += part.length;
    };
    for (let piece = random(6); piece > 0; piece--) {
      if (random(3) > 0) add(Buffer.alloc(random(100), random(256)));
      const offset = random(PAGES * PAGE_BYTES);
      const length = Math.min(1 + random(3 * PAGE_BYTES), PAGES * PAGE_BYTES - offset);
      const told = random(8) === 0 ? random(PAGES * PAGE_BYTES - length + 1) : offset;
      if (random(5) > 0) origins.push([device, at, told, length]);
      add(Buffer.from((random(3) > 0 ? this.memory : this.#before).subarray(offset, offset + length)));
    }
    return { bytes: Buffer.concat(parts), origins };
  }
}

for (const [name, sender] of [
  ['always made smaller', { compress: 'always' }],
  ['with a cache far too small', { compress: 'always', cacheBytes: 8 * PAGE_BYTES }],
  ['never made smaller', { compress: 'never' }],
] as const) {
  test(`a device's state arrives as it was cut, whatever has become of memory, ${name}`, async (t) => {
    const seed = randomInt(2 ** 31);
    t.log(`seed ${seed}`);
    const random = seededRandom(seed);
    for (let link = 0; link < LINKS; link++) {
      const guest = new Guest(random);
      const stand = await Stand.of(t, { pageCount: PAGES, deviceCount: DEVICES, sender }).connected();
      let devices: Buffer[] = [];
      for (let epoch = BigInt(1 + random(MOST_EPOCHS)), at = 1n; at <= epoch; at++) {
        const pages = guest.dirty();
        const cuts = Array.from({ length: DEVICES }, (_, device) => guest.cut(device));
        devices = cuts.map(({ bytes }) => bytes);
        stand.submit({ epoch: at, ...pages, devices, origins: cuts.flatMap(({ origins }) => origins) });
      }
      stand.sender.send('go', 'the end');
      await stand.received.first('word');
      t.deepEqual((await stand.receiver.take()).devices, devices, `seed ${seed}, link ${link}`);
      t.true(Buffer.from(stand.ram.bytes.buffer).equals(guest.memory), `seed ${seed}, link ${link}`);
      await stand.close();
    }
  });
}
